"""What the Snakefile asks: which batches there are, what each needs, how big it is.

All functions are look-ups in the manifest; the ones named in a rule take Snakemake's
wildcards.
"""

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from af3_core.contracts import CONTRACTS
from workflow.campaign import (
    PLAN,
    RESULTS,
    TABLES,
    outcomes_path,
    prediction_path,
    relaxed_path,
    split_item,
    trunk_path,
)
from workflow.manifest import Batch, Manifest, load_manifest
from workflow.results.relaxed import is_whole
from workflow.running.items import unfinished
from workflow.settings import Settings, TrunkFile

type InputFunction = Callable[[Any], list[str]]
type ResourceFunction = Callable[[Any, int, str], int]


def manifest_for(settings: Settings, *, is_main_process: bool) -> Manifest:
    """The manifest that this Snakemake process works by.

    Only the process a user starts looks at the inputs. The processes that it starts
    inside cluster jobs take the plan as it was written, so all see the same batches.
    """
    written = load_manifest()
    if is_main_process or written is None:
        manifest = current_manifest(settings, written)
        withdraw_incomplete(manifest, settings.predict.trunk_files)
        withdraw_changed(manifest, settings)
        return manifest
    return written


def current_manifest(settings: Settings, written: Manifest | None) -> Manifest:
    """The plan on disk if it still fits the inputs, else the plan that would be made.

    Nothing is written, so that parsing the Snakefile has no effect.
    """
    # What reads inputs imports much, and most processes need none of it.
    from workflow.planning.inputs import inputs_digest

    if written is not None and written.inputs_digest == inputs_digest(settings):
        return written
    from workflow.plan import make_plan

    return make_plan(settings, written).manifest


def withdraw_incomplete(manifest: Manifest, kinds: Collection[TrunkFile] = ()) -> None:
    """Takes back the word of batches whose results have been removed.

    Likewise of those that were predicted before the campaign was asked to keep what
    the trunk makes: `kinds`.

    A batch's outcomes are what the workflow waits for. Where a result that they call
    done is gone, they are withdrawn, and so is all that was made of it, because
    Snakemake does not make again what nothing needs.
    """
    present = _items_in(prediction_path("x").parent)
    for kind in kinds:
        present &= _items_in(trunk_path(kind, "x").parent)
    for name, batch in manifest.jobs.items():
        predicted = outcomes_path("predict", name)
        lost = [item for item in batch.items if item not in present]
        if predicted.is_file() and lost and not _all_unfinished(predicted, lost):
            _withdraw(name, _DOWNSTREAM)
        elif outcomes_path("relax", name).is_file() and not is_whole(
            relaxed_path(name)
        ):
            _withdraw(name, _DOWNSTREAM[1:])


def withdraw_changed(manifest: Manifest, settings: Settings) -> None:
    """Takes back the word of stages that the plan on disk gave other settings.

    Changed settings make the plan anew, and where the plan runs, Snakemake does not
    look at the params of what comes after. No result is lost: each is kept with a
    digest of the settings it was made with, and a stage makes again only what differs.
    """
    path = PLAN / "settings.json"
    if not path.is_file():
        return
    planned = json.loads(path.read_text(encoding="utf-8"))
    given = settings.model_dump(mode="json")
    changed = [
        stage
        for stage, keys in _DEPENDS_ON.items()
        if _values(planned, keys) != _values(given, keys)
    ]
    if not changed:
        return
    stages = _STAGES[_STAGES.index(changed[0]) :]
    searches = {"search": manifest.search, "templates": manifest.templates}
    for stage, batches in searches.items():
        for name in batches if stage in stages else ():
            outcomes_path(stage, name).unlink(missing_ok=True)
    of_jobs = tuple(stage for stage in stages if stage not in searches)
    for name in manifest.jobs:
        _withdraw(name, of_jobs)


def settings_of(stage: str, settings: Settings) -> str:
    """The settings that the results of a stage depend on, for its params."""
    return json.dumps(_values(settings.model_dump(mode="json"), _DEPENDS_ON[stage]))


def _values(settings: Mapping[str, Any], keys: tuple[str, ...]) -> list[Any]:
    found = []
    for key in keys:
        value: Any = settings
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        found.append(value)
    return found


def _items_in(folder: Path) -> set[str]:
    names = os.listdir(folder) if folder.is_dir() else []
    return {name.rsplit(".", 1)[0] for name in names}


_DOWNSTREAM = ("predict", "relax", "score", "export")
_STAGES = ("search", "templates", "featurise", *_DOWNSTREAM)
_DEPENDS_ON = {
    "search": ("search.databases", "search.profile"),
    "templates": ("search.databases", "search.max_template_date"),
    "predict": ("model", "predict.dtype"),
    "relax": ("relax",),
    "score": ("score",),
    "export": ("export", "score.rank_by"),
}
"""Settings, by stage in the order of stages, whose change makes results stale."""


def _withdraw(batch: str, stages: tuple[str, ...]) -> None:
    for path in _made_from(batch, stages):
        path.unlink(missing_ok=True)


def _made_from(batch: str, stages: tuple[str, ...]) -> Iterator[Path]:
    yield from (outcomes_path(stage, batch) for stage in stages)
    if "score" in stages:
        yield RESULTS / "score" / f"{batch}.scores.parquet"
        yield RESULTS / "score" / f"{batch}.interfaces.parquet"
    yield TABLES / "scores.parquet"


def _all_unfinished(outcomes: Path, items: list[str]) -> bool:
    """Whether these items have no result because they failed."""
    return unfinished(outcomes).keys() >= set(items)


def version_of(contract: str) -> str:
    """Name and version of a contract: in a rule's params it reruns what is stale."""
    return f"{contract}-{CONTRACTS[contract].version}"


def results_of_needs(batches: Mapping[str, Batch], manifest: Manifest) -> InputFunction:
    """Outcome files of the batches that a batch needs."""

    def needs(wildcards: Any) -> list[str]:
        return [
            str(
                outcomes_path(
                    "search" if name in manifest.search else "templates", name
                )
            )
            for name in batches[wildcards.batch].needs
        ]

    return needs


def results_of_same_jobs(manifest: Manifest, path: str) -> InputFunction:
    """Files, by the pattern `path`, of all batches that hold seeds of the same jobs."""
    holders: dict[str, list[str]] = {}
    for name, batch in manifest.jobs.items():
        for job_id in {split_item(item)[0] for item in batch.items}:
            holders.setdefault(job_id, []).append(name)

    def results(wildcards: Any) -> list[str]:
        job_ids = [split_item(item)[0] for item in manifest.jobs[wildcards.batch].items]
        names = dict.fromkeys(name for job in job_ids for name in holders[job])
        return [path.format(batch=name) for name in names]

    return results


def attempt_number(wildcards: Any, attempt: int) -> int:
    """Which submission of its batch a job is, from 1."""
    return attempt


def sized(
    amount: Callable[[Batch, int], int],
    batches: Mapping[str, Batch],
    limit: Callable[[str, int], int],
) -> ResourceFunction:
    """A resource function for the rule whose wildcard `batch` names one of these.

    Args:
        amount: what a batch needs at an attempt.
        batches: by the value of the wildcard.
        limit: the most that a rule's jobs get, as one of `Limits`.
    """

    def resource(wildcards: Any, attempt: int, rulename: str) -> int:
        return limit(rulename, amount(batches[wildcards.batch], attempt))

    return resource

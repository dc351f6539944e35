"""What the rules ask: which batches there are, what each needs, how big it is.

Rules name members of `Batches`; those that take wildcards are called by Snakemake.
"""

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workflow.batches import Plan, load_plan
from workflow.campaign import Campaign, split_item
from workflow.engine.items import unfinished
from workflow.resources import Limits
from workflow.results.batch_files import is_whole
from workflow.settings import Settings, TrunkFile
from workflow.stages import STAGE, STAGES, Stage, StageName, from_stage
from workflow.tables import DamagedFile, read_json

type InputFunction = Callable[[Any], list[str]]
type ResourceFunction = Callable[[Any, int, str], int]


@dataclass(frozen=True)
class Batches:
    """The plan of a campaign as the rules see it."""

    campaign: Campaign
    settings: Settings
    plan: Plan
    limits: Limits

    def contracts(self, stage: StageName) -> list[str]:
        """Names and versions of a stage's tables; in params they rerun what is old."""
        return [f"{c.name}-{c.version}" for c in STAGE[stage].contracts]

    def settings_of(self, stage: StageName) -> str:
        """The settings that the results of a stage depend on, for its params."""
        return json.dumps(
            _values(self.settings.model_dump(mode="json"), STAGE[stage].settings)
        )

    def memory(self, stage: StageName) -> ResourceFunction:
        """MB for a batch of a stage, as wanted or as much as there is."""
        found = STAGE[stage]
        batches = self.plan.of_kind(found.kind)

        def mem_mb(wildcards: Any, attempt: int, rulename: str) -> int:
            wanted = found.memory(batches[wildcards.batch], attempt)
            return self.limits.mem_mb(rulename, wanted)

        return mem_mb

    def minutes(self, stage: StageName) -> ResourceFunction:
        """Minutes for a batch of a stage, as wanted or as many as there are."""
        found = STAGE[stage]
        batches = self.plan.of_kind(found.kind)

        def runtime(wildcards: Any, attempt: int, rulename: str) -> int:
            wanted = found.minutes(batches[wildcards.batch], attempt)
            return self.limits.runtime(rulename, wanted)

        return runtime

    def needs(self, stage: StageName) -> InputFunction:
        """Outcome files of the batches of searches that a batch needs."""
        batches = self.plan.of_kind(STAGE[stage].kind)

        def results(wildcards: Any) -> list[str]:
            return [
                str(
                    self.campaign.outcomes(
                        "search" if name in self.plan.search else "templates", name
                    )
                )
                for name in batches[wildcards.batch].needs
            ]

        return results

    def same_jobs(self, path: str) -> InputFunction:
        """Files, by the pattern `path`, of all batches that hold the same jobs."""
        holders: dict[str, list[str]] = {}
        for name, batch in self.plan.jobs.items():
            for job_id in {split_item(item)[0] for item in batch.items}:
                holders.setdefault(job_id, []).append(name)

        def results(wildcards: Any) -> list[str]:
            items = self.plan.jobs[wildcards.batch].items
            job_ids = [split_item(item)[0] for item in items]
            names = dict.fromkeys(name for job in job_ids for name in holders[job])
            return [path.format(batch=name) for name in names]

        return results


def attempt_number(wildcards: Any, attempt: int) -> int:
    """Which submission of its batch a job is, from 1."""
    return attempt


def plan_for(campaign: Campaign, settings: Settings, *, is_main_process: bool) -> Plan:
    """The plan that this Snakemake process works by.

    Only the process a user starts looks at the inputs. The processes that it starts
    inside cluster jobs take the plan as it was written, so all see the same batches.
    """
    written = load_plan(campaign)
    if is_main_process or written is None:
        plan = current_plan(campaign, settings, written)
        withdraw_incomplete(campaign, plan, settings.predict.trunk_files)
        withdraw_changed(campaign, plan, settings)
        return plan
    return written


def current_plan(campaign: Campaign, settings: Settings, written: Plan | None) -> Plan:
    """The plan on disk if it still fits the inputs, else the plan that would be made.

    Nothing is written.
    """
    # What reads inputs imports much, and most processes need none of it.
    from workflow.planning.inputs import inputs_digest

    if written is not None and written.inputs_digest == inputs_digest(settings):
        return written
    from workflow.plan import make_plan

    return make_plan(campaign, settings, written).plan


def withdraw_incomplete(
    campaign: Campaign, plan: Plan, kinds: Collection[TrunkFile] = ()
) -> None:
    """Takes back the word of batches whose results have been removed.

    Likewise of those that were predicted before the campaign was asked to keep what
    the trunk makes: `kinds`.

    A batch's outcomes are what the workflow waits for. Where a result that they call
    done is gone, they are withdrawn, and so is all that was made of it, because
    Snakemake does not make again what nothing needs.
    """
    present = _items_in(campaign.prediction("x").parent)
    for kind in kinds:
        present &= _items_in(campaign.trunk_file(kind, "x").parent)
    for name, batch in plan.jobs.items():
        predicted = campaign.outcomes("predict", name)
        lost = [item for item in batch.items if item not in present]
        if predicted.is_file() and lost and not _all_unfinished(predicted, lost):
            withdraw(campaign, name, from_stage("predict"))
        elif campaign.outcomes("relax", name).is_file() and not is_whole(
            campaign.relaxed(name)
        ):
            withdraw(campaign, name, from_stage("relax"))


def withdraw_changed(campaign: Campaign, plan: Plan, settings: Settings) -> None:
    """Takes back the word of stages that the plan on disk gave other settings.

    Changed settings make the plan anew, and where the plan runs, Snakemake does not
    look at the params of what comes after. No result is lost: each is kept with a
    digest of the settings it was made with, and a stage makes again only what differs.
    """
    try:
        planned = read_json(campaign.plan / "settings.json")
    except (FileNotFoundError, DamagedFile):
        return
    given = settings.model_dump(mode="json")
    changed = [
        stage
        for stage in STAGES
        if _values(planned, stage.settings) != _values(given, stage.settings)
    ]
    for stage in from_stage(changed[0].name) if changed else ():
        for name in plan.of_kind(stage.kind):
            withdraw(campaign, name, [stage])


def withdraw(campaign: Campaign, batch: str, stages: Collection[Stage]) -> None:
    """Takes back the word of these stages for a batch."""
    for path in _made_from(campaign, batch, stages):
        path.unlink(missing_ok=True)


def _made_from(
    campaign: Campaign, batch: str, stages: Collection[Stage]
) -> Iterator[Any]:
    for stage in stages:
        yield campaign.outcomes(stage.name, batch)
    yield campaign.tables / "scores.parquet"


def _values(settings: Mapping[str, Any], keys: tuple[str, ...]) -> list[Any]:
    found = []
    for key in keys:
        value: Any = settings
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        found.append(value)
    return found


def _items_in(folder: Any) -> set[str]:
    names = os.listdir(folder) if folder.is_dir() else []
    return {name.rsplit(".", 1)[0] for name in names}


def _all_unfinished(outcomes: Any, items: list[str]) -> bool:
    """Whether these items have no result because they failed."""
    return unfinished(outcomes).keys() >= set(items)

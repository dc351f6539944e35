"""Finds what no job of a campaign owns any more, and removes it.

Jobs that were changed or taken out leave their features, predictions and the rest
behind: computed once, they are found again if the job comes back. `foldmill clean` is
for when the space is needed. It looks at the folders that stages write to and at names
that they give, and leaves everything else, and the timings that costs are learnt from.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from af3_core.contracts import JOBS
from workflow.batches import Plan
from workflow.campaign import Campaign, split_item
from workflow.results.export_folders import (
    exported_files,
    exported_names,
    remove_exports,
)
from workflow.stages import STAGES
from workflow.tables import read_columns


@dataclass(frozen=True)
class Unowned:
    """What can go: single files, and all that is exported under a name."""

    files: tuple[Path, ...]
    exports: tuple[str, ...]
    num_bytes: int
    """Of files and exports together."""


def find_unowned(campaign: Campaign, plan: Plan) -> Unowned:
    """What is there of jobs and batches that the plan does not have."""
    batches = {name for s in STAGES for name in plan.of_kind(s.kind)}
    items = {item for batch in plan.jobs.values() for item in batch.items}
    job_ids = {split_item(item)[0] for item in items}
    files = [
        *_others(campaign.features("x").parent, ".parquet", job_ids),
        *_others(campaign.prediction("x").parent, ".parquet", items),
        *_others(campaign.trunk_file("embeddings", "x").parent, ".npz", items),
        *_others(campaign.trunk_file("distogram", "x").parent, ".npz", items),
        *_others(campaign.relaxed("x").parent, ".parquet", items | batches),
        *_others(campaign.provenance("x").parent, ".parquet", batches),
    ]
    known = items | batches
    for stage in STAGES:
        folder = campaign.outcomes(stage.name, "x").parent
        for ending in (".scores", ".interfaces", ""):
            files += _others(folder, f"{ending}.parquet", known)
        logs = campaign.journal(stage.name, "x").parent
        for ending in (".log", ".tsv", ".journal", ".progress"):
            files += _others(logs, ending, batches)
    names = set(_job_names(campaign))
    exports = sorted(exported_names(campaign) - names)
    sizes = [path.stat().st_size for path in files]
    sizes += [p.lstat().st_size for e in exports for p in exported_files(campaign, e)]
    return Unowned(tuple(dict.fromkeys(files)), tuple(exports), sum(sizes))


def _others(folder: Path, ending: str, known: Collection[str]) -> Iterator[Path]:
    """Files of a folder with this ending whose names are not known.

    Names of jobs, items and batches are hexadecimal digits, an item's with its seed.
    """
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        name = path.name.removesuffix(ending)
        is_ours = path.name.endswith(ending) and _is_name(name)
        if is_ours and name not in known and path.is_file():
            yield path


def _is_name(name: str) -> bool:
    stem, dot, seed = name.partition(".")
    is_digest = len(stem) in (12, 16) and set(stem) <= set("0123456789abcdef")
    return is_digest and (not dot or seed.isdecimal())


def _job_names(campaign: Campaign) -> list[str]:
    table = read_columns(campaign.plan / "jobs.parquet", JOBS, ["name"])
    return table["name"].to_pylist()


def remove_unowned(campaign: Campaign, found: Unowned) -> None:
    """Removes what was found."""
    for path in found.files:
        path.unlink(missing_ok=True)
    for name in found.exports:
        remove_exports(campaign, name)


def describe(found: Unowned) -> Iterable[str]:
    """What would go, a line for each folder."""
    counts: dict[Path, int] = {}
    for path in found.files:
        counts[path.parent] = counts.get(path.parent, 0) + 1
    for folder, count in counts.items():
        yield f"{count} files in {folder}"
    if found.exports:
        shown = ", ".join(found.exports[:5]) + (", …" if len(found.exports) > 5 else "")
        yield f"exports of {len(found.exports)} jobs: {shown}"
    yield f"together {found.num_bytes / 1e6:,.1f} MB"

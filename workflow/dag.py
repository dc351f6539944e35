"""What the Snakefile asks: which batches there are, what each needs, how big it is.

All functions are look-ups in the manifest; the ones named in a rule take Snakemake's
wildcards.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from af3_core.contracts import CONTRACTS, OUTCOMES
from workflow.campaign import outcomes_path, prediction_path, split_item
from workflow.manifest import Batch, Manifest, load_manifest
from workflow.plan import current_manifest
from workflow.settings import Settings
from workflow.tables import read_rows

type InputFunction = Callable[[Any], list[str]]
type ResourceFunction = Callable[[Any, int], int]


def manifest_for(settings: Settings, *, is_main_process: bool) -> Manifest:
    """The manifest that this Snakemake process works by.

    Only the process a user starts looks at the inputs. The processes that it starts
    inside cluster jobs take the plan as it was written, so all see the same batches.
    """
    written = load_manifest()
    if is_main_process or written is None:
        manifest = current_manifest(settings)
        withdraw_incomplete(manifest)
        return manifest
    return written


def withdraw_incomplete(manifest: Manifest) -> None:
    """Takes back the word of batches whose predictions have been removed.

    A batch's outcomes are what the workflow waits for. Where a prediction that they
    call done is gone, they are withdrawn, and the batch makes what is missing.
    """
    present = {p.name for p in prediction_path("x").parent.glob("*.parquet")}
    for name, batch in manifest.jobs.items():
        outcomes = outcomes_path("predict", name)
        missing = [i for i in batch.items if prediction_path(i).name not in present]
        if missing and outcomes.is_file() and not _failed(outcomes, missing):
            outcomes.unlink()


def _failed(outcomes: Path, items: list[str]) -> bool:
    unfinished = {
        row["item"] for row in read_rows(outcomes, OUTCOMES) if row["status"] != "done"
    }
    return unfinished.issuperset(items)


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


def sized(
    amount: Callable[[Batch, int], int], batches: Mapping[str, Batch]
) -> ResourceFunction:
    """A resource function for the rule whose wildcard `batch` names one of these."""

    def resource(wildcards: Any, attempt: int) -> int:
        return amount(batches[wildcards.batch], attempt)

    return resource

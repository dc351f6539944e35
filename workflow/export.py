"""Writes predictions as AlphaFold 3 folders, for the tools that read those.

    python -m workflow.export --batch ID

The folder of a job is `results/alphafold3/NAME`: mmCIF and JSON of its best sample, or
of every sample as the setting `export.samples` says, its input with alignments and
templates, and the ranking of all samples. Relaxed structures go to
`results/relaxed_models/NAME`, or into the zip file. The settings `export.formats` and
`export.zip` add formats and make one file of the folder.
"""

import shutil
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from af3_core.contracts import (
    RELAXED,
    SAMPLE_SCORES,
    JobRow,
    RelaxedRow,
    ScoreRow,
)
from workflow.batches import Plan
from workflow.campaign import Campaign, split_item
from workflow.engine.items import Task, go_through
from workflow.keys import read_keys
from workflow.results.batch_files import BatchFiles
from workflow.results.export_files import RELAXED_FOLDER, File, job_files
from workflow.results.export_folders import remove_exports
from workflow.results.ranking import rank_rows
from workflow.settings import Settings
from workflow.step import (
    parse_step,
    read_job_rows,
    run_step,
)
from workflow.survey import commit_batch
from workflow.tables import digest_file, replacing


def main(argv: list[str] | None = None) -> int:
    """Exports one batch."""
    arguments = parse_step("export", __doc__, argv)
    return run_step(lambda: export_batch(Campaign(), arguments.batch))


def export_batch(campaign: Campaign, batch: str) -> None:
    """Writes the folders of the batch's jobs and the batch's outcomes."""
    keys = read_keys(campaign)
    settings, plan = keys.settings, keys.plan
    wanted = keys.items("export", plan.batch("jobs", batch))
    scores = read_scores(campaign, plan, batch, settings.score.rank_by)
    jobs = read_job_rows(campaign, set(scores))
    holder = {item: name for name, other in plan.jobs.items() for item in other.items}
    files = BatchFiles(RELAXED, campaign.relaxed)

    def relaxed(item: str) -> list[RelaxedRow]:
        return files.rows(holder[item], item)

    exported: dict[str, dict[Path, str]] = {}

    def export(task: Task) -> None:
        job = jobs[task.name]
        if settings.export.samples == "none":
            remove_exports(campaign, job.name)
            return
        written = export_job(campaign, job, scores[task.name], relaxed, settings)
        exported[task.name] = {path: digest_file(path) for path in written}

    tasks = [Task(job_id, job_id, wanted[job_id]) for job_id in sorted(jobs)]
    outcomes = go_through(campaign, "export", batch, tasks, export)
    scored = {f"{row.job_id}.{row.seed}" for rows in scores.values() for row in rows}
    partial = {split_item(item)[0] for item in plan.items_of(wanted) - scored}
    commit_batch(
        *(campaign, keys, "export", batch, outcomes),
        partial=partial,
        exported=exported,
    )


def read_scores(
    campaign: Campaign, plan: Plan, batch: str, rank_by: str
) -> dict[str, list[ScoreRow]]:
    """Ranked scores of the batch's jobs, with the seeds that other batches hold."""
    job_ids = {split_item(item)[0] for item in plan.jobs[batch].items}
    files = BatchFiles(SAMPLE_SCORES, campaign.scores)
    rows = [
        row
        for holder, other in plan.jobs.items()
        for item in other.items
        if split_item(item)[0] in job_ids
        for row in files.rows(holder, item)
    ]
    by_job: dict[str, list[ScoreRow]] = {}
    for row in rank_rows(rows, rank_by):
        by_job.setdefault(row.job_id, []).append(row)
    return by_job


def export_job(
    campaign: Campaign,
    job: JobRow,
    scores: list[ScoreRow],
    relaxed: Callable[[str], list[RelaxedRow]],
    settings: Settings,
) -> set[Path]:
    """Writes one job's folder, or one zip file in its place, and nothing else stays.

    Args:
        campaign: that the job is of.
        job: what was asked for.
        scores: of all samples of the job, ranked.
        relaxed: gives the relaxed samples of a `job.seed`.
        settings: of the campaign.

    Returns:
        The files.
    """
    name, written = job.name, set()
    files = job_files(campaign, job, scores, relaxed, settings)
    if settings.export.zip:
        path = campaign.folders / f"{name}.zip"
        write_zip(path, name, files)
        written.add(path)
        files = ()
    for path, data in files:
        # Some programs take every folder inside a job's for a sample.
        is_relaxed = path.startswith(f"{RELAXED_FOLDER}/")
        root = campaign.relaxed_models if is_relaxed else campaign.folders
        relative = path.removeprefix(f"{RELAXED_FOLDER}/") if is_relaxed else path
        with replacing(root / name / relative) as temporary:
            _fill(temporary, data)
        written.add(root / name / relative)
    remove_exports(campaign, name, keep=written)
    return written


def _fill(path: Path, data: bytes | Path) -> None:
    """Writes content; a file that has it is linked, for it may be gigabytes."""
    if isinstance(data, bytes):
        path.write_bytes(data)
        return
    path.unlink()
    try:
        path.hardlink_to(data)
    except OSError:  # Another file system, or one without links.
        shutil.copyfile(data, path)


def write_zip(path: Path, folder: str, files: Iterable[File]) -> None:
    """Writes files into a folder inside a zip file; equal files make equal zips."""
    with (
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, data in files:
            entry = zipfile.ZipInfo(f"{folder}/{name}")
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            if isinstance(data, bytes):
                archive.writestr(entry, data)
                continue
            with (
                data.open("rb") as source,
                archive.open(entry, "w", force_zip64=True) as target,
            ):
                shutil.copyfileobj(source, target)


if __name__ == "__main__":
    raise SystemExit(main())

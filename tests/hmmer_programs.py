"""HMMER's own programs, run one query at a time as AlphaFold 3 runs them.

An oracle: what they write is read here by a converter of its own.
"""

import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
Alignment = list[tuple[str, str]]
"""Description and A3M row, the query (if any) first."""


def run_program(name: str, *arguments: object) -> None:
    """Runs one of HMMER's programs; its output must not be needed."""
    command = [str(BIN / name), *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


def run_jackhmmer(
    query: str, database: Path, scratch: Path, *flags: object, max_rows: int = 10_000
) -> Alignment:
    """jackhmmer's alignment with AlphaFold 3's flags, as A3M."""
    fasta, found = _write_query(query, scratch), scratch / "found.sto"
    run_program(
        "jackhmmer",
        *("-o", "/dev/null", "-A", found, "--noali", "--cpu", "2", "-N", "1"),
        *("--F1", "0.0005", "--F2", "5e-05", "--F3", "5e-07"),
        *("-E", "0.0001", "--incE", "0.0001", *flags, fasta, database),
    )
    return read_stockholm(found, max_rows=max_rows)


def run_nhmmer(query: str, database: Path, scratch: Path, *flags: object) -> Alignment:
    """nhmmer's hits, aligned afresh with a profile of the query, as A3M."""
    fasta, found = _write_query(query, scratch), scratch / "found.sto"
    last_filter = "0.02" if len(query) < 50 else "1e-05"
    run_program(
        "nhmmer",
        *("-o", "/dev/null", "--noali", "--cpu", "2", "-E", "0.001", "--rna"),
        *("-A", found, "--F3", last_filter, *flags, fasta, database),
    )
    if not found.stat().st_size:
        return [("query", query)]
    hits, model = scratch / "hits.fasta", scratch / "query.hmm"
    rows = read_stockholm(found, max_rows=9_999)
    hits.write_text("".join(f">{d}\n{row.replace('-', '')}\n" for d, row in rows))
    run_program("hmmbuild", "--informat", "afa", "--rna", model, fasta)
    aligned = scratch / "aligned.a2m"
    run_program("hmmalign", "-o", aligned, "--outformat", "A2M", model, hits)
    return [("query", query), *read_fasta(aligned)]


def run_hmmsearch(model: Path, database: Path, scratch: Path) -> Alignment:
    """hmmsearch with AlphaFold 3's flags for templates, insertions in lower case."""
    found = scratch / "templates.sto"
    run_program(
        "hmmsearch",
        *("--noali", "--cpu", "2", "--F1", "0.1", "--F2", "0.1", "--F3", "0.1"),
        *("-E", "100", "--incE", "100", "--domE", "100", "--incdomE", "100"),
        *("-A", found, model, database),
    )
    return read_stockholm(found, max_rows=None, is_query_first=False)


def _write_query(query: str, scratch: Path) -> Path:
    path = scratch / "query.fasta"
    path.write_text(f">query\n{query}\n", encoding="ascii")
    return path


def read_fasta(path: Path) -> Alignment:
    """Headers and sequences of a FASTA-like file."""
    records = path.read_text().split(">")[1:]
    lines = (record.split("\n") for record in records)
    return [(header.strip(), "".join(parts)) for header, *parts in lines]


def read_stockholm(
    path: Path, *, max_rows: int | None, is_query_first: bool = True
) -> Alignment:
    """A Stockholm file as A3M, in the columns of the first row if it is the query."""
    rows: dict[str, str] = {}
    descriptions: dict[str, str] = {}
    for line in map(str.strip, path.read_text().split("\n")):
        if line.startswith("#=GS") and line.split(maxsplit=3)[2] == "DE":
            _, name, _, *text = line.split(maxsplit=3)
            descriptions[name] = "".join(text)
        elif line and not line.startswith(("#", "//")):
            name, part = line.split(maxsplit=1)
            rows[name] = rows.get(name, "") + part
    columns = next(iter(rows.values()), "") if is_query_first else None
    return [
        (f"{name} {descriptions.get(name, '')}".strip(), _to_a3m(row, columns))
        for name, row in list(rows.items())[:max_rows]
    ]


def _to_a3m(row: str, columns: str | None) -> str:
    if columns is None:
        return row.replace(".", "")
    pairs = zip(row, columns, strict=True)
    kept = (r if c != "-" else r.lower().strip("-") for r, c in pairs)
    return "".join(kept).replace(".", "")

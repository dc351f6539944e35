"""Compares Foldmill's search with AlphaFold 3's, chain by chain.

    python -m tests.search_parity JOB.json JOB_data.json --databases DIR

JOB.json is a job in AlphaFold 3's format, JOB_data.json the same job after AlphaFold
3's own search over the databases in DIR (FASTA files, whole or sharded, and a folder
`pdb_mmcif` or packed store of template structures), or the manifest of such a set.
Unpaired and paired alignments and templates are compared as text. Prints what differs;
the exit status is 0 only if nothing does.
"""

import argparse
import datetime
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from af3_core.inputs.files import read_jobs
from af3_core.job import InputError
from af3_core.msa import Msa, format_a3m, parse_a3m
from af3_core.search.templates import MAX_TEMPLATE_DATE
from kernels import SegmentsBackend
from workflow.databases.files import make_manifest
from workflow.databases.manifest import SEARCHED, Database, read_manifest, with_role
from workflow.databases.shards import shard_database
from workflow.needs import ChainNeeds, chain_needs
from workflow.searching.search_keys import TemplateDatabases, TemplateQuery
from workflow.searching.sequences import (
    Filter,
    filter_batch,
    paired_msa,
    search_batch,
    unpaired_msa,
)
from workflow.searching.template_search import read_templates, search_templates
from workflow.store.entries import Store

Chain = dict[str, object]
_MOST_DIFFERENCES = 10


@dataclass(frozen=True)
class Search:
    """Where is searched, and how."""

    databases: Sequence[Database]
    store: Store
    threads: int
    max_date: datetime.date
    filter_by: SegmentsBackend | None = None
    """Ahead of the searches; None: each search for itself."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.search_parity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("job", type=Path, help="the job, AlphaFold 3 JSON")
    parser.add_argument("data", type=Path, help="the job after the official search")
    parser.add_argument("--databases", type=Path, required=True, metavar="DIR")
    parser.add_argument("--shards", type=int, default=0, help="cut databases first")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--filter",
        choices=("naive", "cpu", "triton"),
        help="what computes the first filter ahead of the searches",
    )
    parser.add_argument(
        "--max-template-date",
        type=datetime.date.fromisoformat,
        default=MAX_TEMPLATE_DATE,
    )
    arguments = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            databases = _databases(arguments.databases, arguments.shards, Path(scratch))
            search = Search(
                databases,
                Store(Path(scratch) / "store"),
                arguments.threads,
                arguments.max_template_date,
                arguments.filter,
            )
            return compare_jobs(arguments.job, arguments.data, search)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def _databases(given: Path, num_shards: int, scratch: Path) -> list[Database]:
    found = make_manifest(given) if given.is_dir() else read_manifest(given)
    if not num_shards:
        return list(found)
    return [
        shard_database(database, scratch / database.name, num_shards)
        if database.role != "structures"
        else database
        for database in found
    ]


def compare_jobs(job: Path, data: Path, search: Search) -> int:
    """Prints the comparison of all chains; 0 if nothing differs, else 1."""
    needs, wanted = _read_needs(job), _read_chains(data)
    _search_all(needs, search)
    num_different = 0
    for need in needs:
        theirs = wanted[need.entity_index]
        for what, differences in _compare_chain(need, theirs, search):
            name = f"{','.join(need.polymer.ids)} {need.polymer.kind} {what}"
            print(f"{name}: {'differs' if differences else 'equal'}")
            num_different += bool(differences)
            for line in differences[:_MOST_DIFFERENCES]:
                print(f"    {line}")
    print(f"{num_different} differences" if num_different else "all equal")
    return 1 if num_different else 0


def _read_needs(path: Path) -> list[ChainNeeds]:
    jobs, errors = read_jobs(path)
    if errors:
        raise errors[0]
    [job] = jobs
    return chain_needs(job)


def _read_chains(path: Path) -> list[Chain]:
    try:
        job = json.loads(path.read_text(encoding="utf-8"))
        return [next(iter(entity.values())) for entity in job["sequences"]]
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        allowed = "a job in AlphaFold 3's JSON format"
        raise InputError(str(path), "sequences", repr(error), allowed) from error


def _search_all(needs: Sequence[ChainNeeds], search: Search) -> None:
    """Searches what the job does not give."""
    for database in search.databases:
        if database.role in SEARCHED:
            queries = {
                need.query
                for need in needs
                if need.polymer.kind == database.kind
                and (
                    need.search_paired
                    if database.role == "paired"
                    else need.search_unpaired
                )
            }
            if search.filter_by is not None and database.has_filter:
                named = Filter(search.filter_by, search.filter_by)
                filter_batch(sorted(queries), database, search.store, named)
            search_batch(
                sorted(queries), database, search.store, threads=search.threads
            )
    templates = {
        need.template_id: _template_query(need, search)
        for need in needs
        if need.template_id is not None
    }
    if templates:
        search_templates(
            templates,
            _template_databases(search),
            search.store,
            max_date=search.max_date,
            threads=search.threads,
        )


def _template_databases(search: Search) -> TemplateDatabases:
    sequences = with_role(search.databases, "templates")
    structures = with_role(search.databases, "structures")
    if not (sequences and structures):
        raise InputError(
            "--databases", "templates", "none", "pdb_seqres.fasta and pdb_mmcif"
        )
    return TemplateDatabases(sequences[0], structures[0])


def _template_query(need: ChainNeeds, search: Search) -> TemplateQuery:
    given = need.polymer.unpaired_msa
    if given is None:
        msa = unpaired_msa(need.query, "protein", search.databases, search.store)
    else:
        msa = parse_a3m(given) if given else Msa(("query",), (need.query,))
    return TemplateQuery(need.query, msa)


def _compare_chain(
    need: ChainNeeds, theirs: Chain, search: Search
) -> Iterator[tuple[str, list[str]]]:
    """What was compared of a chain, and how it differs."""
    query, kind = need.query, need.polymer.kind
    if kind == "dna":
        return
    if query != theirs.get("sequence"):
        yield "query", [f"{query} against {theirs.get('sequence')}"]
        return
    if need.search_unpaired:
        found = unpaired_msa(query, kind, search.databases, search.store)
        yield "unpaired MSA", _compare_msas(found, theirs.get("unpairedMsa"))
    if need.search_paired:
        found = paired_msa(query, search.databases, search.store)
        yield "paired MSA", _compare_msas(found, theirs.get("pairedMsa"))
    if need.search_templates:
        yield "templates", _compare_templates(need, theirs, search)


def _compare_msas(ours: Msa, text: object) -> list[str]:
    """Sentences saying how our alignment differs from the official text."""
    if text == format_a3m(ours):
        return []
    if not isinstance(text, str):
        return ["the official result has none"]
    theirs = parse_a3m(text)
    lines = [f"{len(ours.sequences)} rows against {len(theirs.sequences)}"]
    ours_rows = list(zip(ours.descriptions, ours.sequences, strict=True))
    theirs_rows = list(zip(theirs.descriptions, theirs.sequences, strict=True))
    lines += [f"only here: {row}" for row in ours_rows if row not in theirs_rows]
    lines += [f"only there: {row}" for row in theirs_rows if row not in ours_rows]
    lines += [
        f"row {number}: {one} against {other}"
        for number, (one, other) in enumerate(zip(ours_rows, theirs_rows, strict=False))
        if one != other
    ]
    return lines


def _compare_templates(need: ChainNeeds, theirs: Chain, search: Search) -> list[str]:
    query = _template_query(need, search)
    databases = _template_databases(search)
    found = read_templates(query, databases, search.store, max_date=search.max_date)
    wanted = theirs.get("templates") or []
    lines = []
    if len(found) != len(wanted):
        lines.append(f"{len(found)} templates against {len(wanted)}")
    for rank, (one, other) in enumerate(zip(found, wanted, strict=False), start=1):
        pairs = {
            "mmcif": (one.mmcif, other["mmcif"]),
            "queryIndices": (list(one.query_indices), other["queryIndices"]),
            "templateIndices": (list(one.template_indices), other["templateIndices"]),
        }
        lines += [
            f"template {rank}, {item}: {_first_difference(*pair)}"
            for item, pair in pairs.items()
            if pair[0] != pair[1]
        ]
    return lines


def _first_difference(one: Sequence[object], other: Sequence[object]) -> str:
    if isinstance(one, str) and isinstance(other, str):
        one, other = one.split("\n"), other.split("\n")
    for place, (ours, theirs) in enumerate(zip(one, other, strict=False)):
        if ours != theirs:
            return f"place {place}: {ours!r} against {theirs!r}"
    return f"{len(one)} against {len(other)} long"


if __name__ == "__main__":
    raise SystemExit(main())

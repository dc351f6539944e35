"""Makes and looks after the databases that are searched.

    python -m workflow.databases make   FOLDER MANIFEST
    python -m workflow.databases shard  MANIFEST COUNT FOLDER NEW_MANIFEST
                                        [--only NAME …]
    python -m workflow.databases digitise MANIFEST FOLDER NEW_MANIFEST [--only NAME …]
    python -m workflow.databases verify MANIFEST
    python -m workflow.databases pack   SOURCE STORE [--workers N]

`make` reads every FASTA file of a folder once (digest, sequences, residues) and writes
the manifest. `shard` cuts databases into COUNT files each and writes the manifest of
the result; what was searched before stays valid. `digitise` writes protein databases in
the form in which they are searched, so that no search has to parse them. `verify` reads
all files again. `pack` puts a folder or tar of mmCIF files into one file, which a
manifest may name in place of the folder; files that cannot be used are left out and
listed.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from af3_core.job import InputError
from workflow.databases.files import make_manifest
from workflow.databases.manifest import Database, format_manifest, read_manifest
from workflow.databases.shards import (
    digitise_database,
    shard_database,
    verify_database,
)
from workflow.databases.template_store import list_problems, pack_structures
from workflow.tables import replacing


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one of the commands."""
    arguments = _parse(argv)
    try:
        match arguments.command:
            case "make":
                databases = make_manifest(arguments.folder)
                _write_manifest(databases, arguments.manifest)
            case "shard":
                databases = shard_all(
                    arguments.manifest,
                    arguments.count,
                    arguments.folder,
                    arguments.only,
                )
                _write_manifest(databases, arguments.new_manifest)
            case "digitise":
                databases = digitise_all(
                    arguments.manifest, arguments.folder, arguments.only
                )
                _write_manifest(databases, arguments.new_manifest)
            case "verify":
                _verify(arguments.manifest)
            case "pack":
                _pack(arguments.source, arguments.store, arguments.workers)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m workflow.databases",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make")
    make.add_argument("folder", type=Path)
    make.add_argument("manifest", type=Path)
    shard = commands.add_parser("shard")
    shard.add_argument("manifest", type=Path)
    shard.add_argument("count", type=int)
    shard.add_argument("folder", type=Path)
    shard.add_argument("new_manifest", type=Path)
    shard.add_argument("--only", nargs="+", metavar="NAME")
    digitise = commands.add_parser("digitise")
    digitise.add_argument("manifest", type=Path)
    digitise.add_argument("folder", type=Path)
    digitise.add_argument("new_manifest", type=Path)
    digitise.add_argument("--only", nargs="+", metavar="NAME")
    commands.add_parser("verify").add_argument("manifest", type=Path)
    pack = commands.add_parser("pack")
    pack.add_argument("source", type=Path)
    pack.add_argument("store", type=Path)
    pack.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser.parse_args(argv)


def _write_manifest(databases: Sequence[Database], path: Path) -> None:
    with replacing(path) as temporary:
        text = format_manifest(databases, path.parent)
        temporary.write_text(text, encoding="utf-8")
    for database in databases:
        print(f"{database.name}: {database.role}, Z {database.z:g}")


def shard_all(
    table: Path, count: int, folder: Path, only: Sequence[str] | None
) -> list[Database]:
    """Cuts the databases of a table, or some of them; the others stay whole.

    Raises:
        InputError: `only` names one that is not there; see `shard_database`.
    """
    return [
        shard_database(database, folder, count)
        if database.role != "structures" and is_chosen
        else database
        for database, is_chosen in _choose(table, only)
    ]


def digitise_all(
    table: Path, folder: Path, only: Sequence[str] | None
) -> list[Database]:
    """Digitises the protein databases of a table that HMMER searches, or some of them.

    Raises:
        InputError: `only` names one that is not there or cannot be; see
            `digitise_database`.
    """
    found = []
    for database, is_chosen in _choose(table, only):
        if only and is_chosen and not database.may_be_packed:
            allowed = "a protein database that HMMER's tools search"
            raise InputError(str(table), "--only", database.name, allowed)
        is_digitised = is_chosen and database.may_be_packed
        found.append(digitise_database(database, folder) if is_digitised else database)
    return found


def _choose(table: Path, only: Sequence[str] | None) -> Iterator[tuple[Database, bool]]:
    """The databases of a table, and whether each is among those that are named."""
    databases = read_manifest(table)
    names = [database.name for database in databases]
    for name in only or ():
        if name not in names:
            raise InputError(str(table), "--only", name, ", ".join(names))
    for database in databases:
        yield database, only is None or database.name in only


def _verify(manifest: Path) -> None:
    for database in read_manifest(manifest):
        verify_database(database)
        print(f"{database.name}: as it was")


def _pack(source: Path, target: Path, workers: int) -> None:
    packed = pack_structures(source, target, workers=workers)
    problems = packed.problems()
    print(list_problems(problems), end="")
    print(f"{packed.num_entries()} entries packed, {len(problems)} files left out")


if __name__ == "__main__":
    raise SystemExit(main())

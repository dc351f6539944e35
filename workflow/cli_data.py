"""Commands for what campaigns share: `foldmill databases …` and `foldmill store …`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflow.databases.manifest import Database
    from workflow.store.entries import Store


def examples(*lines: str, status: str = "") -> str:
    """The end of a command's help: how it is called, and its exit status."""
    heading = "Example:" if len(lines) == 1 else "Examples:"
    # Click folds the lines of a paragraph that does not begin so.
    shown = "\n".join(["\b", heading, *(f"  {line}" for line in lines)])
    return f"{shown}\n\nExit status: {status}." if status else shown


databases = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Get, count, cut, check and pack databases.",
)
store = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look after a search store, which campaigns may share.",
)
Table = Annotated[Path, typer.Argument(metavar="TABLE", help="The table of databases.")]
NewTable = Annotated[
    Path, typer.Argument(metavar="NEW_TABLE", help="The table to write.")
]
Target = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Where the new files go.")
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Only this database; may be given several times."
    ),
]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The store.")]


@databases.command(epilog=examples("foldmill databases fetch /data/databases"))
def fetch(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where they go.")],
    address: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Load from here, not from AlphaFold 3's."),
    ] = None,
    no_templates: Annotated[
        bool,
        typer.Option(
            "--no-templates", help="Leave out the PDB's structures and sequences."
        ),
    ] = False,
    at_once: Annotated[
        int, typer.Option(metavar="N", help="Files to load at a time.")
    ] = 4,
    yes: Annotated[
        bool, typer.Option("--yes", help="Start without a question.")
    ] = False,
) -> None:
    """Get AlphaFold 3's: 252 GB to load, 630 GB unpacked.

    Says first what disk and time it takes. Interrupted, the same command goes on. The
    table of databases is ready with them.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from workflow.databases.fetch import (
        ADDRESS,
        FILES,
        STRUCTURES,
        Transfer,
        fetch_databases,
        find_need,
    )

    source = address or ADDRESS
    files = [f for f in FILES if not f.startswith("pdb")] if no_templates else FILES
    structures = None if no_templates else STRUCTURES
    names = [*files, *([structures] if structures else [])]
    need = find_need(folder, source, names)
    typer.echo(
        f"{need.loaded_bytes / 1e9:.1f} GB to load from {source}, at most"
        f" {need.disk_bytes / 1e9:.0f} GB of disk while they are unpacked;"
        f" {need.free_bytes / 1e9:.0f} GB are free. At 100 MB/s:"
        f" {need.loaded_bytes / 1e8 / 3600:.1f} hours."
    )
    if need.disk_bytes > need.free_bytes and not yes:
        typer.echo("That does not fit; --yes tries all the same.", err=True)
        raise typer.Exit(2)
    if not yes and need.loaded_bytes and not typer.confirm("Go on?"):
        raise typer.Exit(2)
    columns = (
        TextColumn("{task.description}"),
        *(BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console()) as bars:
        tasks = {name: bars.add_task(name, total=None) for name in names}

        def watch(transfers: "Sequence[Transfer]") -> None:
            for transfer in transfers:
                total = transfer.total or None
                bars.update(
                    tasks[transfer.name], completed=transfer.loaded, total=total
                )

        found = fetch_databases(
            folder,
            source,
            files=files,
            structures=structures,
            at_once=at_once,
            workers=os.cpu_count() or 1,
            watch=watch,
        )
    _write(found, folder / "databases.tsv")


@databases.command(
    epilog=examples("foldmill databases make /data/alphafold3 databases.tsv")
)
def make(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="With FASTA files and structures."),
    ],
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="The table to write.")],
) -> None:
    """Count the databases of a folder and write their table."""
    from workflow.databases.files import make_manifest

    _write(make_manifest(folder), table)


@databases.command(
    epilog=examples("foldmill databases shard databases.tsv 16 /fast/shards shards.tsv")
)
def shard(
    table: Table,
    count: Annotated[
        int, typer.Argument(metavar="COUNT", help="Files of each database.")
    ],
    folder: Target,
    new_table: NewTable,
    only: Only = None,
) -> None:
    """Cut databases into files of even size.

    What was searched before stays valid.
    """
    from workflow.databases.__main__ import shard_all

    _write(shard_all(table, count, folder, only), new_table)


@databases.command(
    epilog=examples(
        "foldmill databases digitise databases.tsv /fast/digital digital.tsv"
    )
)
def digitise(
    table: Table, folder: Target, new_table: NewTable, only: Only = None
) -> None:
    """Parse protein databases once for all searches.

    What was searched before stays valid. A file takes about as much room as its FASTA
    file, which is no longer needed.
    """
    from workflow.databases.__main__ import digitise_all

    _write(digitise_all(table, folder, only), new_table)


@databases.command(epilog=examples("foldmill databases verify databases.tsv"))
def verify(table: Table) -> None:
    """Read all databases again and compare them with their table."""
    from workflow.databases.manifest import read_manifest
    from workflow.databases.shards import verify_database

    for database in read_manifest(table):
        verify_database(database)
        typer.echo(f"{database.name}: as it was")


@databases.command(
    epilog=examples("foldmill databases pack mmcif_files /fast/pdb.templates")
)
def pack(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A folder or tar of mmCIF files.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="FILE", help="The packed file, *.templates.")
    ],
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes to use.")
    ] = os.cpu_count() or 1,
) -> None:
    """Put the PDB's 200,000 structures into one indexed file."""
    from workflow.databases.template_store import list_problems, pack_structures

    packed = pack_structures(source, target, workers=workers)
    problems = packed.problems()
    typer.echo(list_problems(problems), nl=False)
    typer.echo(f"{packed.num_entries()} entries packed, {len(problems)} left out")


def _write(found: "Sequence[Database]", path: Path) -> None:
    from workflow.databases.manifest import format_manifest
    from workflow.tables import replacing

    with replacing(path) as temporary:
        text = format_manifest(found, path.parent)
        temporary.write_text(text, encoding="utf-8")
    for database in found:
        typer.echo(f"{database.name}: {database.role}, Z {database.z:g}")


@store.command("list", epilog=examples("foldmill store list /data/store"))
def list_(folder: Folder) -> None:
    """Say what the store has, and how much of it."""
    from workflow.store.__main__ import list_store

    raise typer.Exit(list_store(_open(folder)))


@store.command("verify", epilog=examples("foldmill store verify /data/store --remove"))
def verify_(
    folder: Folder,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the damaged ones.")
    ] = False,
) -> None:
    """Read every entry and name the damaged ones."""
    from workflow.store.__main__ import verify_store

    raise typer.Exit(verify_store(_open(folder), remove=remove))


@store.command(epilog=examples("foldmill store prune /data/store --older-than 365"))
def prune(
    folder: Folder,
    older_than: Annotated[
        float | None,
        typer.Option(metavar="DAYS", help="Remove entries that are older."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--databases",
            metavar="TABLE",
            help="Remove what was found in other databases than these.",
        ),
    ] = None,
) -> None:
    """Remove old entries, and what dead processes left."""
    from workflow.store.__main__ import prune_store

    raise typer.Exit(prune_store(_open(folder), older_than, table))


@store.command("pack", epilog=examples("foldmill store pack /data/store"))
def pack_(folder: Folder) -> None:
    """Put entries together: a few hundred files, whatever its size."""
    from workflow.store.entries import pack_entries

    typer.echo(f"{pack_entries(_open(folder))} entries packed")


def _open(folder: Path) -> "Store":
    from af3_core.job import InputError
    from workflow.store.entries import Store

    if not folder.is_dir():
        raise InputError(str(folder), "store", "no such folder", "a store")
    return Store(folder)

"""Databases, queries and stores to search with."""

from dataclasses import replace
from pathlib import Path

from af3_core.search.hits import Row
from workflow.databases.files import VERIFIED, make_database
from workflow.databases.manifest import Database, read_manifest
from workflow.searching.hit_tables import read_hits_table
from workflow.searching.search_keys import hits_key
from workflow.store.entries import Store

DATA = Path(__file__).parents[2] / "data"
MANIFEST = DATA / "databases" / "databases.tsv"
DATABASES = {database.name: database for database in read_manifest(MANIFEST)}
MGNIFY = DATABASES["mgnify"]
JOBS = sorted(
    path.name.removesuffix("_data.json")
    for path in (DATA / "search_jobs").glob("*_data.json")
)
PEPTIDE = "MKVLA"


def read_queries() -> dict[str, str]:
    """The example queries by name."""
    text = (DATA / "databases" / "queries.fasta").read_text()
    records = (record.split("\n") for record in text.split(">")[1:])
    return {name: "".join(parts) for name, *parts in records}


QUERIES = read_queries()
GB1, VILLIN, CRAMBIN = QUERIES["gb1"], QUERIES["villin"], QUERIES["crambin"]


def job_files(name: str) -> tuple[Path, Path]:
    """A job before and after the official search."""
    folder = DATA / "search_jobs"
    return folder / f"{name}.json", folder / f"{name}_data.json"


def copy_database(database: Database, folder: Path, *, times: int = 1) -> Database:
    """A copy whose files may be spoilt, perhaps several times as large."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / database.path.name
    path.write_bytes(database.path.read_bytes() * times)
    made = make_database(database.name, database.role, [path])
    return replace(made, tool=database.tool)


def stored_rows(
    store: Store, sequence: str, database: Database, profile: str = "paper"
) -> list[Row] | None:
    """What the store has of a sequence in a database."""
    table = store.get(hits_key(sequence, database, profile))
    return None if table is None else read_hits_table(table)


def files_in(store: Store) -> list[str]:
    """Names of everything in a store's folder but what it knows of databases."""
    found = (path for path in store.folder.rglob("*") if path.is_file())
    return sorted(path.name for path in found if path.parent.name != VERIFIED)

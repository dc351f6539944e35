"""The table of sequence databases: what there is to search, where it lies, how big.

A tab-separated manifest has one row per file; the rows of one name, in order, are the
shards of one database. Paths are relative to the manifest. `workflow.databases.files`
makes such a manifest from a folder of FASTA files.
"""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, cast, get_args

from af3_core.job import InputError
from af3_core.search.settings import Profile, Role, SearchSettings, Tool, settings_for

TOOLS = {
    "unpaired": ("jackhmmer", "mmseqs"),
    "paired": ("jackhmmer", "mmseqs"),
    "rna": ("nhmmer",),
    "templates": ("hmmsearch",),
    "structures": ("store", "folder"),
}
"""Tools that serve each role, the default first."""
SEARCHED = ("unpaired", "paired", "rna")
"""Roles whose databases sequences are searched against."""
PACKED = ".packed"
"""Ending of a database's digitised form; see `workflow.databases.packed`."""
_READ_PACKED = ("jackhmmer", "hmmsearch")
"""Tools that search the digitised form; the others want FASTA."""


@dataclass(frozen=True)
class Shard:
    """One file of a database, FASTA or digitised, as its manifest has it."""

    path: Path
    digest: str
    """SHA-256 of the FASTA file, 64 hex digits."""
    bytes: int
    """Of the file at `path`."""
    sequences: int
    residues: int

    @property
    def is_packed(self) -> bool:
        """Whether it is digitised already."""
        return self.path.suffix == PACKED


@dataclass(frozen=True)
class Database:
    """A sequence database, or for the role `structures` the template structures."""

    name: str
    role: Role
    tool: str
    version: str
    url: str
    digest: str
    """SHA-256 of all shards one after the other; the same however it is cut."""
    z: float
    """Size for E-values: sequences, or megabases for RNA."""
    max_sequences: int | None
    """Overrides the published number of rows to keep."""
    flags: str
    """Further flags of MMseqs2, such as `--gpu 1`."""
    shards: tuple[Shard, ...]
    known_at: float = field(default=math.inf, compare=False)
    """When its manifest was written, in seconds since 1970. Files that were written
    later may be others, so they are read before a search begins."""

    @property
    def kind(self) -> Literal["protein", "rna"]:
        """Molecule type of its sequences: protein or rna."""
        return "rna" if self.role == "rna" else "protein"

    @property
    def may_be_packed(self) -> bool:
        """Whether its tool searches the digitised form."""
        return self.tool in _READ_PACKED

    @property
    def has_filter(self) -> bool:
        """Whether its search is by HMMER for proteins, whose first filter is ours."""
        return self.tool == "jackhmmer"

    @property
    def path(self) -> Path:
        """The first file; for `structures` the folder or packed store."""
        return self.shards[0].path

    def settings(self, profile: str) -> SearchSettings:
        """How it is searched under an E-value profile."""
        return settings_for(
            self.name,
            self.role,
            cast(Tool, self.tool),
            profile=cast(Profile, profile),
            max_sequences=self.max_sequences,
            extra=self.flags,
        )


COLUMNS = (
    *("name", "role", "tool", "path", "version", "url"),
    *("database_digest", "z", "max_sequences", "flags"),
    *("digest", "bytes", "sequences", "residues"),
)
"""Of a manifest. A row of these alone is a manifest without databases."""


def read_manifest(path: Path) -> tuple[Database, ...]:
    """The databases of a manifest, in its order; that is the order of merging.

    Raises:
        InputError: no such file, a wrong column or value, or rows that disagree.
    """
    rows = _read_rows(path)
    known_at = path.stat().st_mtime
    databases: dict[str, Database] = {}
    for number, row in enumerate(rows, start=2):
        database = replace(_parse_row(row, path, number), known_at=known_at)
        known = databases.get(database.name)
        if known is None:
            databases[database.name] = database
            continue
        if replace(database, shards=known.shards) != known:
            raise InputError(
                str(path), f"line {number}", database.name, "rows that agree per name"
            )
        databases[database.name] = replace(
            known, shards=(*known.shards, *database.shards)
        )
    return tuple(databases.values())


def find_database(path: Path, name: str) -> Database:
    """The database of this name in a manifest.

    Raises:
        InputError: there is none; see also `read_manifest`.
    """
    databases = {database.name: database for database in read_manifest(path)}
    if name not in databases:
        raise InputError(str(path), "name", name, ", ".join(databases))
    return databases[name]


_TABLE = "a table of databases; `foldmill databases make` writes one"


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", strict=True)
            rows = list(reader)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(str(path), "databases", reason, _TABLE) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(str(path), "databases", str(error), _TABLE) from error
    found = tuple(reader.fieldnames or ())
    if set(found) != set(COLUMNS):
        raise InputError(str(path), "columns", ", ".join(found), ", ".join(COLUMNS))
    return rows


def _parse_row(row: dict[str, str], manifest: Path, number: int) -> Database:
    def refuse(column: str, allowed: str) -> InputError:
        where = f"line {number}, {column}"
        return InputError(str(manifest), where, row[column], allowed)

    if None in row.values() or None in row:
        raise InputError(
            str(manifest), f"line {number}", str(row), f"{len(COLUMNS)} columns"
        )
    roles = {role: role for role in get_args(Role)}
    if row["role"] not in roles:
        raise refuse("role", ", ".join(roles))
    if row["tool"] not in TOOLS[row["role"]]:
        raise refuse("tool", f"for {row['role']}: {', '.join(TOOLS[row['role']])}")
    if row["flags"] and row["tool"] != "mmseqs":
        raise refuse("flags", "none but for the tool mmseqs")
    numbers: dict[str, float] = {}
    for column in ("z", "bytes", "sequences", "residues", "max_sequences"):
        text = row[column] or "0"
        try:
            numbers[column] = float(text) if column == "z" else int(text)
        except ValueError as error:
            raise refuse(column, "a number") from error
        if numbers[column] < 0:
            raise refuse(column, "a number that is not negative")
    shard = Shard(
        path=manifest.parent / row["path"],
        digest=row["digest"],
        bytes=int(numbers["bytes"]),
        sequences=int(numbers["sequences"]),
        residues=int(numbers["residues"]),
    )
    if shard.is_packed and row["tool"] not in _READ_PACKED:
        raise refuse("path", f"FASTA for the tool {row['tool']}")
    return Database(
        name=row["name"],
        role=roles[row["role"]],
        tool=row["tool"],
        version=row["version"],
        url=row["url"],
        digest=row["database_digest"],
        z=numbers["z"],
        max_sequences=int(numbers["max_sequences"]) or None,
        flags=row["flags"],
        shards=(shard,),
    )


def format_manifest(databases: Iterable[Database], folder: Path) -> str:
    """The manifest's text, with paths relative to the folder it will lie in."""
    lines, base = ["\t".join(COLUMNS)], folder.resolve()
    for database in databases:
        for shard in database.shards:
            values = {
                **{f.name: getattr(database, f.name) for f in fields(database)},
                "path": shard.path.resolve().relative_to(base, walk_up=True),
                "database_digest": database.digest,
                "z": f"{database.z:.6f}".rstrip("0").rstrip("."),
                "max_sequences": database.max_sequences or "",
                "digest": shard.digest,
                "bytes": shard.bytes,
                "sequences": shard.sequences,
                "residues": shard.residues,
            }
            lines.append("\t".join(str(values[column]) for column in COLUMNS))
    return "\n".join(lines) + "\n"


def with_role(databases: Sequence[Database], role: Role) -> tuple[Database, ...]:
    """The databases of one role, in the manifest's order."""
    return tuple(database for database in databases if database.role == role)


__all__ = [
    "SEARCHED",
    "TOOLS",
    "Database",
    "Shard",
    "Tool",
    "find_database",
    "format_manifest",
    "read_manifest",
    "with_role",
]

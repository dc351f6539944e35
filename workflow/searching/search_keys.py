"""Keys of the store: what a search's answer depends on, said once.

Apart from the searches, which bring HMMER's library along: a plan asks for keys alone.
"""

import datetime
import hashlib
from dataclasses import dataclass
from importlib.metadata import version

from af3_core.contracts import MSA_HITS, TEMPLATES
from af3_core.msa import Msa, format_a3m
from af3_core.search.settings import TEMPLATE_SEARCH
from af3_core.search.templates import TemplateFilter
from workflow.databases.manifest import Database
from workflow.searching.mmseqs import mmseqs_version
from workflow.store.entries import Key, make_key

HMMER = f"HMMER 3.4, pyhmmer {version('pyhmmer')}"


def engine_name(database: Database) -> str:
    """The program that searches a database, with its version."""
    return mmseqs_version() if database.tool == "mmseqs" else HMMER


def hits_key(sequence: str, database: Database, profile: str) -> Key:
    """The store's key of one sequence searched against one database."""
    return make_key(
        MSA_HITS,
        kind=database.kind,
        sequence=sequence,
        tool=database.tool,
        engine=engine_name(database),
        flags=database.settings(profile).flags,
        profile=profile,
        database=database.digest,
        z=database.z,
    )


@dataclass(frozen=True)
class TemplateQuery:
    """A protein and the alignment its templates are searched with."""

    sequence: str
    msa: Msa


@dataclass(frozen=True)
class TemplateDatabases:
    """The PDB's sequences and structures."""

    sequences: Database
    structures: Database

    @property
    def digest(self) -> str:
        """Names the contents of both."""
        return f"{self.sequences.digest} {self.structures.digest}"


def templates_key(
    query: TemplateQuery, databases: TemplateDatabases, max_date: datetime.date
) -> Key:
    """The store's key of one query's templates."""
    return make_key(
        TEMPLATES,
        sequence=query.sequence,
        alignment=hashlib.sha256(format_a3m(query.msa).encode()).hexdigest(),
        engine=HMMER,
        flags=TEMPLATE_SEARCH.flags,
        sequences=databases.sequences.digest,
        z=databases.sequences.z,
        structures=databases.structures.digest,
        max_date=max_date.isoformat(),
        filter=repr(TemplateFilter(max_date=max_date)),
    )

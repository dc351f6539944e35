"""Digests of files, each read once for each content.

What has been read is remembered by what the file server says of the file: inode, size,
and the times of its last changes. A date alone is never believed: a file with an older
one, or with the same, is another file if anything else differs.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workflow.tables import Identity, digest_file, identity_of

_SETTLED_NS = 2_000_000_000
"""A file that was changed this shortly before it was read may change again within one
tick of the file server's clock, unseen."""


def find_identity(path: str | Path) -> Identity | None:
    """What names a file's present content; None where it cannot be seen."""
    try:
        return identity_of(path)
    except OSError:
        return None


@dataclass
class Files:
    """The files that were read for a plan, as they were just before."""

    identities: dict[str, Identity | None] = field(default_factory=dict)
    """By path; None where there was no such file."""
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of those that were read for nothing else."""
    known: "Files | None" = None
    """Those of the plan before."""

    def note(self, path: Path) -> None:
        """Has to be called before a file is read."""
        self.identities.setdefault(str(path), _settled(path))

    def digest(self, path: Path) -> str:
        """SHA-256 of a file, in hexadecimal.

        Raises:
            OSError: it cannot be read.
        """
        name = str(path)
        if name not in self.digests:
            self.note(path)
            found = self.identities[name]
            known = self.known
            if known and found and known.identities.get(name) == found:
                self.digests[name] = known.digests.get(name) or digest_file(path)
            else:
                self.digests[name] = digest_file(path)
        return self.digests[name]

    def are_unchanged(self) -> bool:
        """Whether every one of them is as it was."""
        return all(
            find_identity(name) == identity
            for name, identity in self.identities.items()
        )

    def to_json(self) -> dict[str, Any]:
        """For `write_json`."""
        return {"identities": self.identities, "digests": self.digests}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Files":
        """What `to_json` made."""
        identities = {
            name: Identity(*identity) if identity else None
            for name, identity in content["identities"].items()
        }
        return cls(identities, dict(content["digests"]))


def _settled(path: Path) -> Identity | None:
    """The identity of a file; one that nothing equals if it has only just changed."""
    found = find_identity(path)
    if found is not None and found.changed_ns > time.time_ns() - _SETTLED_NS:
        return found._replace(inode=-1)
    return found


def is_same(path: Path, known: Iterable[int] | None) -> bool:
    """Whether a file is there and still has the identity it was known by."""
    found = find_identity(path)
    return found is not None and known is not None and tuple(known) == tuple(found)

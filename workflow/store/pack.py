"""Many entries of a search store in one file, so that a large store has few files.

A pack is an uncompressed zip file of entries, `STORE/CONTRACT/xx/DIGEST.zip`, written
whole and never changed: what is added later is in later packs, or loose.
"""

import hashlib
import lzma
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from workflow.tables import replacing

_UNREADABLE = (
    *(OSError, zipfile.BadZipFile, KeyError, ValueError),
    # Damage may look like a method of packing or encrypting that is not known here.
    *(RuntimeError, EOFError, struct.error, zlib.error, lzma.LZMAError),
)


def find_packed(path: Path) -> bytes | None:
    """The content of an entry that would be the file `path`, from a pack beside it."""
    for pack in sorted(path.parent.glob("*.zip")):
        if (content := _read(pack, path.name)) is not None:
            return content
    return None


def _read(pack: Path, name: str) -> bytes | None:
    try:
        with zipfile.ZipFile(pack) as archive:
            return archive.read(name)
    except _UNREADABLE:
        return None


def list_packed(pack: Path) -> Iterator[tuple[Path, bytes]]:
    """Entries of a pack: the file that each would be, and its content."""
    try:
        with zipfile.ZipFile(pack) as archive:
            names = archive.namelist()
    except _UNREADABLE:
        return
    for name in names:
        yield pack.parent / name, _read(pack, name) or b""


def write_pack(folder: Path, files: Iterable[Path]) -> Path:
    """Packs entries of one folder; they may be removed afterwards.

    Raises:
        FileNotFoundError: another process packed or removed one meanwhile.
    """
    files = sorted(files)
    names = "\n".join(file.name for file in files)
    pack = folder / f"{hashlib.sha256(names.encode()).hexdigest()[:16]}.zip"
    with replacing(pack) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in files:
            archive.write(file, file.name)
    return pack


def drop_from_pack(pack: Path, names: Collection[str]) -> None:
    """Takes entries out of a pack, by their file names."""
    with zipfile.ZipFile(pack) as old:
        kept = [name for name in old.namelist() if name not in names]
        if kept:
            with replacing(pack) as temporary, zipfile.ZipFile(temporary, "w") as new:
                for name in kept:
                    new.writestr(zipfile.ZipInfo(name), old.read(name))
    if not kept:
        pack.unlink(missing_ok=True)

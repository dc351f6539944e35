"""Text of the user's files: plain or compressed, and never more than it should be."""

import codecs
import gzip
import lzma
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

import zstandard

from af3_core.inputs.entry import Entry
from af3_core.job import InputError

MAX_TEXT_BYTES = 2**29
"""Largest alignment, template or component file, decompressed (512 MiB)."""
MAX_INPUT_BYTES = 2**30
"""Largest FASTA or CSV file, decompressed (1 GiB)."""
MAX_JSON_BYTES = 192 * 2**20
"""Largest JSON file, decompressed (192 MiB); planning it takes four times as much."""
COMPRESSED = frozenset({".gz", ".xz", ".zst"})
"""Endings of compressed files; what they are is told by their first bytes."""

_CHUNK_BYTES = 2**20
# One call returns all that its input expands to: four bytes may become 128 KiB.
_ZSTD_INPUT_BYTES = 2**10
_GZIP, _XZ, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"


_noted: ContextVar[Callable[[Path], None]] = ContextVar("_noted")


@contextmanager
def noting_reads(note: Callable[[Path], None]) -> Iterator[None]:
    """Calls `note` with every file that is about to be read, linked ones included.

    So it is with a file that is not there: what is made of the inputs may change when
    it appears.
    """
    token = _noted.set(note)
    try:
        yield
    finally:
        _noted.reset(token)


def note_read(path: Path) -> None:
    """Says that a file is about to be read; see `noting_reads`."""
    if (note := _noted.get(None)) is not None:
        note(path)


def read_file(
    file: str, path: Path, limit: int = MAX_INPUT_BYTES, *, replace: bool = False
) -> str:
    """The text of an input file itself: plain, gzip, xz or zstd.

    Args:
        file: what errors call it.
        path: where it lies.
        limit: bytes, decompressed.
        replace: bytes that are not UTF-8 become U+FFFD, so that one of them does not
            cost the other jobs of the file; UTF-16 is read if it says so.

    Raises:
        InputError: if it is no readable, regular text file.
    """
    whole = Entry(file, "", str(path), "a readable file")
    size = _size_of_regular_file(whole, path)
    if size > limit:
        allowed = f"a file of at most {limit:,} bytes"
        raise InputError(file, "(file)", f"{size:,} bytes", allowed)
    content = _read_decompressed(whole, path, limit, is_text=False)
    if replace and content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    return content.decode("utf-8", "replace") if replace else _decode(whole, content)


def first_bytes(path: Path) -> bytes:
    """The beginning of a file, decompressed; nothing of what is no file.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as stream:
            return next(_decompress(stream), b"")
    except (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError):
        return b""


def read_linked_file(
    entry: Entry,
    folder: Path,
    allowed_roots: tuple[Path, ...] | None,
    *,
    replace: bool = False,
) -> str:
    """The text of the file that a field such as `unpairedMsaPath` points to.

    Args:
        entry: the field; its value is the path, absolute or relative to `folder`.
        folder: where the JSON file lies.
        allowed_roots: folders inside which the file must really lie, links followed;
            None for AlphaFold 3's rule, anything the user can read.
        replace: bytes that are not UTF-8 become U+FFFD.
    """
    name = entry.value
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise entry.refuse()
    if name.startswith("gs://"):
        raise entry.refuse("a file of this machine; copy cloud objects here first")
    path = folder / name
    size = _size_of_regular_file(entry, path)
    if allowed_roots is not None:
        _refuse_outside(entry, path, allowed_roots)
    if size > MAX_TEXT_BYTES:
        raise entry.refuse(f"a file of at most {MAX_TEXT_BYTES:,} bytes")
    content = _read_decompressed(entry, path, MAX_TEXT_BYTES)
    return content.decode("utf-8", "replace") if replace else _decode(entry, content)


def _size_of_regular_file(entry: Entry, path: Path) -> int:
    note_read(path)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise entry.refuse(f"an existing, readable file ({reason})") from error
    if not stat.S_ISREG(status.st_mode):
        raise entry.refuse("a regular file, not a folder, device, pipe or socket")
    return status.st_size


def _refuse_outside(entry: Entry, path: Path, roots: tuple[Path, ...]) -> None:
    real = path.resolve()
    if not any(real.is_relative_to(root.resolve()) for root in roots):
        folders = ", ".join(str(root) for root in roots)
        raise entry.refuse(f"a file inside {folders}")


def _read_decompressed(
    entry: Entry, path: Path, limit: int, *, is_text: bool = True
) -> bytes:
    chunks: list[bytes] = []
    num_bytes = 0
    try:
        with path.open("rb") as stream:
            for chunk in _decompress(stream):
                num_bytes += len(chunk)
                if num_bytes > limit:
                    allowed = f"at most {limit:,} bytes when decompressed"
                    raise entry.refuse(allowed)
                # A bomb of zeros ends here, long before it has filled the memory.
                if is_text and b"\0" in chunk:
                    raise entry.refuse("a text file; this one holds NUL bytes")
                chunks.append(chunk)
    except (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise entry.refuse(f"an intact compressed file ({error})") from error
    except OSError as error:
        raise entry.refuse(f"a readable file ({error})") from error
    return b"".join(chunks)


def _decompress(stream: BinaryIO) -> Iterator[bytes]:
    magic = stream.read(6)
    stream.seek(0)
    if magic.startswith(_ZSTD):
        yield from _decompress_zstd(stream)
        return
    plain: gzip.GzipFile | lzma.LZMAFile | BinaryIO = stream
    if magic.startswith(_GZIP):
        plain = gzip.GzipFile(fileobj=stream)
    elif magic == _XZ:
        plain = lzma.LZMAFile(stream)
    while chunk := plain.read(_CHUNK_BYTES):
        yield chunk


def _decompress_zstd(stream: BinaryIO) -> Iterator[bytes]:
    # The library's own file reader takes a truncated stream for a finished one.
    frame = zstandard.ZstdDecompressor().decompressobj()
    complete = False
    while packed := stream.read(_ZSTD_INPUT_BYTES):
        while packed:
            if complete:
                frame = zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(packed)
            complete, packed = frame.eof, frame.unused_data
    if not complete:
        raise EOFError("the stream ends before its end marker")


def _decode(entry: Entry, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        allowed = f"UTF-8 text; byte {error.start} is none ({error.reason})"
        raise entry.refuse(allowed) from error

"""Gets AlphaFold 3's databases: loaded, unpacked and counted in one pass.

Each published file is loaded into a hidden part beside its place, with resume, while a
second thread unpacks and counts what is there already; the protein structures go into a
packed template store as they come. When all is loaded the catalogue is ready, too.
Addresses and names are those of AlphaFold 3's `fetch_databases.sh` (v3.0.4).
"""

import base64
import hashlib
import io
import json
import shutil
import threading
import time
from collections.abc import Buffer, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import requests
import zstandard

from af3_core.job import InputError
from workflow.databases.catalogue import Database, Shard
from workflow.databases.files import (
    count_records,
    database_of,
    find_role,
    make_structures,
    split_records,
)
from workflow.databases.template_store import Readable, pack_structures
from workflow.tables import replacing

ADDRESS = "https://storage.googleapis.com/alphafold-databases/v3.0"
"""Where AlphaFold 3's authors publish the databases."""
FILES = (
    "uniref90_2022_05.fa",
    "bfd-first_non_consensus_sequences.fasta",
    "mgy_clusters_2022_05.fa",
    "uniprot_all_2021_04.fa",
    "rfam_14_9_clust_seq_id_90_cov_80_rep_seq.fasta",
    "rnacentral_active_seq_id_90_cov_80_linclust.fasta",
    "nt_rna_2023_02_23_clust_seq_id_90_cov_80_rep_seq.fasta",
    "pdb_seqres_2022_09_28.fasta",
)
STRUCTURES = "pdb_2022_09_28_mmcif_files.tar"
UNPACKED_SHARE = 2.5
"""Unpacked bytes for each that is loaded: 630 GB of 252, by AlphaFold 3's README."""

_PIECE = 1 << 20
_PATIENCE = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""
_TRIES = 8
"""Broken connections in a row, without one byte gained, before a file is given up."""


@dataclass
class Transfer:
    """One file under way, as others may watch it."""

    name: str
    total: int = 0
    """Bytes to be loaded."""
    loaded: int = 0
    is_ready: bool = False


@dataclass(frozen=True)
class Need:
    """What getting the databases takes, before anything is loaded."""

    loaded_bytes: int
    """Still to be loaded."""
    disk_bytes: int
    """Free space needed, at most: parts are removed as they are unpacked."""
    free_bytes: int


def find_need(
    folder: Path, address: str = ADDRESS, names: Sequence[str] = (*FILES, STRUCTURES)
) -> Need:
    """Asks how large the missing files are.

    Raises:
        InputError: the address does not answer.
    """
    missing = [name for name in names if not _target(folder, name).exists()]
    sizes = [_ask(f"{address}/{name}.zst").size for name in missing]
    there = [_part(folder, name) for name in missing]
    loaded = [part.stat().st_size if part.exists() else 0 for part in there]
    folder.mkdir(parents=True, exist_ok=True)
    return Need(
        loaded_bytes=sum(sizes) - sum(loaded),
        disk_bytes=round(sum(sizes) * (1 + UNPACKED_SHARE)) - sum(loaded),
        free_bytes=shutil.disk_usage(folder).free,
    )


def fetch_databases(
    folder: Path,
    address: str = ADDRESS,
    *,
    files: Sequence[str] = FILES,
    structures: str | None = STRUCTURES,
    at_once: int = 4,
    workers: int = 1,
    watch: Callable[[Sequence[Transfer]], None] = lambda transfers: None,
    seconds: float = 1.0,
) -> tuple[Database, ...]:
    """Loads what is missing in a folder; returns all databases, counted and digested.

    A run that is interrupted goes on where it ended. A file appears under its name only
    when it is whole.

    Args:
        folder: where the databases go.
        address: the folder of the published files.
        files: FASTA files, without `.zst`.
        structures: the tar of mmCIF files, without `.zst`; None: without templates.
        at_once: files loaded at a time.
        workers: processes that read structures.
        watch: called with the state of all files, every so many `seconds`.

    Raises:
        InputError: an address does not answer, or what it sends is not whole.
        OSError: the folder cannot be written, or is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [*files, *([] if structures is None else [structures])]
    transfers = {name: Transfer(name) for name in names}
    stop = threading.Event()

    def get(name: str) -> Database:
        part = _Part(_part(folder, name), transfers[name], stop)
        database = _get(folder, f"{address}/{name}.zst", part, workers)
        transfers[name].is_ready = True
        return database

    pool = ThreadPoolExecutor(at_once)
    try:
        waiting = [pool.submit(get, name) for name in names]
        while not all(future.done() for future in waiting):
            watch(list(transfers.values()))
            failed = [f for f in waiting if f.done() and f.exception() is not None]
            if failed:
                break
            time.sleep(seconds)
        watch(list(transfers.values()))
        return tuple(future.result() for future in waiting)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _target(folder: Path, name: str) -> Path:
    """What a published file becomes: itself, or a packed template store."""
    is_tar = name.endswith(".tar")
    return folder / (f"{name.removesuffix('.tar')}.templates" if is_tar else name)


def _part(folder: Path, name: str) -> Path:
    return folder / f".{name}.zst.part"


def _get(folder: Path, url: str, part: "_Part", workers: int) -> Database:
    """One database: from the counts of an earlier run, or from the address."""
    name = part.transfer.name
    target, counts = _target(folder, name), folder / f".{name}.counts.json"
    if name.endswith(".tar"):
        if not target.exists():
            _unpack(part, url, lambda stream: _pack(part, stream, target, workers))
        return make_structures(target)
    shard = _read_counts(counts, target)
    if shard is None:
        shard = _unpack(part, url, lambda stream: _write(part, stream, target))
        _write_counts(counts, shard)
    label, role = find_role(name)
    return database_of(label, role, [shard], shard.digest, url=url)


def _unpack[Result](
    part: "_Part", url: str, use: Callable[[Readable], Result]
) -> Result:
    """Loads a file, and hands on what is in it as it comes."""
    loader = threading.Thread(target=part.load, args=(url,))
    loader.start()
    try:
        raw = io.BufferedReader(_Follower(part), _PIECE)
        unpacker = zstandard.ZstdDecompressor()
        result = use(unpacker.stream_reader(raw, read_across_frames=True))
    except zstandard.ZstdError as error:
        part.forget()
        raise InputError(url, "content", str(error), "a zstd file") from error
    finally:
        part.is_left = True
        loader.join()
    part.forget()
    return result


def _pack(part: "_Part", stream: Readable, target: Path, workers: int) -> None:
    pack_structures(stream, target, workers=workers)
    try:
        part.check()
    except InputError:
        target.unlink()
        raise


def _write(part: "_Part", stream: Readable, target: Path) -> Shard:
    """Writes a FASTA file from a stream, and counts it on the way."""

    def pieces() -> Iterator[bytes]:
        with temporary.open("wb") as file:
            for records in split_records(stream, target):
                file.write(records)
                yield records

    with replacing(target) as temporary:
        shard = count_records(pieces(), target, find_role(target.name)[1])
        part.check()
    return shard


def _write_counts(path: Path, shard: Shard) -> None:
    known = {
        "digest": shard.digest,
        "bytes": shard.bytes,
        "sequences": shard.sequences,
        "residues": shard.residues,
        "modified": shard.path.stat().st_mtime_ns,
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(known), encoding="utf-8")


def _read_counts(path: Path, target: Path) -> Shard | None:
    """What was counted as the file was written; None if it is another file now."""
    if not (path.is_file() and target.is_file()):
        return None
    known = json.loads(path.read_text(encoding="utf-8"))
    status = target.stat()
    if (status.st_size, status.st_mtime_ns) != (known["bytes"], known.pop("modified")):
        return None
    return Shard(path=target, **known)


@dataclass(frozen=True)
class _Answer:
    """What a server says of a file."""

    size: int
    tag: str
    """Names this version of the file."""
    md5: str
    """Base64, if the server tells; else empty."""


def _ask(url: str) -> _Answer:
    try:
        reply = requests.head(url, timeout=_PATIENCE, allow_redirects=True)
        reply.raise_for_status()
    except requests.RequestException as error:
        raise InputError(url, "address", _reason(error), "a file to load") from error
    return _answer(reply)


def _answer(reply: requests.Response) -> _Answer:
    hashes = dict(
        part.strip().split("=", 1)
        for part in reply.headers.get("x-goog-hash", "").split(",")
        if "=" in part
    )
    return _Answer(
        size=int(reply.headers.get("Content-Length", 0)),
        tag=reply.headers.get("ETag", ""),
        md5=hashes.get("md5", ""),
    )


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    return type(error).__name__


@dataclass
class _Part:
    """The part of a file that is there: one thread writes it, another reads it."""

    path: Path
    transfer: Transfer
    stop: threading.Event
    """Set where everything has to end."""
    is_left: bool = False
    """Whether nobody reads it any more."""
    answer: _Answer | None = None
    md5: "hashlib._Hash" = field(default_factory=hashlib.md5)
    """Of what has been read."""
    _error: InputError | OSError | None = None
    _has_more: threading.Condition = field(default_factory=threading.Condition)
    _is_over: bool = False

    def load(self, url: str) -> None:
        """Loads the rest of the file, however often the connection breaks."""
        try:
            self._load(url)
        except (InputError, OSError) as error:
            self._error = error
        finally:
            with self._has_more:
                self._is_over = True
                self._has_more.notify_all()

    @property
    def _tag(self) -> Path:
        """Says which version of the file the part is of."""
        return self.path.with_suffix(".tag")

    @property
    def _is_wanted(self) -> bool:
        return not (self.is_left or self.stop.is_set())

    def _load(self, url: str) -> None:
        self.answer = answer = _ask(url)
        if not (self._tag.is_file() and self._tag.read_text("utf-8") == answer.tag):
            self.path.unlink(missing_ok=True)
            self._tag.write_text(answer.tag, encoding="utf-8")
        self.path.touch()
        self.transfer.total = answer.size
        failures = 0
        while self._is_wanted and (before := self._note()) < answer.size:
            try:
                self._receive(url, before, answer.tag)
            except requests.RequestException as error:
                failures = 0 if self._note() > before else failures + 1
                if failures >= _TRIES:
                    allowed = "a file to load"
                    raise InputError(url, "address", _reason(error), allowed) from error
                self.stop.wait(min(30.0, 0.1 * 2**failures))

    def _receive(self, url: str, start: int, tag: str) -> None:
        """Appends what the server sends from a position on."""
        headers = {"Range": f"bytes={start}-", "Accept-Encoding": "identity"}
        if tag:
            headers["If-Range"] = tag
        with requests.get(url, headers=headers, stream=True, timeout=_PATIENCE) as got:
            got.raise_for_status()
            if start and got.status_code != requests.codes.partial_content:
                self.forget()
                allowed = "the rest of the file that was begun; start again"
                raise InputError(url, "content", "a file from its beginning", allowed)
            with self.path.open("ab") as file:
                for piece in got.iter_content(_PIECE):
                    file.write(piece)
                    file.flush()
                    self._note()
                    if not self._is_wanted:
                        return

    def _note(self) -> int:
        """Bytes loaded so far; wakes the reader."""
        with self._has_more:
            self.transfer.loaded = self.path.stat().st_size
            self._has_more.notify_all()
        return self.transfer.loaded

    def read(self, position: int, buffer: memoryview) -> int:
        """Reads what stands at a position; waits until it is there. 0: the end.

        Raises:
            InputError: the file cannot be loaded.
            OSError: it cannot be written, or the loading was stopped.
        """
        with self._has_more:
            while self.transfer.loaded <= position and not self._is_over:
                self._has_more.wait(1.0)
        if self._error is not None:
            raise self._error
        if self.stop.is_set():
            raise InterruptedError(f"{self.transfer.name}: stopped")
        if self.transfer.loaded <= position:
            return 0
        with self.path.open("rb") as file:
            file.seek(position)
            count = file.readinto(buffer)
        self.md5.update(buffer[:count])
        return count

    def check(self) -> None:
        """Compares what was read with what the server says of it.

        Raises:
            InputError: size or checksum differ; the part is removed.
        """
        size = self.path.stat().st_size
        wanted = self.answer or _Answer(0, "", "")
        digest = base64.b64encode(self.md5.digest()).decode()
        is_whole = size == wanted.size and wanted.md5 in ("", digest)
        if not is_whole:
            self.forget()
            found, allowed = f"{size} bytes, MD5 {digest}", f"{wanted.size} bytes"
            allowed += f", MD5 {wanted.md5}" if wanted.md5 else ""
            raise InputError(self.transfer.name, "content", found, allowed)

    def forget(self) -> None:
        """Removes the part: it is unpacked, or useless."""
        self.path.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)


class _Follower(io.RawIOBase):
    """Reads a file that grows while it is read."""

    def __init__(self, part: _Part) -> None:
        super().__init__()
        self._part, self._position = part, 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fills the buffer from the next bytes; 0 at the end."""
        count = self._part.read(self._position, memoryview(buffer))
        self._position += count
        return count

"""Gets AlphaFold 3's databases: loaded, unpacked and counted in one pass.

Each published file is loaded into a hidden part beside its place, with resume, while a
second thread unpacks and counts what is there already; the protein structures go into a
packed template store as they come. When all is loaded the manifest is ready, too.
Addresses and names are those of AlphaFold 3's `fetch_databases.sh` (v3.0.4).
"""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import zstandard

from af3_core.job import InputError
from workflow.databases.files import (
    count_records,
    database_of,
    find_role,
    make_structures,
    split_records,
)
from workflow.databases.manifest import Database, Shard
from workflow.databases.template_store import Readable, pack_structures
from workflow.download import PIECE, Download, remote_size
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


@dataclass
class Transfer:
    """One file under way, as others may watch it."""

    name: str
    total: int = 0
    """Bytes to be loaded."""
    loaded: int = 0
    is_ready: bool = False

    def note(self, loaded: int, total: int) -> None:
        """Takes what a download says of itself."""
        self.loaded, self.total = loaded, total


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
    sizes = [remote_size(f"{address}/{name}.zst") for name in missing]
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
        transfer = transfers[name]
        download = Download(
            f"{address}/{name}.zst",
            _part(folder, name),
            report=transfer.note,
            stop=stop,
        )
        database = _get(folder, name, download, workers)
        transfer.is_ready = True
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


def _get(folder: Path, name: str, download: Download, workers: int) -> Database:
    """One database: from the counts of an earlier run, or from the address."""
    target, counts = _target(folder, name), folder / f".{name}.counts.json"
    if name.endswith(".tar"):
        if not target.exists():
            _unpack(download, lambda stream: _pack(download, stream, target, workers))
        return make_structures(target)
    shard = _read_counts(counts, target)
    if shard is None:
        shard = _unpack(download, lambda stream: _write(download, stream, target))
        _write_counts(counts, shard)
    label, role = find_role(name)
    return database_of(label, role, [shard], shard.digest, url=download.url)


def _unpack[Result](download: Download, use: Callable[[Readable], Result]) -> Result:
    """Loads a file, and hands on what is in it as it comes."""
    unpacker = zstandard.ZstdDecompressor()
    try:
        with download.follow() as raw:
            result = use(unpacker.stream_reader(raw, read_across_frames=True))
    except zstandard.ZstdError as error:
        download.forget()
        raise InputError(download.url, "content", str(error), "a zstd file") from error
    download.forget()
    return result


def _pack(download: Download, stream: Readable, target: Path, workers: int) -> None:
    pack_structures(stream, target, workers=workers)
    while stream.read(PIECE):
        pass  # what stands behind the end of the archive counts in the checksum, too
    try:
        download.check()
    except InputError:
        target.unlink()
        raise


def _write(download: Download, stream: Readable, target: Path) -> Shard:
    """Writes a FASTA file from a stream, and counts it on the way."""

    def pieces() -> Iterator[bytes]:
        with temporary.open("wb") as file:
            for records in split_records(stream, target):
                file.write(records)
                yield records

    with replacing(target) as temporary:
        shard = count_records(pieces(), target, find_role(target.name)[1])
        download.check()
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

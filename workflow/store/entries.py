"""Search results, kept once under what they depend on and shared by everybody.

An entry is one Parquet file named by a digest of its key, loose or in a pack
(`store.pack`). It appears whole or not at all, carries its key, is sealed as all tables
are, and checked on every read: an entry that is damaged, or whose key is not the one
asked for, is as good as absent.
Claims keep two campaigns from searching the same at the same time; they are hints:
losing one costs time, never correctness. Works on a network file system.

What is added takes the permissions of the store's own folder, whatever the umask, so
that a group shares a store by `chmod 2775`. Who may only read a store reads it, and
keeps what it lacks in a folder of the campaign's own.
"""

import errno
import hashlib
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from af3_core.columns import Contract, ContractError
from af3_core.contracts import CONTRACTS
from workflow.store.pack import find_packed, list_packed, write_pack
from workflow.tables import (
    DamagedFile,
    is_sealed,
    read_notes,
    replacing,
    seal,
    verify_content,
)

STALE_SECONDS = 180.0
"""A claim not renewed for this long belongs to a process that is gone."""
_RENEW_SECONDS = 30.0
_POLL_SECONDS = 2.0
_LEFTOVER_SECONDS = 86_400.0


@dataclass(frozen=True)
class Key:
    """All that a result depends on."""

    contract: Contract
    depends_on: tuple[tuple[str, str], ...]
    """Names and values, in a fixed order."""

    @property
    def text(self) -> str:
        """The key as JSON, as it stands in the entry's metadata."""
        names = {"contract": self.contract.name, "version": self.contract.version}
        return json.dumps({**names, **dict(self.depends_on)}, sort_keys=True)

    @property
    def digest(self) -> str:
        """32 hex digits that name the entry."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]


def make_key(contract: Contract, **depends_on: object) -> Key:
    """A key from named values; numbers enter exactly."""
    values = tuple(sorted((name, repr(value)) for name, value in depends_on.items()))
    return Key(contract, values)


@dataclass(frozen=True)
class Store:
    """A folder of entries."""

    folder: Path
    own: Path = Path("store")
    """Where entries go that the folder does not take."""

    def path(self, key: Key) -> Path:
        """Where an entry is or would be."""
        return self.folder / _file_of(key)

    def get(self, key: Key) -> pa.Table | None:
        """The entry's table, or None if there is none that is whole and right."""
        for path in self._paths(key):
            table = read_entry(path, key)
            if table is None and (content := find_packed(path)) is not None:
                table = read_entry(path, key, content=content)
            if table is not None:
                return table
        return None

    def __contains__(self, key: Key) -> bool:
        """Whether the entry is there; of one that is loose, only the footer is read."""
        return self.notes(key) is not None

    def notes(self, key: Key) -> dict[str, str] | None:
        """The entry's metadata; of one that is loose, only the footer is read."""
        for path in self._paths(key):
            if _has_key(path, key):
                return read_notes(path)
        table = self.get(key)
        if table is None:
            return None
        return {k.decode(): v.decode() for k, v in table.schema.metadata.items()}

    def put(self, key: Key, table: pa.Table) -> None:
        """Adds an entry; if it is there already, it is replaced by an equal one.

        Raises:
            ContractError: the table is not what the key's contract says.
            OSError: the disk is full or neither folder can be written.
        """
        path = self.place(_file_of(key))
        key.contract.check(table, where=str(path))
        metadata = {**table.schema.metadata, b"key": key.text.encode()}
        with replacing(path) as temporary:
            entry = table.replace_schema_metadata(metadata)
            pq.write_table(
                entry, temporary, compression="zstd", write_page_checksum=True
            )
            seal(temporary)
        _share(path, self._root_of(path))

    def place(self, file: Path) -> Path:
        """Where a file of the store, named relative to it, can be written.

        Its folder is made. In the store, or in the folder of one's own where the store
        may only be read.

        Raises:
            OSError: neither can be written.
        """
        for root in (self.folder, self.own):
            try:
                _make_folders((root / file).parent, root)
            except OSError as error:
                if error.errno not in _MAY_NOT or root == self.own:
                    raise
                continue
            if os.access((root / file).parent, os.W_OK | os.X_OK):
                return root / file
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.own))

    def remove(self, key: Key) -> None:
        """Forgets an entry, if it is there, loose and ours to remove."""
        for path in self._paths(key):
            _unlink(path)

    def claim(self, key: Key) -> bool:
        """Whether this process is now the one to make the entry.

        False: another process is at it. Keep claims with `keep_claims`, and give them
        back with `release`.
        """
        path = self._claim_path(key)
        theirs = self.path(key).with_suffix(".claim")
        if path != theirs and theirs.exists() and not _is_abandoned(theirs):
            return False
        if _create(path, self._root_of(path)):
            return True
        if not _is_abandoned(path):
            return False
        _remove_abandoned(path)
        return _create(path, self._root_of(path))

    def release(self, key: Key) -> None:
        """Gives a claim back, whether or not the entry was made."""
        _unlink(self._claim_path(key))

    def _paths(self, key: Key) -> Iterator[Path]:
        for folder in dict.fromkeys((self.folder, self.own)):
            yield folder / _file_of(key)

    def _root_of(self, path: Path) -> Path:
        return self.folder if path.is_relative_to(self.folder) else self.own

    @contextmanager
    def keep_claims(self, keys: Iterable[Key]) -> Iterator[None]:
        """Renews claims while the block runs, and gives them back at its end."""
        keys, is_over = tuple(keys), threading.Event()

        def renew() -> None:
            while not is_over.wait(_RENEW_SECONDS):
                for key in keys:
                    self._renew(key)

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            for key in keys:
                self.release(key)

    def _renew(self, key: Key) -> None:
        path = self._claim_path(key)
        try:
            os.utime(path)
        except FileNotFoundError:
            _create(path, self._root_of(path))

    def _claim_path(self, key: Key) -> Path:
        return self.place(_file_of(key)).with_suffix(".claim")


_MAY_NOT = (errno.EACCES, errno.EPERM, errno.EROFS)
"""What is said where something may only be read."""


def _file_of(key: Key) -> Path:
    """An entry's file, relative to its store."""
    return Path(key.contract.name, key.digest[:2], f"{key.digest}.parquet")


def _make_folders(folder: Path, root: Path) -> None:
    """Makes a folder of a store, with the permissions of the store itself."""
    if not root.is_dir():
        root.mkdir(parents=True, exist_ok=True)
    for parent in reversed([folder, *folder.parents]):
        if parent.is_relative_to(root) and not parent.is_dir():
            parent.mkdir(exist_ok=True)
            _share(parent, root)


def _share(path: Path, root: Path) -> None:
    """Gives what this process has made the permissions of its store."""
    mode = stat.S_IMODE(root.stat().st_mode)
    if path.is_file():
        mode &= 0o666
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in _MAY_NOT:
            raise


type Guards = Callable[[str], AbstractContextManager[object]]
"""For what is done for one of several names alone; it may keep what is raised."""


class MissingEntry(LookupError):
    """A result that a search should have left in the store is not there."""


def unguarded(name: str) -> AbstractContextManager[object]:
    """Keeps nothing: what is raised ends the work on all names."""
    return nullcontext()


def fill_store(
    store: Store,
    keys: Mapping[str, Key],
    make: Callable[[list[str]], Iterable[tuple[str, pa.Table]]],
    on_result: Callable[[str], None],
    guard: Guards = unguarded,
) -> int:
    """Sees to it that the store has all entries, none of them made twice.

    What is there is left alone; what another process is making is waited for.

    Args:
        store: where the entries belong.
        keys: by the names that `make` and `on_result` know them by.
        make: the tables of these names, in any order; it may leave some out.
        on_result: called with each name when its entry is there.
        guard: of what is done for one name.

    Returns:
        How many entries were made here.
    """
    num_made, wanted = 0, dict(keys)
    while wanted:
        done = {name for name, key in wanted.items() if store.get(key) is not None}
        mine = {
            name: key
            for name, key in wanted.items()
            if name not in done and store.claim(key)
        }
        with store.keep_claims(mine.values()):
            # Between the look and the claim another process may have finished.
            todo = [name for name, key in mine.items() if store.get(key) is None]
            there = [*done, *(name for name in mine if name not in todo)]
            for name in there:
                on_result(name)
            for name, table in make(todo) if todo else ():
                with guard(name):
                    store.put(mine[name], table)
                    on_result(name)
                    num_made += 1
        for name in (*done, *mine):
            del wanted[name]
        if wanted:
            time.sleep(_POLL_SECONDS)
    return num_made


def _create(path: Path, root: Path) -> bool:
    """Creates a claim; exactly one of several processes succeeds."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        file.write(_process_name(os.getpid()) or "")
    _share(path, root)
    return True


def _process_name(pid: int) -> str | None:
    """Host, number and start of a process of this host; None if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return None
    started = fields.rpartition(")")[2].split()[19]
    return f"{socket.gethostname()} {pid} {started}"


def _is_abandoned(path: Path) -> bool:
    """Whether the process that made a claim is gone.

    On the claim's own host that is known at once, elsewhere by its age.
    """
    try:
        owner = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return True
    host, _, rest = owner.partition(" ")
    if host == socket.gethostname() and Path("/proc/self/stat").exists():
        return _process_name(int(rest.split()[0])) != owner
    age = _age(path)
    return age is None or age >= STALE_SECONDS


def _age(path: Path) -> float | None:
    """Seconds since a claim was renewed, by the file server's clock."""
    probe = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        if not os.access(path.parent, os.W_OK):
            return time.time() - path.stat().st_mtime
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return None
    finally:
        _unlink(probe)


def _remove_abandoned(path: Path) -> None:
    """Moves a dead claim away; of several processes one succeeds."""
    grave = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.stale")
    try:
        path.rename(grave)
    except FileNotFoundError:
        return
    grave.unlink(missing_ok=True)


def _has_key(path: Path, key: Key) -> bool:
    try:
        return read_notes(path).get("key") == key.text
    except (DamagedFile, OSError):
        return False


def read_entry(
    path: Path, key: Key | None = None, *, content: bytes | None = None
) -> pa.Table | None:
    """An entry's table, or None if it is absent, damaged or another's.

    Args:
        path: the entry's file.
        key: what it has to be; None takes any entry whose name fits its own key.
        content: of the file, if it is in a pack.
    """
    try:
        content = path.read_bytes() if content is None else content
        # Foldmill 0.1 wrote checksums of pages and no seal.
        if is_sealed(content):
            verify_content(content, path)
        source = pa.BufferReader(content)
        table = pq.read_table(source, page_checksum_verification=True)
        metadata = table.schema.metadata or {}
        text = metadata.get(b"key", b"{}").decode()
        contract = CONTRACTS.get(metadata.get(b"contract", b"").decode())
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        if contract is None or name != path.stem or (key and key.text != text):
            return None
        return contract.check(table, where=str(path))
    except (DamagedFile, pa.ArrowException, OSError, ContractError, ValueError):
        return None


@dataclass(frozen=True)
class Entry:
    """What is known of an entry without reading its rows."""

    path: Path
    """Its file; where it is packed, the file it would be."""
    key: dict[str, str]
    rows: int
    bytes: int
    age_days: float
    pack: Path | None = None
    """The pack that holds it."""


def entry_paths(store: Store) -> list[Path]:
    """Files of all loose entries, good or damaged."""
    return _visible(store, "parquet")


def pack_paths(store: Store) -> list[Path]:
    """All packs."""
    return _visible(store, "zip")


def _visible(store: Store, ending: str) -> list[Path]:
    return [
        path
        for path in sorted(store.folder.glob(f"*/??/*.{ending}"))
        if not path.name.startswith(".")
    ]


def pack_entries(store: Store) -> int:
    """Moves loose entries into packs, one for each folder; how many were moved.

    Others may read and write meanwhile. Damaged entries stay as they are.
    """
    folders: dict[Path, list[Path]] = {}
    for path in entry_paths(store):
        if read_entry(path) is not None:
            folders.setdefault(path.parent, []).append(path)
    for folder, files in folders.items():
        write_pack(folder, files)
        for file in files:
            file.unlink(missing_ok=True)
    return sum(map(len, folders.values()))


def abandoned_files(store: Store) -> list[Path]:
    """Claims and half-written files of processes that are gone."""
    claims = [p for p in store.folder.glob("*/??/*.claim") if _is_abandoned(p)]
    now = time.time()
    halves = [
        path
        for path in store.folder.glob("*/??/.*")
        if now - path.stat().st_mtime > _LEFTOVER_SECONDS
    ]
    return claims + halves


def list_entries(store: Store) -> Iterator[Entry]:
    """All entries, loose ones first; files that are no entries are left out."""
    for path in entry_paths(store):
        try:
            status = path.stat()
            yield _entry(path, path, status.st_size, status.st_mtime)
        except (pa.ArrowException, OSError, ValueError):
            continue
    for pack in pack_paths(store):
        written = pack.stat().st_mtime
        for path, content in list_packed(pack):
            try:
                source = pa.BufferReader(content)
                yield _entry(path, source, len(content), written, pack)
            except (pa.ArrowException, OSError, ValueError):
                continue


def _entry(
    path: Path,
    source: Path | pa.BufferReader,
    num_bytes: int,
    written: float,
    pack: Path | None = None,
) -> Entry:
    footer = pq.read_metadata(source)
    key = json.loads((footer.metadata or {}).get(b"key", b"{}"))
    age = (time.time() - written) / 86_400
    return Entry(path, key, footer.num_rows, num_bytes, age, pack)

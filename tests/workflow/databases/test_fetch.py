"""Databases are got from a server on this machine that behaves as real ones do."""

import base64
import contextlib
import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard

from af3_core.job import InputError
from tests.workflow.searching.search_examples import DATABASES
from workflow import download
from workflow.databases.fetch import Transfer, fetch_databases, find_need
from workflow.databases.files import make_database
from workflow.databases.template_store import PackedStructures, pack_structures

PUBLISHED = {
    "uniref90_2022_05.fa": DATABASES["uniref90"].path,
    "rfam_14_9_clust.fasta": DATABASES["rfam"].path,
}
TAR = "pdb_mmcif_files.tar"


@dataclass
class Server:
    """A folder of compressed files, and what goes wrong with the next replies."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    """Replies end after so many bytes, one after the other."""
    tells_md5: bool = True
    md5_of: dict[str, bytes] = field(default_factory=dict)
    """Where the checksum is another file's."""
    ranges: list[str] = field(default_factory=list)
    """What was asked for."""


def _compressed(path: Path) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(path.read_bytes())


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(DATABASES["pdb_mmcif"].path.iterdir()):
            archive.add(path, f"mmcif_files/{path.name}")
    return zstandard.compress(buffer.getvalue())


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server(files={f"{n}.zst": _compressed(p) for n, p in PUBLISHED.items()})
    state.files[f"{TAR}.zst"] = _tar()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._reply(b"", whole=True)

        def do_GET(self) -> None:
            self._reply(state.files.get(self.path.strip("/"), b""), whole=False)

        def _reply(self, content: bytes, *, whole: bool) -> None:
            name = self.path.strip("/")
            if name not in state.files:
                self.send_error(404)
                return
            data = state.files[name]
            asked = self.headers.get("Range", "")
            tag = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
            start = int(asked.removeprefix("bytes=").strip("-")) if asked else 0
            is_same = self.headers.get("If-Range", tag) == tag
            start = start if is_same else 0
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.send_header("ETag", tag)
            if state.tells_md5:
                md5 = hashlib.md5(state.md5_of.get(name, data)).digest()
                checksum = base64.b64encode(md5).decode()
                self.send_header("x-goog-hash", f"crc32c=AAAAAA==, md5={checksum}")
            self.end_headers()
            if whole:
                return
            state.ranges.append(asked)
            end = start + state.cut_after.pop(0) if state.cut_after else len(data)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(data[start:end])

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        state.address = f"http://127.0.0.1:{httpd.server_port}"
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield state
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PIECE", 1000)
    monkeypatch.setattr(download, "TRIES", 3)


def get(folder: Path, server: Server, *files: str, tar: str | None = None) -> None:
    fetch_databases(folder, server.address, files=files, structures=tar, seconds=0.01)


def test_what_is_loaded_is_counted_as_if_it_were_read_from_disk(
    tmp_path: Path, server: Server
) -> None:
    found = fetch_databases(
        tmp_path, server.address, files=[*PUBLISHED], structures=None, seconds=0.01
    )
    for database, (name, path) in zip(found, PUBLISHED.items(), strict=True):
        loaded = tmp_path / name
        assert loaded.read_bytes() == path.read_bytes()
        again = make_database(database.name, database.role, [loaded], url=database.url)
        assert database == again
    assert [d.name for d in found] == ["uniref90", "rfam"]


def test_structures_are_packed_as_they_come(tmp_path: Path, server: Server) -> None:
    get(tmp_path, server, tar=TAR)
    packed = PackedStructures(tmp_path / "pdb_mmcif_files.templates")
    folder = pack_structures(DATABASES["pdb_mmcif"].path, tmp_path / "other")
    assert packed.digest() == folder.digest()


def test_a_broken_connection_is_taken_up_where_it_broke(
    tmp_path: Path, server: Server
) -> None:
    server.cut_after = [1500, 2700]
    get(tmp_path, server, "uniref90_2022_05.fa")
    assert server.ranges == ["", "bytes=1000-", "bytes=3000-"]
    assert not list(tmp_path.glob("*.part*"))


def test_a_run_goes_on_with_the_part_an_earlier_one_left(
    tmp_path: Path, server: Server
) -> None:
    server.cut_after = [1500, 0, 0, 0, 0]
    with pytest.raises(InputError, match="a file to load"):
        get(tmp_path, server, "uniref90_2022_05.fa")
    assert not (tmp_path / "uniref90_2022_05.fa").exists()
    server.ranges.clear()
    server.cut_after = []
    get(tmp_path, server, "uniref90_2022_05.fa")
    assert server.ranges == ["bytes=1000-"]


def test_a_part_of_another_version_is_not_gone_on_with(
    tmp_path: Path, server: Server
) -> None:
    server.cut_after = [1500, 0, 0, 0, 0]
    with pytest.raises(InputError):
        get(tmp_path, server, "uniref90_2022_05.fa")
    newer = PUBLISHED["rfam_14_9_clust.fasta"]
    server.files["uniref90_2022_05.fa.zst"] = _compressed(newer)
    server.cut_after = []
    get(tmp_path, server, "uniref90_2022_05.fa")
    loaded = tmp_path / "uniref90_2022_05.fa"
    assert loaded.read_bytes() == newer.read_bytes()


@pytest.mark.parametrize("name", ["uniref90_2022_05.fa", TAR])
def test_wrong_bytes_are_refused_and_leave_nothing(
    tmp_path: Path, server: Server, name: str
) -> None:
    server.md5_of[f"{name}.zst"] = b"another file"
    files, tar = ((), name) if name == TAR else ((name,), None)
    with pytest.raises(InputError, match="MD5"):
        get(tmp_path, server, *files, tar=tar)
    assert not list(tmp_path.iterdir())


def test_a_damaged_stream_is_refused_without_a_checksum_too(
    tmp_path: Path, server: Server
) -> None:
    server.tells_md5 = False
    name = "uniref90_2022_05.fa.zst"
    data = bytearray(server.files[name])
    data[len(data) // 2] ^= 1
    server.files[name] = bytes(data)
    with pytest.raises(InputError, match="a zstd file"):
        get(tmp_path, server, "uniref90_2022_05.fa")
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_loaded_again(tmp_path: Path, server: Server) -> None:
    first = fetch_databases(
        tmp_path, server.address, files=[*PUBLISHED], structures=TAR, seconds=0.01
    )
    server.ranges.clear()
    again = fetch_databases(
        tmp_path, server.address, files=[*PUBLISHED], structures=TAR, seconds=0.01
    )
    assert again == first
    assert not server.ranges


def test_a_file_changed_since_is_counted_anew(tmp_path: Path, server: Server) -> None:
    get(tmp_path, server, "uniref90_2022_05.fa")
    loaded = tmp_path / "uniref90_2022_05.fa"
    loaded.write_bytes(loaded.read_bytes()[:-20])
    server.ranges.clear()
    get(tmp_path, server, "uniref90_2022_05.fa")
    assert server.ranges == [""]


def test_the_need_is_said_before_anything_is_loaded(
    tmp_path: Path, server: Server
) -> None:
    need = find_need(tmp_path, server.address, [*PUBLISHED])
    size = sum(len(server.files[f"{name}.zst"]) for name in PUBLISHED)
    assert need.loaded_bytes == size
    assert need.disk_bytes == round(size * 3.5)
    assert not server.ranges


def test_an_address_without_the_file_is_named(tmp_path: Path, server: Server) -> None:
    with pytest.raises(InputError, match=r"uniprot_all\.fasta\.zst.*404"):
        get(tmp_path, server, "uniprot_all.fasta")


def test_progress_ends_with_all_that_was_loaded(tmp_path: Path, server: Server) -> None:
    seen: list[Transfer] = []

    def watch(transfers: list[Transfer]) -> None:
        seen[:] = transfers

    fetch_databases(
        *(tmp_path, server.address),
        files=[*PUBLISHED],
        structures=None,
        watch=watch,
        seconds=0.01,
    )
    assert all(transfer.is_ready for transfer in seen)
    assert [t.loaded for t in seen] == [
        len(server.files[f"{t.name}.zst"]) for t in seen
    ]

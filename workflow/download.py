"""Files from the network: loaded with resume, checked, and read while they come."""

import base64
import hashlib
import io
import threading
from collections.abc import Buffer, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

from af3_core.job import InputError

PIECE = 1 << 20
"""Bytes that are taken from a connection at a time."""
TRIES = 8
"""Broken connections in a row, without one byte gained, before a file is given up."""
_PATIENCE = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""


def remote_size(url: str) -> int:
    """Bytes of a file, as its server says.

    Raises:
        InputError: there is no such file, or no answer.
    """
    try:
        reply = requests.head(url, timeout=_PATIENCE, allow_redirects=True)
        reply.raise_for_status()
    except requests.RequestException as error:
        raise InputError(url, "address", _reason(error), "a file to load") from error
    return int(reply.headers.get("Content-Length", 0))


class Download:
    """One file on its way into `path`.

    What was loaded before a connection broke, or a process ended, is kept, and gone on
    with if the server still has the same file.
    """

    def __init__(
        self,
        url: str,
        path: Path,
        *,
        sha256: str = "",
        report: Callable[[int, int], None] = lambda loaded, total: None,
        stop: threading.Event | None = None,
    ) -> None:
        """`sha256` is what the file must have, in hexadecimal, if anybody knows.

        `report` is told of bytes loaded and of all bytes, 0 if the server does not
        say; `stop` is set where loading has to end.
        """
        self.url, self.path, self.sha256 = url, path, sha256.lower()
        self._report, self._stop = report, stop or threading.Event()
        self._size: int | None = None  # until the server has said it
        self._md5 = ""  # base64, if the server tells
        self._start_sums()
        self._has_more = threading.Condition()
        self._loaded = self._num_read = 0  # bytes, guarded by the condition
        self._error: InputError | OSError | None = None
        self._is_over = self._is_left = False

    @property
    def _tag(self) -> Path:
        """Says which version of the file the part is of."""
        return self.path.with_suffix(".tag")

    def load(self) -> None:
        """Loads what is missing, however often the connection breaks on the way.

        Raises:
            InputError: there is no such file, or nothing more comes.
            OSError: the file cannot be written.
        """
        failures = 0
        while self._is_wanted and (self._size is None or self._have() < self._size):
            before = self._have()
            try:
                self._receive(before)
            except requests.RequestException as error:
                failures = 0 if self._have() > before else failures + 1
                if failures >= TRIES or not _may_pass(error):
                    allowed = "a file to load; the same command goes on from here"
                    raise InputError(
                        self.url, "address", _reason(error), allowed
                    ) from error
                self._stop.wait(min(30.0, 0.1 * 2**failures))

    @contextmanager
    def follow(self) -> Iterator[io.BufferedReader]:
        """The file's bytes, while a second thread loads them.

        Reading raises InputError and OSError as `load` does, and InterruptedError where
        it was stopped.
        """
        loader = threading.Thread(target=self._load_for_reader)
        loader.start()
        try:
            yield io.BufferedReader(_Follower(self._read), PIECE)
        finally:
            self._is_left = True
            loader.join()

    def check(self) -> None:
        """Compares the file with what is known of it.

        Raises:
            InputError: size or a checksum differ; the part is removed.
        """
        found = {"size": str(self._have()), "MD5": "", "SHA-256": ""}
        for name, value in self._sums.items():
            is_md5 = name == "MD5"
            digest = value.digest()
            found[name] = base64.b64encode(digest).decode() if is_md5 else digest.hex()
        wanted = {"size": str(self._size), "MD5": self._md5, "SHA-256": self.sha256}
        for name, value in wanted.items():
            if value not in ("", found[name]):
                self.forget()
                raise InputError(self.url, name, found[name], value)

    def forget(self) -> None:
        """Removes the part: its use is over, or it has none."""
        self.path.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)
        self._size = None

    @property
    def _is_wanted(self) -> bool:
        return not (self._is_left or self._stop.is_set())

    def _have(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _known(self) -> tuple[str, str]:
        """Version and MD5 of the file that the part is of; empty if nobody knows."""
        if not self._tag.is_file():
            return "", ""
        version, _, md5 = self._tag.read_text("utf-8").partition("\n")
        return version, md5

    def _receive(self, start: int) -> None:
        """Appends what the server sends from a position on."""
        headers = {"Accept-Encoding": "identity"}
        version, md5 = self._known()
        if start and version:
            self._sum_up(start)
            headers |= {"Range": f"bytes={start}-", "If-Range": version}
        with requests.get(
            self.url, headers=headers, stream=True, timeout=_PATIENCE
        ) as got:
            beyond = requests.codes.requested_range_not_satisfiable
            if "Range" in headers and got.status_code == beyond:
                if got.headers.get("Content-Range", "").rpartition("/")[2] == str(
                    start
                ):
                    self._size, self._md5 = start, md5  # nothing is missing
                    self._note(start)
                else:
                    self.forget()
                return
            got.raise_for_status()
            if got.status_code != requests.codes.partial_content:
                self._begin_again()
                start = 0
            self._md5 = _md5_of(got.headers)
            self._tag.write_text(f"{_version_of(got.headers)}\n{self._md5}", "utf-8")
            length = got.headers.get("Content-Length")
            total = start + int(length or 0)
            self._size = None if length is None else total
            self._note(start)
            with self.path.open("ab") as file:
                for piece in got.iter_content(PIECE):
                    file.write(piece)
                    file.flush()
                    self._sum(piece)
                    self._note(file.tell())
                    self._report(file.tell(), total)
                    if not self._is_wanted:
                        return
        self._size = self._have() if length is None else total
        if not self._size:
            raise InputError(self.url, "size", "0 bytes", "a file with something in it")

    def _begin_again(self) -> None:
        """Empties the part: another version, or a server that knows no ranges."""
        with self._has_more:
            if self._num_read:
                allowed = "the rest of the file that was begun; start again"
                self.forget()
                raise InputError(
                    self.url, "content", "a file from its beginning", allowed
                )
            self._loaded = 0
            self.path.write_bytes(b"")
        self._start_sums()

    def _start_sums(self) -> None:
        self._sums = {"MD5": hashlib.md5(usedforsecurity=False)}
        if self.sha256:
            self._sums["SHA-256"] = hashlib.sha256()
        self._num_summed = 0

    def _sum(self, piece: bytes) -> None:
        for one in self._sums.values():
            one.update(piece)
        self._num_summed += len(piece)

    def _sum_up(self, count: int) -> None:
        """Sums what an earlier process has loaded."""
        with self.path.open("rb") as file:
            file.seek(self._num_summed)
            while self._num_summed < count and (piece := file.read(PIECE)):
                self._sum(piece)

    def _note(self, loaded: int) -> None:
        """Lets the reader have so many bytes."""
        with self._has_more:
            self._loaded = loaded
            self._has_more.notify_all()

    def _load_for_reader(self) -> None:
        try:
            self.load()
        except (InputError, OSError) as error:
            self._error = error
        finally:
            with self._has_more:
                self._is_over = True
                self._has_more.notify_all()

    def _read(self, position: int, buffer: memoryview) -> int:
        """Reads what stands at a position; waits until it is there. 0: the end."""
        with self._has_more:
            while self._loaded <= position and not self._is_over:
                self._has_more.wait(1.0)
            if self._error is not None:
                raise self._error
            if self._stop.is_set():
                raise InterruptedError(f"{self.url}: stopped")
            if self._loaded <= position:
                return 0
            with self.path.open("rb") as file:
                file.seek(position)
                count = file.readinto(buffer[: self._loaded - position])
            self._num_read += count
        return count


class _Follower(io.RawIOBase):
    """Reads a file that grows while it is read."""

    def __init__(self, read: Callable[[int, memoryview], int]) -> None:
        super().__init__()
        self._read, self._position = read, 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fills the buffer from the next bytes; 0 at the end."""
        count = self._read(self._position, memoryview(buffer))
        self._position += count
        return count


def _may_pass(error: requests.RequestException) -> bool:
    """Whether trying again may help: not where the server has said no."""
    return error.response is None or error.response.status_code >= 500


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    return f"{type(error).__name__}: no connection, or it broke"


def _version_of(headers: Mapping[str, str]) -> str:
    """What `If-Range` takes to mean this version; empty where the server has none."""
    tag = headers.get("ETag", "")
    return headers.get("Last-Modified", "") if tag[:2] in ("", "W/") else tag


def _md5_of(headers: Mapping[str, str]) -> str:
    """Base64, as Google's storage states it; empty where it is not."""
    parts = (p.strip() for p in headers.get("x-goog-hash", "").split(","))
    return next((p.removeprefix("md5=") for p in parts if p.startswith("md5=")), "")

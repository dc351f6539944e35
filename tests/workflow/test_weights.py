import base64
import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from af3_core.job import InputError
from af3_core.model.checkpoint import write_random_checkpoint
from af3_core.model.config import ModelConfig
from tests.af3_core.model.state_dicts import write_torch
from tests.af3_core.model.test_imports import SMALL, tensors
from tests.af3_core.model.tiny import TINY
from workflow import download, weights
from workflow.cli import main
from workflow.weights import VENDORS, Wish, describe_weights, fetch_weights


@dataclass
class Site:
    """A server on this machine with one file, and its moods."""

    content: bytes
    breaks_after: int = 0
    """Bytes after which the next answer ends too soon."""
    knows_ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site(b"")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            found.asked.append(wanted)
            if "missing" in self.path:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
            is_same = self.headers.get("If-Range", "") in ("", '"v1"')
            if not (wanted and found.knows_ranges and is_same):
                start = 0
            body = found.content[start:]
            if start and not body:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{start}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"v1"')
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if found.breaks_after:
                body, found.breaks_after = body[: found.breaks_after], 0
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.address = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def small_networks(monkeypatch) -> None:
    """Files of the tiny network stand for the published ones, which have gigabytes."""
    monkeypatch.setattr(weights, "ModelConfig", lambda: TINY)
    real = weights.import_openfold3
    monkeypatch.setattr(
        weights, "import_openfold3", lambda source, target: real(source, target, SMALL)
    )


def openfold3_file(folder: Path) -> bytes:
    write_torch(folder / "of3.pt", tensors())
    return (folder / "of3.pt").read_bytes()


def wish(site: Site, folder: Path, **changed: Any) -> Wish:
    known = Wish(VENDORS["openfold3"], folder / "models", f"{site.address}/of3.pt")
    return replace(known, **changed)


def refusal(wanted: Wish, *, accepted: bool = True) -> str:
    with pytest.raises(InputError) as caught:
        fetch_weights(wanted, lambda _: accepted)
    assert not list(wanted.folder.glob("*.bin*"))
    return str(caught.value)


def test_weights_are_loaded_checked_and_imported(site, tmp_path) -> None:
    site.content, seen = openfold3_file(tmp_path), []
    path = fetch_weights(
        wish(site, tmp_path), lambda _: True, lambda *x: seen.append(x)
    )
    described = dict(describe_weights(path))
    assert described["network"] == "OpenFold3 0.5.0 (OpenBind-0)"
    assert described["licence"] == "Apache-2.0"
    assert "as when imported" in described["SHA-256 of records"]
    assert hashlib.sha256(site.content).hexdigest() in described["imported from"]
    assert seen[-1] == (len(site.content), len(site.content))
    left = sorted(p.name for p in path.parent.iterdir())
    assert left == ["openfold3.bin", "openfold3.config.json"]


def test_a_broken_connection_is_taken_up_where_it_broke(
    site, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(download, "PIECE", 250)
    site.content, site.breaks_after = openfold3_file(tmp_path), 1000
    assert fetch_weights(wish(site, tmp_path), lambda _: True).is_file()
    assert site.asked == ["", "bytes=1000-"]


def test_the_next_command_goes_on_where_the_last_one_ended(site, tmp_path) -> None:
    site.content = openfold3_file(tmp_path)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / ".of3.pt.part").write_bytes(site.content[:700])
    (folder / ".of3.pt.tag").write_text('"v1"')
    assert fetch_weights(wish(site, tmp_path), lambda _: True).is_file()
    assert site.asked == ["bytes=700-"]


def test_a_file_that_is_all_there_is_not_loaded_again(site, tmp_path) -> None:
    site.content = openfold3_file(tmp_path)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / ".of3.pt.part").write_bytes(site.content)
    (folder / ".of3.pt.tag").write_text('"v1"')
    assert fetch_weights(wish(site, tmp_path), lambda _: True).is_file()
    assert site.asked == [f"bytes={len(site.content)}-"]


def test_the_part_of_another_version_is_given_up(site, tmp_path) -> None:
    site.content = openfold3_file(tmp_path)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / ".of3.pt.part").write_bytes(b"old" * 200)
    (folder / ".of3.pt.tag").write_text('"v0"')
    assert fetch_weights(wish(site, tmp_path), lambda _: True).is_file()


def test_a_server_that_knows_no_ranges_sends_all_again(site, tmp_path) -> None:
    site.content, site.breaks_after = openfold3_file(tmp_path), 1000
    site.knows_ranges = False
    assert fetch_weights(wish(site, tmp_path), lambda _: True).is_file()


def test_terms_that_are_not_accepted_load_nothing(site, tmp_path) -> None:
    site.content = openfold3_file(tmp_path)
    message = refusal(wish(site, tmp_path), accepted=False)
    assert "terms" in message
    assert site.asked == []


@pytest.mark.parametrize("vendor", VENDORS.values(), ids=lambda v: v.name)
def test_the_terms_are_shown_and_asked_for(site, tmp_path, vendor) -> None:
    site.content, shown = openfold3_file(tmp_path), io.StringIO()
    console = Console(file=shown, width=200)
    with pytest.raises(InputError, match="not accepted"):
        weights.fetch_with_progress(
            wish(site, tmp_path, vendor=vendor), console, accepted=False
        )
    assert vendor.terms_address in shown.getvalue()


def test_other_bytes_than_the_server_promises_are_refused(site, tmp_path) -> None:
    site.content = openfold3_file(tmp_path)
    digest = base64.b64encode(hashlib.md5(b"others").digest()).decode()
    site.headers = {"x-goog-hash": f"crc32c=AAAAAA==,md5={digest}"}
    assert "MD5" in refusal(wish(site, tmp_path))
    assert not list((tmp_path / "models").iterdir())


def test_another_digest_than_asked_for_is_refused(site, tmp_path) -> None:
    site.content = openfold3_file(tmp_path)
    assert "SHA-256" in refusal(wish(site, tmp_path, sha256="0" * 64))


def test_a_file_that_ends_too_soon_for_good_is_refused(site, tmp_path) -> None:
    site.content = openfold3_file(tmp_path)[:-100]
    assert "cut short" in refusal(wish(site, tmp_path))


def test_a_page_instead_of_weights_is_refused(site, tmp_path) -> None:
    site.content = b"<html>Sign in</html>"
    assert "first bytes" in refusal(wish(site, tmp_path))
    page = wish(site, tmp_path, vendor=VENDORS["alphafold3"])
    page = replace(page, address=f"{site.address}/af3.bin")
    assert "header" in refusal(page)


def test_an_address_without_a_file_is_said_to_have_none(site, tmp_path) -> None:
    wanted = wish(site, tmp_path, address=f"{site.address}/missing.pt")
    assert "404" in refusal(wanted)
    assert len(site.asked) == 1  # asking again would not help


def test_without_a_network_the_reason_is_the_connection(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(download, "TRIES", 2)
    wanted = wish(Site(b"", address="http://127.0.0.1:9"), tmp_path)
    assert "no connection" in refusal(wanted)


def test_alphafold_3s_weights_are_kept_as_they_came(site, tmp_path) -> None:
    write_random_checkpoint(tmp_path / "af3.bin.zst", TINY, seed=1)
    site.content = (tmp_path / "af3.bin.zst").read_bytes()
    wanted = wish(site, tmp_path, vendor=VENDORS["alphafold3"])
    path = fetch_weights(
        replace(wanted, address=f"{site.address}/af3.bin.zst"), lambda _: True
    )
    assert path.read_bytes() == site.content
    assert [p.name for p in path.parent.iterdir()] == ["af3.bin.zst"]


def test_another_networks_records_are_not_alphafold_3s(site, tmp_path) -> None:
    wide = replace(TINY, single_channels=32)
    write_random_checkpoint(tmp_path / "af3.bin", wide, seed=1)
    site.content = (tmp_path / "af3.bin").read_bytes()
    wanted = wish(site, tmp_path, vendor=VENDORS["alphafold3"])
    message = refusal(replace(wanted, address=f"{site.address}/af3.bin"))
    assert "records that do not fit" in message


def test_the_command_imports_and_shows(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    openfold3_file(tmp_path)
    assert main(["weights", "import", "of3.pt", "--out", "mine"]) == 0
    assert main(["weights", "show", "mine"]) == 0
    shown = capsys.readouterr().out
    assert "models/mine.bin" in shown
    assert "Apache-2.0" in shown
    assert "residue_alphabet" in shown


def test_the_command_says_what_is_wrong_with_a_file(tmp_path, capsys) -> None:
    (tmp_path / "bad.pt").write_bytes(b"bad")
    assert main(["weights", "import", str(tmp_path / "bad.pt")]) == 2
    assert "first bytes" in capsys.readouterr().err


def test_the_published_addresses_are_the_vendors_own() -> None:
    hosts = {v.name: v.address.split("/")[2] for v in VENDORS.values()}
    assert hosts["alphafold3"] == "storage.googleapis.com"
    assert hosts["openfold3"].startswith("openfold3-data.s3")
    assert ModelConfig is not weights.ModelConfig  # in these tests only

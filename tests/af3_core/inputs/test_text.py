"""Files that are traps: too large when unpacked, never ending, or no files at all."""

import gzip
import lzma
import os

import pytest
import zstandard

from af3_core.inputs import text as job_text
from af3_core.inputs.files import read_jobs
from tests.af3_core.inputs.job_examples import ALIGNMENT, job_object, protein, refuse


def link(path: object) -> dict:
    return job_object(protein(unpairedMsaPath=str(path), pairedMsa=""))


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, lzma.compress, zstandard.compress]
)
def test_a_file_may_not_unpack_to_more_than_the_limit(
    compress, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(job_text, "MAX_TEXT_BYTES", len(ALIGNMENT) + 99)
    (tmp_path / "bomb").write_bytes(compress(ALIGNMENT.encode() + b"A" * 100))
    assert f"at most {len(ALIGNMENT) + 99}" in refuse(link("bomb"), tmp_path).allowed


def test_a_zstandard_bomb_is_given_up_long_before_its_end(tmp_path) -> None:
    frame = zstandard.ZstdCompressor().compress(b"\0" * 2**22)
    (tmp_path / "bomb").write_bytes(frame * 100_000)
    assert "NUL bytes" in refuse(link("bomb"), tmp_path).allowed


@pytest.mark.timeout(10)
def test_a_pipe_without_a_writer_does_not_hang_the_reader(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.json")
    assert "regular file" in refuse(link("pipe"), tmp_path).allowed
    _, [error] = read_jobs(tmp_path / "pipe.json")
    assert "regular file" in error.allowed


def test_a_loop_of_symbolic_links_is_refused(tmp_path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert "an existing, readable file" in refuse(link("loop"), tmp_path).allowed


def test_a_file_name_that_is_no_text_is_refused_in_plain_words(tmp_path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.json"
    with open(path, "wb") as file:
        file.write(b"{}")
    _, [error] = read_jobs(os.fsdecode(path))
    assert error.allowed == "a printable UTF-8 file name"
    assert str(error).encode("utf-8")


def test_an_input_file_that_is_too_large_is_not_even_opened(tmp_path) -> None:
    path = tmp_path / "sparse.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    _, [error] = read_jobs(path)
    assert error.value == "1,099,511,627,776 bytes"

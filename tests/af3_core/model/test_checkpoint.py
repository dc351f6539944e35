import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zstandard

from af3_core.job import InputError
from af3_core.model.checkpoint import (
    IDENTIFIER,
    Record,
    load_checkpoint,
    published_shapes,
    read_records,
    write_checkpoint,
    write_random_checkpoint,
    write_records,
)
from af3_core.model.checkpoint_files import config_path
from af3_core.model.config import ModelConfig
from af3_core.model.openfold3 import OPENFOLD3
from af3_core.model.parameters import parameter_shapes
from af3_core.model.renames import RENAMES, UNUSED
from tests.af3_core.model.tiny import TINY, random_params
from tests.parity.recipe import NUM_RECORDS, TABLE_DIGEST, table_digest


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with tiny.bin and its configuration."""
    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder / "tiny.bin", random_params(), TINY, bytes(range(64)))
    return folder


@pytest.fixture
def model(folder, tmp_path) -> Path:
    """A copy of tiny.bin that a test may spoil."""
    for name in ("tiny.bin", "tiny.config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path / "tiny.bin"


def assert_same(params, expected) -> None:
    for path, leaves in expected.items():
        for name, values in leaves.items():
            loaded = params[path][name]
            np.testing.assert_array_equal(loaded, values.astype(loaded.dtype))


def test_published_names_and_shapes_are_those_of_our_model() -> None:
    assert len(published_shapes(ModelConfig())) == NUM_RECORDS
    assert table_digest(ModelConfig()) == TABLE_DIGEST


def test_every_published_scope_is_a_module_of_ours_or_named_as_unused() -> None:
    ours = set(RENAMES.values()) - {"diffusion/noise_conditioning/fourier"}
    assert ours == set(parameter_shapes(ModelConfig()))
    assert set(RENAMES.values()) == set(parameter_shapes(OPENFOLD3))
    assert len(set(RENAMES.values())) == len(RENAMES)
    assert not set(UNUSED) & set(RENAMES)


def test_the_model_has_368_million_parameters() -> None:
    shapes = published_shapes(ModelConfig()).values()
    assert sum(np.prod(s.shape, dtype=int) for s in shapes) == 368_384_602


def test_a_written_checkpoint_is_read_again(folder) -> None:
    checkpoint = load_checkpoint(folder / "tiny.bin")
    assert_same(checkpoint.params, random_params())
    assert checkpoint.config == TINY
    assert checkpoint.identifier == bytes(range(64)).hex()


@pytest.mark.parametrize(
    "names",
    [
        ("tiny.bin",),
        ("tiny.bin.zst",),
        ("tiny.0.bin", "tiny.1.bin", "tiny.2.bin"),
        ("tiny.bin.0", "tiny.bin.1"),
        tuple(f"tiny.{i}.bin.zst" for i in range(11)),
        ("tiny.bin.zst.0", "tiny.bin.zst.1"),
    ],
    ids=lambda names: names[0],
)
def test_whole_and_split_files_hold_the_same(model, names) -> None:
    whole = load_checkpoint(model)
    data = model.read_bytes()
    if ".zst" in names[0]:
        data = zstandard.compress(data)
    model.unlink()
    cuts = np.linspace(0, len(data), len(names) + 1).astype(int)
    for name, start, end in zip(names, cuts[:-1], cuts[1:], strict=True):
        (model.parent / name).write_bytes(data[start:end])
    shared = names[0] if len(names) == 1 else names[0].replace(".0", "")
    for path in (model.parent, model.parent / names[0], model.parent / shared):
        checkpoint = load_checkpoint(path)
        assert checkpoint.digest == whole.digest
        assert checkpoint.config == TINY


def test_equal_seeds_make_equal_files(tmp_path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_random_checkpoint(tmp_path / f"{name}.bin.zst", TINY, seed)
    a, b, c = ((tmp_path / f"{n}.bin.zst").read_bytes() for n in "abc")
    assert a == b != c


def refuse(path, reason) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        load_checkpoint(path)
    assert str(path.parent) in caught.value.file


@pytest.mark.parametrize("kept", [1, 10, 30, 1000, -1])
def test_a_file_cut_short_is_refused(model, kept) -> None:
    model.write_bytes(model.read_bytes()[:kept])
    refuse(model, r"file ends after \d+ of \d+ bytes")


def test_a_compressed_file_cut_short_is_refused(model) -> None:
    data = zstandard.compress(model.read_bytes())
    path = model.with_suffix(".bin.zst")
    model.unlink()
    path.write_bytes(data[: len(data) // 2])
    refuse(path, "file ends after")


def test_a_file_cut_between_records_misses_parameters(model) -> None:
    records = list(read_records([model]))
    write_records(model, iter(records[:-2]))
    refuse(model, f"missing {records[-1].scope}:{records[-1].name}")


def test_an_empty_file_is_refused(model) -> None:
    model.write_bytes(b"")
    refuse(model, "an empty file")


def test_a_corrupt_compressed_file_is_refused(model) -> None:
    path = model.with_suffix(".bin.zst")
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(range(200)))
    model.unlink()
    refuse(path, "record 0")


@pytest.mark.parametrize(
    "content",
    [b"HDF5" * 100, b'{"weights": [1, 2, 3]}' * 10, bytes(100)],
    ids=["text", "json", "zeros"],
)
def test_a_foreign_file_is_refused(model, content) -> None:
    model.write_bytes(content)
    refuse(model, "not a record's header")


def test_a_header_that_lies_about_the_size_is_refused(model) -> None:
    data = bytearray(model.read_bytes())
    (size,) = struct.unpack("<i", data[16:20])
    data[16:20] = struct.pack("<i", size + 4)
    model.write_bytes(data)
    refuse(model, rf"has {size + 4} bytes for shape")


def replace_record(model, index, **changes) -> Record:
    records = list(read_records([model]))
    records[index] = records[index]._replace(**changes)
    write_records(model, iter(records))
    return records[index]


def test_a_parameter_of_another_shape_is_refused_with_both_names(model) -> None:
    record = replace_record(model, 1, values=np.zeros((2, 3), np.float32))
    refuse(model, rf"{record.scope}:{record.name} \(.+\) has shape \(2, 3\), not")


def test_an_unknown_parameter_is_refused(model) -> None:
    replace_record(model, 1, scope="diffuser/unheard_of")
    refuse(model, "unknown diffuser/unheard_of")


def test_a_parameter_given_twice_is_refused(model) -> None:
    records = list(read_records([model]))
    write_records(model, iter([*records, records[-1]]))
    refuse(model, "twice")


def test_another_model_is_refused(model) -> None:
    config_path(model).unlink()
    refuse(model, "and [0-9]+ more")


def test_a_configuration_that_is_none_is_refused(model) -> None:
    config_path(model).write_text(json.dumps({"num_blocks": 3}))
    with pytest.raises(InputError, match="num_blocks"):
        load_checkpoint(model)


@pytest.mark.parametrize("name", ["absent.bin.zst", "absent/af3.bin", "no_suffix"])
def test_an_absent_file_is_refused(tmp_path, name) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_checkpoint(tmp_path / name)


def test_a_missing_part_is_refused(model) -> None:
    model.rename(model.with_name("tiny.bin.1"))
    refuse(model.with_name("tiny.bin"), "parts 1")


def test_a_folder_with_two_models_is_refused(model) -> None:
    model.with_name("other.bin").write_bytes(b"")
    with pytest.raises(InputError, match="other.bin, tiny.bin"):
        load_checkpoint(model.parent)


def test_loading_keeps_one_copy_of_the_weights(tmp_path) -> None:
    values = np.zeros((4, 2**20), np.float32)
    path = tmp_path / "big.bin.zst"
    write_records(path, (Record(f"scope{i}", "weights", values) for i in range(8)))
    tracemalloc.start()
    kept = [record.values for record in read_records([path])]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < sum(x.nbytes for x in kept) + 4e6


def test_the_identifier_is_not_a_parameter() -> None:
    assert IDENTIFIER[0] not in RENAMES

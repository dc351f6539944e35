import random
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from af3_core.job import InputError
from af3_core.model.state_dict import open_state_dict
from tests.af3_core.model.state_dicts import write_torch

RECORDED = Path(__file__).parents[2] / "data" / "weights"
"""Files that PyTorch has written; see tests/oracles/record_state_dicts.py."""
QUARTERS = np.arange(12).reshape(3, 4) / 4


def read(path: Path) -> dict[str, np.ndarray]:
    with open_state_dict(path) as tensors:
        return {name: tensor.read() for name, tensor in tensors.items()}


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught, open_state_dict(path) as tensors:
        for tensor in tensors.values():
            tensor.read()
    return str(caught.value)


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
def test_pytorchs_own_files_are_read_in_their_precision(name) -> None:
    found = read(RECORDED / f"{name}.pt")
    for values in (found["whole"], found["part"], found["transposed"], found["scalar"]):
        assert values.dtype == np.dtype(
            name if name != "bfloat16" else ml_dtypes.bfloat16
        )
    np.testing.assert_array_equal(found["whole"].astype("f4"), QUARTERS)
    np.testing.assert_array_equal(found["part"].astype("f4"), QUARTERS[1])
    np.testing.assert_array_equal(
        found["transposed"].astype("f4"), np.arange(6).reshape(2, 3).T / 4
    )
    assert float(found["scalar"]) == 1.5
    assert found["count"].tolist() == [7, 8]


@pytest.mark.parametrize("name", ["module", "parameters"])
def test_ordered_dicts_and_parameters_are_read(name) -> None:
    found = read(RECORDED / f"{name}.pt")
    np.testing.assert_array_equal(found["weight"], np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(found["bias"], np.arange(3))


def test_of_a_training_checkpoint_the_average_is_read() -> None:
    found = read(RECORDED / "training.pt")
    np.testing.assert_array_equal(found["weight"], np.arange(6).reshape(3, 2) + 1)
    assert list(found) == ["weight"]


def test_what_pytorch_pickles_of_os_is_refused_by_name() -> None:
    assert "posix.system" in refusal(RECORDED / "planted.pt")


@pytest.mark.parametrize(
    "name",
    ["os system", "builtins eval", "torch load", "torch.storage _load_from_bytes"],
)
def test_any_name_that_tensors_do_not_need_is_refused(tmp_path, name) -> None:
    path = tmp_path / "planted.pt"
    write_torch(path, {"a": np.zeros(2, "f4")}, planted=name)
    assert name.replace(" ", ".") in refusal(path)


def test_nothing_is_called_that_is_allowed_as_a_number_type(tmp_path) -> None:
    path = tmp_path / "planted.pt"
    write_torch(path, {"a": np.zeros(2, "f4")}, planted="builtins int")
    assert "planted" in refusal(path)  # not a tensor


def test_files_before_the_zip_format_are_refused() -> None:
    assert "PyTorch 1.6 or newer" in refusal(RECORDED / "legacy.pt")


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.99])
def test_a_truncated_file_is_said_to_be_cut_short(tmp_path, kept) -> None:
    whole = (RECORDED / "float32.pt").read_bytes()
    path = tmp_path / "short.pt"
    path.write_bytes(whole[: int(kept * len(whole))])
    assert "cut short" in refusal(path)


def test_changed_bytes_of_a_tensor_are_noticed(tmp_path) -> None:
    whole = bytearray((RECORDED / "float32.pt").read_bytes())
    at = whole.index(np.float32(2.25).tobytes())
    whole[at] ^= 1
    path = tmp_path / "changed.pt"
    path.write_bytes(whole)
    assert "corrupt" in refusal(path)


def test_a_file_with_changed_bytes_is_read_or_refused_never_more(tmp_path) -> None:
    rng, path = random.Random(1), tmp_path / "changed.pt"
    wholes = [(RECORDED / f"{n}.pt").read_bytes() for n in ("float32", "training")]
    refused = 0
    for _ in range(300):
        changed = bytearray(rng.choice(wholes))
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        path.write_bytes(changed)
        try:
            read(path)
        except InputError:
            refused += 1
    assert refused > 100


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path) -> None:
    path, small = tmp_path / "small.pt", tmp_path / "large.pt"
    write_torch(path, {"a": np.zeros((4, 4), "f4")})
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(small, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data[:8] if name.endswith("/0") else data)
    assert "storage 0 with 8 of 64 bytes" in refusal(small)


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x1f\x8b\x08" * 9])
def test_other_files_are_refused_by_their_first_bytes(tmp_path, content) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    assert "first bytes" in refusal(path)


def test_an_archive_without_tensors_is_refused(tmp_path) -> None:
    path = tmp_path / "photos.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.jpg", b"...")
    assert "0 descriptions of tensors" in refusal(path)


def test_safetensors_are_read_in_three_precisions(tmp_path) -> None:
    path = tmp_path / "weights.safetensors"
    kinds = {"a": "f4", "b": "f2", "c": ml_dtypes.bfloat16}
    save_file({n: QUARTERS.astype(kind) for n, kind in kinds.items()}, path)
    for name, values in read(path).items():
        assert values.dtype == np.dtype(kinds[name])
        np.testing.assert_array_equal(values.astype("f8"), QUARTERS)
    short = tmp_path / "short.safetensors"
    short.write_bytes(path.read_bytes()[:-4])
    assert "header" in refusal(short)

import functools
import json
from dataclasses import replace
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from af3_core.job import InputError
from af3_core.model.checkpoint import load_checkpoint
from af3_core.model.checkpoint_files import config_path, read_card
from af3_core.model.imports import import_openfold3
from af3_core.model.openfold3 import (
    CONVENTIONS,
    OPENFOLD3,
    TWIN,
    TWIN_MODULE,
    plan,
)
from tests.af3_core.model.state_dicts import write_torch
from tests.af3_core.model.tiny import TINY

SMALL = replace(TINY, msa=replace(TINY.msa, num_blocks=2), conventions=CONVENTIONS)


@functools.cache
def tensors() -> dict[str, np.ndarray]:
    """A state dict of the tiny network, without what stands in it twice."""
    generator = np.random.default_rng(0)
    named = {
        name: generator.standard_normal(shape).astype("f4")
        for recipe in plan(SMALL).values()
        for name, shape in recipe.tensors.items()
    }
    return named | {"version_tensor": np.array([2, 0, 0], "f4")}


def with_twins() -> dict[str, np.ndarray]:
    twins = {TWIN + n: x for n, x in tensors().items()}
    twins = {n: x for n, x in twins.items() if n.startswith(TWIN_MODULE)}
    return tensors() | twins


def imported(folder: Path, state: dict[str, np.ndarray], name: str = "x.pt") -> Path:
    source, target = folder / name, folder / "small.bin"
    write_torch(source, state)
    import_openfold3(source, target, SMALL)
    return target


def refusal(folder: Path, state: dict[str, np.ndarray]) -> str:
    with pytest.raises(InputError) as caught:
        imported(folder, state)
    assert not list(folder.glob("*.bin"))
    return str(caught.value)


def test_the_published_network_has_the_tensors_of_the_release() -> None:
    shapes = {n: s for r in plan(OPENFOLD3).values() for n, s in r.tensors.items()}
    assert len(shapes) == 4149  # and the version
    assert sum(map(np.prod, shapes.values())) == 368_293_788 + 512  # Fourier buffers
    assert shapes["aux_heads.plddt.linear.weight"] == (1150, 384)


def test_every_parameter_is_filled_and_every_value_used_once(tmp_path) -> None:
    params = load_checkpoint(imported(tmp_path, tensors())).params
    ours = np.concatenate([np.ravel(x) for x in jax.tree.leaves(params)])
    theirs = np.concatenate(
        [x.ravel() for n, x in tensors().items() if n != "version_tensor"]
    )
    # What is added is zero: rows of absent elements, the last slot, the last update.
    np.testing.assert_array_equal(np.sort(ours[ours != 0]), np.sort(theirs))


def test_a_module_stored_twice_or_shared_gives_the_same_weights(tmp_path) -> None:
    digests = set()
    shared = with_twins()
    cloned = {name: np.array(x) for name, x in shared.items()}
    for i, state in enumerate((tensors(), shared, cloned)):
        folder = tmp_path / str(i)
        folder.mkdir()
        path = imported(folder, state)
        identical = load_checkpoint(path)
        digests.add(
            str([np.asarray(x).tobytes() for x in jax.tree.leaves(identical.params)])
        )
    assert len(digests) == 1


def test_names_with_the_prefix_of_training_are_known(tmp_path) -> None:
    state = {f"model.{name}": x for name, x in tensors().items()}
    assert load_checkpoint(imported(tmp_path, state)).origin == "openfold3"


def test_what_they_are_stands_beside_the_weights(tmp_path) -> None:
    target = imported(tmp_path, tensors(), "of3.pt")
    card = read_card(target)
    assert card.config == SMALL
    assert card.release is not None
    assert card.release.licence == "Apache-2.0"
    assert card.release.source == "of3.pt"
    assert len(card.release.source_sha256) == 64
    checkpoint = load_checkpoint(target)
    assert (checkpoint.origin, checkpoint.digest) == ("openfold3", card.digest)


def test_weights_that_are_not_those_imported_are_refused(tmp_path) -> None:
    target = imported(tmp_path, tensors())
    card = json.loads(config_path(target).read_text("utf-8"))
    card["weights"]["digest"] = "0" * 64
    config_path(target).write_text(json.dumps(card), "utf-8")
    with pytest.raises(InputError, match="as when they were imported"):
        load_checkpoint(target)


def test_a_missing_tensor_is_named(tmp_path) -> None:
    state = dict(tensors())
    del state["linear_z.weight"]
    assert "missing linear_z.weight" in refusal(tmp_path, state)


def test_an_extra_tensor_is_named(tmp_path) -> None:
    state = tensors() | {"adapter.weight": np.zeros(3, "f4")}
    assert "unknown adapter.weight" in refusal(tmp_path, state)


def test_a_tensor_of_another_shape_is_named(tmp_path) -> None:
    state = tensors() | {"linear_z.weight": np.zeros((3, 5), "f4")}
    assert "linear_z.weight has shape (3, 5)" in refusal(tmp_path, state)


def test_half_of_a_repetition_or_another_one_is_refused(tmp_path) -> None:
    state = with_twins()
    name = f"{TWIN}diffusion_module.layer_norm_s.weight"
    changed = state | {name: state[name] + 1}
    assert "it is the same module" in refusal(tmp_path, changed)
    del state[name]
    assert f"missing {name}" in refusal(tmp_path, state)


@pytest.mark.parametrize("version", [None, (1, 0, 0), (2, 0, 1)])
def test_older_weights_are_refused_with_the_reason(tmp_path, version) -> None:
    state = dict(tensors())
    del state["version_tensor"]
    if version is not None:
        state["version_tensor"] = np.array(version, "f4")
    message = refusal(tmp_path, state)
    assert "version_tensor" in message
    assert "preview" in message


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_keeps_its_values(tmp_path, dtype) -> None:
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    state = {name: x.astype(kind) for name, x in tensors().items()}
    params = load_checkpoint(imported(tmp_path, state)).params
    found = np.asarray(params["recycle_pair"]["weights"]).astype("f4")
    np.testing.assert_array_equal(found, state["linear_z.weight"].T.astype("f4"))


def test_safetensors_give_the_same_weights(tmp_path) -> None:
    source = tmp_path / "weights.safetensors"
    save_file(dict(tensors()), source)
    import_openfold3(source, tmp_path / "safe.bin", SMALL)
    one = load_checkpoint(tmp_path / "safe.bin").params
    two = load_checkpoint(imported(tmp_path, tensors())).params
    assert jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), one, two))


def test_weights_for_bfloat16_are_rounded_once(tmp_path) -> None:
    target = imported(tmp_path, tensors())
    whole, rounded = load_checkpoint(target), load_checkpoint(target, dtype="bfloat16")
    weights = rounded.params["recycle_pair"]["weights"]
    assert weights.dtype == np.dtype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(
        weights, whole.params["recycle_pair"]["weights"].astype(ml_dtypes.bfloat16)
    )
    # Layer norms, diffusion and heads stay what they are.
    for path in ("recycle_pair_norm", "diffusion/single_norm", "confidence/pae"):
        for values in rounded.params[path].values():
            assert values.dtype == np.float32

import functools
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from af3_core.model.batch import Batch, spare_windows
from af3_core.model.config import Runtime
from af3_core.model.model import (
    Prediction,
    compile_predict,
    compile_predict_group,
    embed,
    relative_change,
    split_keys,
)
from af3_core.model.parameters import init_parameters, parameter_shapes
from kernels import Device, backends_used, lowering_for, record_choices
from kernels.devices import host_vectors
from tests.af3_core.model.tiny import FLOAT32, TINY, random_params, small_batch

KEY = jax.random.PRNGKey(1)
# What AlphaFold 3's default buckets would draw for every job of up to 128 tokens.
DRAWN_TOKENS = jnp.int32(128)
BASE = replace(FLOAT32, return_embeddings=True, return_distogram=True)
OTHERWISE = Runtime(
    dtype="float32",
    attention_backend="xla",
    pair_chunk=7 * 32,
    cached_bias_tokens=0,
    grouped_bias_tokens=0,
    one_sample_at_a_time=True,
)
ROUGH = replace(BASE, dtype="bfloat16")


@functools.cache
def compiled(runtime) -> Callable[..., Prediction]:
    return compile_predict(TINY, runtime)


@functools.cache
def predicted(runtime=BASE, num_tokens=32, msa_rows=8) -> Prediction:
    batch = small_batch(num_tokens, msa_rows)
    return compiled(runtime)(random_params(), batch, KEY, DRAWN_TOKENS)


def real_positions(prediction) -> np.ndarray:
    return np.asarray(prediction.positions)[np.asarray(prediction.mask)]


def test_every_output_is_finite_and_in_range() -> None:
    prediction = predicted()
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(prediction))
    confidence = prediction.confidence
    for values, top in (
        (confidence.predicted_lddt, 100.0),
        (confidence.predicted_experimentally_resolved, 1.0),
        (confidence.full_pae, 32.0),
        (confidence.full_pde, 32.0),
        (confidence.tmscore_adjusted_pae_interface, 1.0),
        (prediction.distogram.contact_probs, 1.0),
    ):
        assert 0.0 <= values.min() and values.max() <= top


def test_samples_differ_and_one_mask_serves_all() -> None:
    prediction = predicted()
    assert prediction.positions.shape == (2, 32, 24, 3)
    assert np.abs(prediction.positions[0] - prediction.positions[1]).max() > 1.0
    np.testing.assert_array_equal(prediction.mask[0], small_batch().predicted_atom_mask)


@pytest.mark.parametrize(("num_tokens", "msa_rows"), [(40, 8), (64, 16)])
def test_padding_does_not_move_an_atom(num_tokens, msa_rows) -> None:
    ours = real_positions(predicted(num_tokens=num_tokens, msa_rows=msa_rows))
    np.testing.assert_allclose(ours, real_positions(predicted()), atol=1e-3)


def test_padding_does_not_change_confidence() -> None:
    n = 31
    small, large = (
        predicted(num_tokens=k).confidence.full_pae[:, :n, :n] for k in (32, 40)
    )
    np.testing.assert_allclose(small, large, atol=1e-3)


def test_computing_it_otherwise_does_not_change_the_structure() -> None:
    np.testing.assert_allclose(
        real_positions(predicted(OTHERWISE)), real_positions(predicted()), atol=1e-3
    )


def test_kernels_for_processors_compute_the_same_structure() -> None:
    """Of a network whose layers are as wide as vectors are long."""
    config = replace(
        TINY,
        single_channels=32,
        pair_channels=32,
        atom_channels=32,
        templates=replace(TINY.templates, num_channels=32),
        msa=replace(TINY.msa, num_channels=32, transition_factor=4),
        diffusion=replace(
            TINY.diffusion,
            transformer=replace(TINY.diffusion.transformer, num_channels=32),
        ),
    )
    runtime = replace(BASE, attention_backend="auto")

    def predicted_on(device: Device) -> np.ndarray:
        with lowering_for(device), record_choices() as choices:
            run = compile_predict(config, runtime)
            prediction = run(random_params(config), small_batch(), KEY, DRAWN_TOKENS)
        used.append(backends_used(choices))
        return real_positions(prediction)

    if host_vectors() is None:
        pytest.skip("has neither AVX2 nor AVX-512")
    used: list[dict[str, list[str]]] = []
    ours = predicted_on(Device("cpu", vectors=host_vectors()))
    np.testing.assert_allclose(ours, predicted_on(Device("cpu")), atol=1e-3)
    assert all("cpu" in names for names in used[0].values()), used[0]
    assert all(names == ["xla"] for names in used[1].values())


def test_windows_without_atoms_change_nothing() -> None:
    batch = small_batch()
    spared = spare_windows(batch)
    assert len(spared.windows.queries_to_keys.index) == 9
    assert len(batch.windows.queries_to_keys.index) == 24
    ours = compiled(BASE)(random_params(), spared, KEY, DRAWN_TOKENS)
    np.testing.assert_allclose(
        real_positions(ours), real_positions(predicted()), atol=1e-3
    )


def test_embeddings_and_distogram_come_on_request_only() -> None:
    assert predicted().embeddings.pair.shape == (32, 32, 8)
    assert predicted().distogram.logits.shape == (32, 32, 64)
    assert predicted(OTHERWISE).embeddings is None
    assert predicted(OTHERWISE).distogram.logits is None


def test_bfloat16_stays_near_float32() -> None:
    assert predicted(ROUGH).positions.dtype == jnp.float32
    deviation = real_positions(predicted(ROUGH)) - real_positions(predicted())
    assert 0 < np.sqrt(np.square(deviation).mean()) < 0.5


def test_a_bucket_is_compiled_once() -> None:
    for seed in (1, 2):
        key, drawn_tokens = jax.random.PRNGKey(seed), jnp.int32(64 * seed)
        compiled(ROUGH)(random_params(), small_batch(), key, drawn_tokens)
    assert compiled(ROUGH)._cache_size() == 1


def test_compiled_and_interpreted_keys_agree() -> None:
    keys = split_keys(KEY, TINY, num_templates=4)
    compiled = jax.jit(lambda key: split_keys(key, TINY, num_templates=4))(KEY)
    np.testing.assert_array_equal(jnp.stack(keys), jnp.stack(compiled))


def test_the_shapes_of_parameters_are_those_of_what_training_starts_with() -> None:
    made = jax.eval_shape(
        functools.partial(init_parameters, config=TINY), jax.random.PRNGKey(0)
    )
    shapes = parameter_shapes(TINY)
    assert jax.tree.structure(shapes) == jax.tree.structure(made)
    same = jax.tree.map(
        lambda x, y: (x.shape, x.dtype) == (y.shape, y.dtype), shapes, made
    )
    assert all(jax.tree.leaves(same))


def test_the_samplers_key_depends_on_recycles_but_the_trunks_does_not() -> None:
    trunk, sampler = split_keys(KEY, TINY, num_templates=4)
    other = split_keys(KEY, replace(TINY, num_recycles=2), num_templates=4)
    np.testing.assert_array_equal(trunk, other[0])
    assert (sampler != other[1]).any()


def recycled(batch, **changed) -> tuple[jax.Array, int]:
    """The pair representation after recycling, and how often that was."""
    config = replace(TINY, **changed)
    run = jax.jit(functools.partial(embed, config=config, runtime=FLOAT32))
    embeddings, num_recycles = run(random_params(), batch, KEY)
    return embeddings.pair, int(num_recycles)


def change_by_recycling(batch) -> float:
    (first, _), (second, _) = (recycled(batch, num_recycles=n) for n in (0, 1))
    return float(relative_change(first, second, jnp.asarray(batch.tokens.mask)))


def test_recycling_stops_when_a_pass_changes_less_than_is_tolerated() -> None:
    batch = small_batch()
    change = change_by_recycling(batch)
    assert 0 < change < 1
    stopped, number = recycled(batch, num_recycles=4, recycle_tolerance=1.01 * change)
    assert number == 1
    twice, _ = recycled(batch, num_recycles=1)
    np.testing.assert_allclose(stopped, twice, rtol=1e-5, atol=1e-6)
    full, number = recycled(batch, num_recycles=4, recycle_tolerance=1e-12)
    assert number == 4
    often, _ = recycled(batch, num_recycles=4)
    np.testing.assert_allclose(full, often, rtol=1e-5, atol=1e-6)


def test_what_is_not_real_does_not_count_as_change() -> None:
    before, mask = jnp.ones((3, 3, 2)), jnp.array([True, True, False])
    now = before.at[2].set(9).at[:, 2].set(9).at[0, 1].set(3)
    # One of four pairs changed by 2; it was 1, 1, 1 and is 3.
    assert relative_change(before, now, mask) == pytest.approx((4 / 12) ** 0.5)


def with_templates(batch, seed) -> Batch:
    """The same job with templates of atoms anywhere, the first of them given twice."""
    shape = batch.templates.atom_positions.shape
    positions = 10 * np.random.default_rng(seed).standard_normal(shape, np.float32)
    positions[1] = positions[0]
    templates = replace(
        batch.templates,
        atom_positions=jnp.asarray(positions),
        atom_mask=jnp.ones_like(batch.templates.atom_mask),
    )
    return replace(batch, templates=templates)


def test_items_computed_together_are_as_alone() -> None:
    plain = small_batch()
    items = [with_templates(plain, 1), plain, with_templates(plain, 2)]
    keys = [jax.random.PRNGKey(seed) for seed in (1, 1, 3)]
    drawn = [jnp.int32(size) for size in (128, 256, 64)]
    together = compile_predict_group(TINY, BASE)(random_params(), items, keys, drawn)
    for found, *item in zip(together, items, keys, drawn, strict=True):
        alone = compiled(BASE)(random_params(), *item)
        for ours, other in zip(*map(jax.tree.leaves, (found, alone)), strict=True):
            np.testing.assert_allclose(ours, other, atol=2e-3)


def test_each_of_several_items_stops_recycling_by_itself() -> None:
    items = [with_templates(small_batch(), 1), small_batch()]
    changes = [change_by_recycling(item) for item in items]
    tolerance = sum(changes) / 2
    config = replace(TINY, num_recycles=2, recycle_tolerance=tolerance)
    runtime = replace(FLOAT32, return_embeddings=True)
    together = compile_predict_group(config, runtime)(
        random_params(), items, [KEY, KEY]
    )
    for found, item, change in zip(together, items, changes, strict=True):
        pair, number = recycled(item, num_recycles=2, recycle_tolerance=tolerance)
        assert (number == 1) == (change < tolerance)
        assert found.num_recycles == number
        np.testing.assert_allclose(found.embeddings.pair, pair, atol=1e-4)


def test_items_of_different_shapes_make_no_group() -> None:
    batches, keys = [small_batch(32), small_batch(40)], [KEY, KEY]
    with pytest.raises(ValueError, match="same shape"):
        compile_predict_group(TINY, BASE)(random_params(), batches, keys)

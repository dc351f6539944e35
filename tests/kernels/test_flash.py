"""The flash kernel, run by Triton's interpreter, against the definition."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.shapes import random_inputs
from kernels import Device, Mask, StackedBias, attention
from tests.kernels.examples import (
    BIASES,
    DTYPES,
    MASKS,
    assert_close,
    interpreted,
    masks,
    naive,
    normal,
    qkv,
    small_shapes,
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", small_shapes(), ids=str)
def test_agrees_with_the_definition_in_the_model(shape, dtype, interpret) -> None:
    arguments = random_inputs(shape, dtype)
    assert_close(interpreted(interpret, arguments), naive(arguments))


@pytest.mark.parametrize("num_keys", (1, 17, 63, 65, 129))
@pytest.mark.parametrize("num_queries", (1, 63, 129))
def test_takes_any_length(num_queries, num_keys, interpret) -> None:
    arguments = qkv(num_queries, num_keys, num_heads=1, num_key_heads=1)
    arguments["bias"] = normal(1, num_queries, num_keys)
    arguments["gate"] = arguments["q"]
    assert_close(interpreted(interpret, arguments), naive(arguments))


@pytest.mark.parametrize("num_channels", (16, 24, 32, 48, 80, 128))
def test_takes_any_head_size(num_channels, interpret) -> None:
    arguments = qkv(num_channels=num_channels, num_heads=2, num_key_heads=2)
    assert_close(interpreted(interpret, arguments), naive(arguments))


@pytest.mark.parametrize("mask", MASKS)
def test_takes_every_mask(mask, interpret) -> None:
    arguments = qkv() | {"mask": masks()[mask], "bias": normal(4, 20, 24)}
    assert_close(interpreted(interpret, arguments), naive(arguments))


@pytest.mark.parametrize("shape", BIASES.values(), ids=BIASES.keys())
def test_broadcasts_a_bias_along_every_axis(shape, interpret) -> None:
    arguments = qkv() | {"bias": normal(*shape)}
    assert_close(interpreted(interpret, arguments), naive(arguments))


@pytest.mark.parametrize("num_key_heads", (4, 2, 1))
def test_shares_key_heads_among_query_heads(num_key_heads, interpret) -> None:
    arguments = qkv(num_key_heads=num_key_heads)
    assert_close(interpreted(interpret, arguments), naive(arguments))


@pytest.mark.parametrize("num_channels", (16, 24))
def test_reads_the_parts_of_one_projection_where_they_lie(
    num_channels, interpret
) -> None:
    packed = normal(2, 70, 4, 3, num_channels)
    parts = {n: packed[..., i, :, :] for i, n in enumerate(("q", "k", "v", "gate"))}
    arguments = parts | {
        "bias": normal(3, 70, 70),
        "mask": Mask(keys=jnp.arange(70) < 66),
    }
    output = interpreted(interpret, arguments | {"packed": packed})
    assert_close(output, naive(arguments))


@pytest.mark.parametrize("num_keys", (24, 64))
@pytest.mark.parametrize("index", (0, 2))
def test_reads_one_of_several_biases_where_it_lies(index, num_keys, interpret) -> None:
    biases = normal(3, 4, 20, num_keys)
    arguments = qkv(num_keys=num_keys)
    stacked = arguments | {"bias": StackedBias(biases, jnp.asarray(index))}
    expected = naive(arguments | {"bias": biases[index]})
    assert_close(interpreted(interpret, stacked), expected)
    for backend in ("naive", "xla"):
        assert_close(np.asarray(attention(**stacked, backend=backend)), expected)


def test_broadcasts_over_two_groups_of_batch_axes(interpret) -> None:
    arguments = qkv(batch=(2, 3)) | {
        "bias": normal(3, 4, 20, 24),
        "mask": Mask(keys=normal(2, 1, 24) > -1),
    }
    assert_close(interpreted(interpret, arguments), naive(arguments))


def test_a_query_without_keys_gets_zeros(interpret) -> None:
    mask = np.ones((2, 1, 20, 24), bool)
    mask[0, :, 3] = mask[1] = False
    output = interpreted(interpret, qkv() | {"mask": jnp.asarray(mask)})
    assert not output[0, 3].any() and not output[1].any()
    assert output[0, 4].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_survives_huge_logits(dtype, interpret) -> None:
    arguments = qkv(dtype=dtype)
    arguments["q"] *= 100
    arguments["bias"] = 1e4 * normal(4, 20, 24, dtype=dtype)
    assert_close(interpreted(interpret, arguments), naive(arguments))


def test_does_not_read_masked_keys(interpret) -> None:
    arguments = qkv(num_keys=200)
    keys = np.ones((2, 200), bool)
    keys[0, 5:9] = keys[1, 70:] = False
    clean = arguments | {"mask": Mask(keys=jnp.asarray(keys))}
    poison = jnp.where(keys[..., None, None], 0.0, jnp.nan)
    poisoned = clean | {"k": clean["k"] + poison, "v": clean["v"] + poison}
    assert_close(interpreted(interpret, poisoned), naive(clean))


def test_gives_the_same_bits_twice(interpret) -> None:
    arguments = random_inputs(small_shapes()[0])
    once, again = (interpreted(interpret, arguments) for _ in range(2))
    np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize("capability", ((8, 6), (9, 0), (12, 0)))
def test_means_the_same_with_the_tiles_of_other_cards(capability, interpret) -> None:
    arguments = qkv(129, 129, num_heads=1, num_key_heads=1, dtype="bfloat16")
    output = interpreted(interpret, arguments, Device("cuda", capability))
    assert_close(output, naive(arguments))

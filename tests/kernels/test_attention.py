"""The backends that run anywhere: the definition, and blocks of it in XLA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.shapes import random_inputs
from kernels import (
    Device,
    Mask,
    attention,
    attention_xla,
    lowering_for,
    self_attention,
)
from tests.kernels.examples import (
    BIASES,
    DTYPES,
    MASKS,
    assert_close,
    masks,
    naive,
    normal,
    qkv,
    small_shapes,
)

# One piece; cut along the batch; cut along queries; cut along keys.
BUDGETS = {"whole": 2**30, "batch": 4 * 4 * 300 * 300, "queries": 2**19, "keys": 1}


def xla(arguments: dict) -> np.ndarray:
    return np.asarray(jax.jit(attention)(**arguments))


def reference(q, k, v, bias=None, mask=None, gate=None) -> np.ndarray:
    """Attention of one head in NumPy and float64, row by row."""
    logits = q @ k.T / np.sqrt(q.shape[-1]) + (0.0 if bias is None else bias)
    output = np.zeros_like(q)
    for i, row in enumerate(logits):
        allowed = np.ones(len(k), bool) if mask is None else mask[i]
        if allowed.any():
            weights = np.exp(row[allowed] - row[allowed].max())
            output[i] = weights @ v[allowed] / weights.sum()
    return output if gate is None else output / (1 + np.exp(-gate))


def test_the_definition_is_the_formula() -> None:
    arguments = qkv(num_heads=1, num_key_heads=1, batch=()) | {
        "bias": normal(1, 20, 24),
        "mask": masks()["dense"][0],
        "gate": normal(20, 1, 16, seed=9),
    }
    plain = {n: np.float64(np.squeeze(np.asarray(x))) for n, x in arguments.items()}
    plain["mask"] = plain["mask"].astype(bool)
    np.testing.assert_allclose(
        naive(arguments)[:, 0], reference(**plain), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", small_shapes(), ids=str)
def test_xla_agrees_with_the_definition_in_the_model(shape, dtype) -> None:
    arguments = random_inputs(shape, dtype)
    assert_close(xla(arguments), naive(arguments))


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
@pytest.mark.parametrize("mask", MASKS)
def test_xla_takes_every_mask_however_it_is_cut(mask, budget, monkeypatch) -> None:
    monkeypatch.setitem(attention_xla.LOGIT_BYTES, "cpu", budget)
    size = {"num_queries": 300, "num_keys": 291}
    arguments = qkv(**size) | {"mask": masks(**size)[mask], "bias": normal(4, 300, 291)}
    assert_close(np.asarray(attention(**arguments)), naive(arguments))


@pytest.mark.parametrize("num_keys", (1, 17, 129, 257))
@pytest.mark.parametrize("num_queries", (1, 63, 129))
def test_xla_takes_any_length_in_blocks(num_queries, num_keys, monkeypatch) -> None:
    monkeypatch.setitem(attention_xla.LOGIT_BYTES, "cpu", 1)
    arguments = qkv(num_queries, num_keys, batch=(2, 3))
    assert_close(np.asarray(attention(**arguments)), naive(arguments))


@pytest.mark.parametrize("shape", BIASES.values(), ids=BIASES.keys())
def test_xla_broadcasts_a_bias_along_every_axis(shape) -> None:
    arguments = qkv() | {"bias": normal(*shape)}
    assert_close(xla(arguments), naive(arguments))


@pytest.mark.parametrize("num_key_heads", (4, 2, 1))
def test_key_heads_are_shared_by_neighbouring_query_heads(num_key_heads) -> None:
    arguments = qkv(num_key_heads=num_key_heads)
    repeated = {
        name: jnp.repeat(arguments[name], 4 // num_key_heads, axis=-2) for name in "kv"
    }
    expected = naive(arguments | repeated)
    assert_close(naive(arguments), expected)
    assert_close(xla(arguments), expected)


@pytest.mark.parametrize("backend", ("naive", "xla"))
def test_a_query_without_keys_gets_zeros(backend) -> None:
    mask = jnp.ones((2, 1, 20, 24), bool).at[0, :, 3].set(False).at[1].set(False)
    output = np.asarray(attention(**qkv(), mask=mask, backend=backend))
    assert not output[0, 3].any() and not output[1].any()
    assert output[0, 4].any()


@pytest.mark.parametrize(("num_queries", "num_keys"), ((5, 0), (0, 5)))
def test_nothing_to_attend_is_zeros_and_nobody_to_attend_is_empty(
    num_queries, num_keys
) -> None:
    output = np.asarray(attention(**qkv(num_queries, num_keys)))
    assert output.shape == (2, num_queries, 4, 16) and not output.any()


@pytest.mark.parametrize("backend", ("naive", "xla"))
def test_masked_keys_are_not_read(backend) -> None:
    arguments = qkv()
    mask = jnp.ones((2, 24), bool).at[:, 20:].set(False)
    poison = jnp.where(mask[..., None, None], 0.0, jnp.nan)
    poisoned = arguments | {n: arguments[n] + poison for n in "kv"}
    clean = attention(**arguments, mask=Mask(keys=mask), backend=backend)
    output = attention(**poisoned, mask=Mask(keys=mask), backend=backend)
    np.testing.assert_array_equal(np.asarray(output), np.asarray(clean))


@pytest.mark.parametrize("dtype", DTYPES)
def test_huge_logits_do_not_overflow(dtype) -> None:
    arguments = qkv(dtype=dtype)
    arguments["q"] *= 100
    arguments["bias"] = 1e4 * normal(4, 20, 24, dtype=dtype)
    assert np.isfinite(np.float32(naive(arguments))).all()
    assert_close(xla(arguments), naive(arguments))


def test_the_result_is_the_same_twice() -> None:
    arguments = random_inputs(small_shapes()[0])
    np.testing.assert_array_equal(xla(arguments), xla(arguments))


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_gradients_agree_with_those_of_the_definition(budget, monkeypatch) -> None:
    monkeypatch.setitem(attention_xla.LOGIT_BYTES, "cpu", budget)
    size = {"num_queries": 140, "num_keys": 130}
    fixed = {"mask": masks(**size)["everything"]}
    learnt = qkv(**size) | {"bias": normal(4, 140, 130), "gate": normal(2, 140, 4, 16)}

    def loss(learnt: dict, backend: str) -> jax.Array:
        return (attention(**learnt, **fixed, backend=backend) ** 2).sum()

    gradients = jax.grad(loss)(learnt, "xla")
    expected = jax.grad(loss)(learnt, "naive")
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[name], atol=2e-4, err_msg=name)


@pytest.mark.parametrize("backend", ["naive", "xla"])
def test_gradients_are_zero_where_nothing_is_attended(backend: str) -> None:
    nothing = jnp.zeros((2, 24), bool).at[0, :5].set(True)

    @jax.jit
    def loss(learnt: dict) -> jax.Array:
        output = attention(**learnt, mask=Mask(keys=nothing), backend=backend)
        return (output**2).sum()

    gradients = jax.grad(loss)(qkv() | {"bias": normal(2, 4, 20, 24)})
    for name, (attended, unattended) in gradients.items():
        assert np.isfinite(attended).all() and np.any(attended), name
        np.testing.assert_array_equal(unattended, 0, err_msg=name)


def test_vmap_adds_a_batch_axis() -> None:
    arguments = qkv(batch=(3, 2)) | {"bias": normal(1, 2, 4, 20, 24)}
    axes = {"q": 0, "k": 0, "v": 0, "bias": None}
    inner = arguments | {"bias": arguments["bias"][0]}
    mapped = jax.vmap(lambda arguments: attention(**arguments), in_axes=(axes,))(inner)
    assert_close(np.asarray(mapped), naive(arguments))


@pytest.mark.parametrize(
    ("change", "message"),
    (
        ({"k": normal(2, 24, 4, 8)}, "c=16"),
        ({"k": normal(2, 24, 3, 16), "v": normal(2, 24, 3, 16)}, "divide the 4 query"),
        ({"v": normal(2, 25, 4, 16)}, "shape of k"),
        ({"gate": normal(2, 20, 4, 8)}, "shape of q"),
        ({"bias": normal(3, 4, 20, 24)}, r"\[2, 4, 20, 24\]"),
        ({"mask": jnp.ones((2, 1, 19, 24), bool)}, "mask must broadcast"),
        ({"mask": Mask(key_segments=jnp.arange(24))}, "together"),
        ({"q": normal(2, 20, 4, 16, dtype="bfloat16")}, "one dtype"),
    ),
)
def test_what_does_not_fit_is_named_with_what_would(change, message) -> None:
    from kernels.operands import gather_operands

    arguments = {"bias": None, "mask": None, "gate": None} | qkv() | change
    with pytest.raises(ValueError, match=message):
        gather_operands(**arguments)


def test_a_scale_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="scale must be positive"):
        attention(**qkv(), scale=0.0)


@pytest.mark.parametrize("backend", ("naive", "xla"))
def test_self_attention_is_attention_of_the_four_parts(backend) -> None:
    projected = normal(2, 20, 4, 3, 16)
    q, k, v, gate = (projected[..., part, :, :] for part in range(4))
    how = {"bias": normal(3, 20, 20), "mask": Mask(keys=jnp.arange(20) < 17)}
    found = self_attention(projected, **how, backend=backend)
    expected = attention(q, k, v, gate=gate, **how, backend="naive")
    assert_close(np.asarray(found), np.asarray(expected))


def test_self_attention_needs_four_parts() -> None:
    with pytest.raises(ValueError, match=r"must have shape \[\*batch n 4 h c\]"):
        self_attention(normal(20, 3, 3, 16))


def test_items_can_be_added_around_samples_that_share_their_windows_biases() -> None:
    # Three groups of batch axes: the kernel counts with two.
    q = jax.ShapeDtypeStruct((2, 3, 4, 32, 4, 32), jnp.float32)
    bias = jax.ShapeDtypeStruct((2, 1, 4, 4, 32, 32), jnp.float32)

    def attend(q, k, v, bias) -> jax.Array:
        return attention(q, k, v, bias=bias, backend="triton")

    with lowering_for(Device("cuda", (9, 0))):
        assert jax.eval_shape(jax.vmap(attend), q, q, q, bias).shape == q.shape

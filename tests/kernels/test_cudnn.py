"""What is handed to cuDNN means what was asked.

cuDNN itself needs a GPU. `jax.nn.dot_product_attention` computes the same arguments
with XLA, so it stands in: bias, mask channels and splits are checked with it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import Device, Mask, attention, attention_cudnn, lowering_for
from tests.kernels.examples import TOLERANCE, bernoulli, masks, naive, normal, qkv

H100 = Device("cuda", (9, 0))
HALF = {"dtype": "bfloat16"}
BIAS = {"bias": normal(4, 20, 24, **HALF)}

CASES = {
    "nothing": {},
    "bias": BIAS,
    "keys": {"mask": masks()["keys"]},
    "keys_and_bias": BIAS | {"mask": masks()["keys"]},
    "shared_keys_and_bias": BIAS | {"mask": masks()["keys_shared_by_the_batch"]},
    "dense": {"mask": masks()["dense"]},
    "segments_and_bias": BIAS | {"mask": masks()["segments"]},
    "causal": {"mask": masks()["causal"]},
    "causal_and_keys": {"mask": Mask(causal=True, keys=bernoulli(2, 24))},
    "no_key": {"mask": jnp.zeros((2, 1, 1, 24), bool)},
    "gate": {"gate": normal(2, 20, 4, 16, **HALF)},
}


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_cudnn, "IMPLEMENTATION", "xla")


def through_cudnn(arguments: dict) -> np.ndarray:
    with (
        lowering_for(H100),
        # JAX's own attention promotes dtypes and ranks.
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        return np.asarray(attention(**arguments, backend="cudnn"))


def assert_near(actual: np.ndarray, expected: np.ndarray) -> None:
    difference = np.abs(np.float32(actual) - np.float32(expected))
    assert difference.max() <= TOLERANCE["bfloat16"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_arguments_of_cudnn_mean_what_was_asked(case) -> None:
    arguments = qkv(**HALF) | case
    assert_near(through_cudnn(arguments), naive(arguments))


@pytest.mark.parametrize("num_key_heads", (2, 1))
def test_key_heads_are_shared(num_key_heads) -> None:
    arguments = qkv(**HALF, num_key_heads=num_key_heads)
    assert_near(through_cudnn(arguments), naive(arguments))


def test_a_bias_of_some_batch_axes_is_split_into_calls() -> None:
    arguments = qkv(**HALF, batch=(2, 3)) | {
        "bias": normal(1, 3, 4, 20, 24, **HALF),
        "mask": bernoulli(1, 3, 1, 1, 24),
    }
    assert_near(through_cudnn(arguments), naive(arguments))


def test_masked_keys_are_not_read() -> None:
    arguments = qkv(**HALF)
    keys = jnp.ones((2, 24), bool).at[:, 20:].set(False)
    poison = jnp.where(keys, 0.0, jnp.nan)[..., None, None].astype("bfloat16")
    poisoned = arguments | {n: arguments[n] + poison for n in "kv"}
    output = through_cudnn(poisoned | {"mask": Mask(keys=keys)})
    assert_near(output, naive(arguments | {"mask": Mask(keys=keys)}))

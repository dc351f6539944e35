"""Inputs of attention for tests, the tolerances, and the kernel on a CPU."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.shapes import AttentionShape, af3_shapes
from kernels import Device, Mask, attention
from kernels.attention_triton import kernel_arrays, plan_launch
from kernels.operands import gather_operands
from kernels.spec import spec_of

A100 = Device("cuda", (8, 0))
DTYPES = ("float32", "bfloat16", "float16")

# Largest difference from the float32 definition, for values of unit variance.
TOLERANCE = {
    # Sums in another order.
    "float32": 4e-6,
    # Weights and result rounded to 11 significant bits.
    "float16": 4e-3,
    # Weights and result rounded to 8 significant bits.
    "bfloat16": 3.2e-2,
}

Arguments = dict[str, Any]
Interpret = Callable[..., dict[str, np.ndarray]]


def small_shapes() -> list[AttentionShape]:
    """Every attention of AlphaFold 3, scaled down to what an interpreter can do."""

    def cut(batch: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return None if batch is None else tuple(min(size, 3) for size in batch)

    return [
        shape._replace(
            batch=cut(shape.batch),
            bias_batch=cut(shape.bias_batch),
            mask_batch=cut(shape.mask_batch),
        )
        for shape in af3_shapes(40)
    ]


def normal(*shape: int, dtype: str = "float32", seed: int = 0) -> jax.Array:
    """Unit normals."""
    values = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return jnp.asarray(values).astype(dtype)


def bernoulli(*shape: int, seed: int = 0) -> jax.Array:
    """True with probability 0.7."""
    return jnp.asarray(np.random.default_rng(seed).random(shape) < 0.7)


def qkv(
    num_queries: int = 20,
    num_keys: int = 24,
    *,
    batch: tuple[int, ...] = (2,),
    num_heads: int = 4,
    num_key_heads: int = 4,
    num_channels: int = 16,
    dtype: str = "float32",
) -> Arguments:
    """Queries, keys and values."""
    keys = (*batch, num_keys, num_key_heads, num_channels)
    return {
        "q": normal(*batch, num_queries, num_heads, num_channels, dtype=dtype, seed=1),
        "k": normal(*keys, dtype=dtype, seed=2),
        "v": normal(*keys, dtype=dtype, seed=3),
    }


def masks(num_queries: int = 20, num_keys: int = 24) -> dict[str, jax.Array | Mask]:
    """One mask of each kind, for a batch of 2 and 4 heads."""
    queries, keys = jnp.arange(num_queries) // 7, jnp.arange(num_keys) // 7
    return {
        "keys": Mask(keys=bernoulli(2, num_keys)),
        "keys_shared_by_the_batch": Mask(keys=bernoulli(num_keys)),
        "keys_as_an_array": bernoulli(2, 1, 1, num_keys),
        "segments": Mask(query_segments=queries, key_segments=keys),
        "segments_of_each_batch": Mask(
            query_segments=jnp.stack([queries, 0 * queries]), key_segments=keys
        ),
        "causal": Mask(causal=True),
        "dense": bernoulli(2, 1, num_queries, num_keys),
        "dense_per_head": bernoulli(4, num_queries, num_keys),
        "dense_one_key": bernoulli(2, 4, num_queries, 1),
        "everything": Mask(
            keys=bernoulli(2, num_keys),
            query_segments=queries,
            key_segments=keys,
            dense=bernoulli(1, num_queries, num_keys),
            causal=True,
        ),
    }


MASKS = tuple(masks())

BIASES = {
    "full": (2, 4, 20, 24),
    "shared_by_the_batch": (1, 4, 20, 24),
    "without_batch_axis": (4, 20, 24),
    "shared_by_heads": (2, 1, 20, 24),
    "shared_by_queries": (2, 4, 1, 24),
    "shared_by_keys": (2, 4, 20, 1),
    "one_matrix": (1, 20, 24),
}


def naive(arguments: Arguments) -> np.ndarray:
    """The definition."""
    return np.asarray(attention(**arguments, backend="naive"))


def interpreted(
    interpret: Interpret, arguments: Arguments, device: Device = A100
) -> np.ndarray:
    """The flash kernel as `device` would be given it, run by Triton's interpreter."""
    arguments = {"bias": None, "mask": None, "gate": None, **arguments}
    q, packed = arguments["q"], arguments.pop("packed", None)
    scale = arguments.pop("scale", q.shape[-1] ** -0.5)
    operands = gather_operands(**arguments)._replace(packed=packed)
    launch = plan_launch(spec_of(operands, device), scale)
    arrays = {
        name: np.asarray(q if x is None else x)
        for name, x in kernel_arrays(operands).items()
    }
    # NaN where the kernel writes nothing.
    outputs = {"output_ptr": np.full(q.shape, np.nan, q.dtype)}
    arguments = launch.scalars | launch.constants
    return interpret(
        "kernels.flash", "flash_attention", launch.grid, arrays, outputs, arguments
    )["output_ptr"]


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    """Within the tolerance of their dtype; NaN is never close."""
    assert actual.dtype == expected.dtype
    difference = np.abs(np.float32(actual) - np.float32(expected))
    assert difference.max(initial=0.0) <= TOLERANCE[expected.dtype.name]

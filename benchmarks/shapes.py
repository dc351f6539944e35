"""The attentions AlphaFold 3 computes, as data shared by tests and benchmarks."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kernels import AttentionSpec, Device, Mask
from kernels.spec import products_of

Shape = tuple[int, ...]


class AttentionShape(NamedTuple):
    """One attention: sizes, and which axes of bias and key mask broadcast."""

    name: str
    batch: Shape
    num_queries: int
    num_keys: int
    num_heads: int
    num_channels: int
    bias_batch: Shape | None
    """Batch axes of the bias, 1 where it broadcasts; None without a bias."""
    mask_batch: Shape | None
    """Batch axes of the key mask, likewise."""
    dtype: str = "bfloat16"

    def __str__(self) -> str:
        return self.name


def af3_shapes(num_tokens: int) -> tuple[AttentionShape, ...]:
    """Every attention of one prediction at `num_tokens`, five samples.

    Atom windows: 24 atom slots a token, 32 queries a window.
    """
    n, w = num_tokens, max(1, num_tokens * 24 // 32)
    return (
        AttentionShape("triangle", (n,), n, n, 4, 32, (1,), (n,)),
        AttentionShape("template_triangle", (n,), n, n, 4, 16, (1,), (n,)),
        AttentionShape("single", (), n, n, 16, 24, (), ()),
        AttentionShape("diffusion", (5,), n, n, 16, 48, (1,), (1,), "float32"),
        AttentionShape("atom", (5, w), 32, 128, 4, 32, (1, w), None, "float32"),
    )


def spec_for(shape: AttentionShape, device: Device, dtype: str = "") -> AttentionSpec:
    """The spec of a gated attention of this shape, as a bfloat16 model calls it."""
    dtype = dtype or shape.dtype
    entry = (shape.num_heads, shape.num_queries, shape.num_keys)
    bias, key_mask = None, None
    if shape.bias_batch is not None:
        bias = (*shape.bias_batch, *entry)
    if shape.mask_batch is not None:
        key_mask = (*shape.mask_batch, shape.num_keys)
    return AttentionSpec(
        batch=shape.batch,
        num_queries=shape.num_queries,
        num_keys=shape.num_keys,
        num_heads=shape.num_heads,
        num_key_heads=shape.num_heads,
        num_channels=shape.num_channels,
        dtype=dtype,
        device=device,
        bias=bias,
        bias_dtype=None if bias is None else dtype,
        key_mask=key_mask,
        has_gate=True,
        products=products_of(dtype, device),
    )


def input_shapes(shape: AttentionShape, dtype: str = "") -> dict[str, Any]:
    """Shapes and dtypes of the arguments of `kernels.attention`."""

    def array(*size: int, dtype: str = dtype or shape.dtype) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(size, jnp.dtype(dtype))

    heads = (shape.num_heads, shape.num_channels)
    arguments: dict[str, Any] = {
        "q": array(*shape.batch, shape.num_queries, *heads),
        "k": array(*shape.batch, shape.num_keys, *heads),
        "v": array(*shape.batch, shape.num_keys, *heads),
        "gate": array(*shape.batch, shape.num_queries, *heads),
    }
    if shape.bias_batch is not None:
        arguments["bias"] = array(
            *shape.bias_batch, shape.num_heads, shape.num_queries, shape.num_keys
        )
    if shape.mask_batch is not None:
        keys: Any = array(*shape.mask_batch, shape.num_keys, dtype="bool")
        arguments["mask"] = Mask(keys=keys)
    return arguments


def random_inputs(
    shape: AttentionShape, dtype: str = "", seed: int = 0
) -> dict[str, Any]:
    """Arguments of `kernels.attention`: unit normals, about a fifth of keys padded."""
    rng = np.random.default_rng(seed)

    def fill(x: jax.ShapeDtypeStruct) -> jax.Array:
        if x.dtype == bool:
            return jnp.asarray(rng.random(x.shape) > 0.2)
        return jnp.asarray(rng.standard_normal(x.shape, np.float32)).astype(x.dtype)

    return jax.tree.map(fill, input_shapes(shape, dtype))

"""Where the confidence head starts from.

A few channels of a trained trunk are large and nearly constant. Once normalised, tokens
of all chains look alike but for a percent, and heads that start at zero take thousands
of steps to tell them apart. So the norms before them start from the data: every channel
that a head reads has mean 0 and deviation 1 over the examples (Krähenbühl et al. 2016,
arXiv:1511.06856).
"""

import functools
from collections.abc import Iterable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from af3_core.model.heads import predict_confidence
from af3_core.model.model import apply
from af3_core.training.examples import Example
from af3_core.training.state import Tree
from af3_core.training.step import Setup, embed_recycled

HEADS = ("pae", "pde", "plddt", "resolved")
_NORMS = {f"{head}_norm": head for head in HEADS}
_SCOPE = "confidence"
_LEAST_DEVIATION = 0.01
"""Of what layer normalisation makes 1 on average: less is noise."""

type Moments = dict[str, tuple[Float[Array, ""], Float[Array, "c"], Float[Array, "c"]]]


def standardise_heads(params: Tree, examples: Iterable[Example], setup: Setup) -> Tree:
    """The parameters, with the norms of heads that say nothing yet set by the examples.

    A head says nothing while its weights are zero, as they are before any training; a
    trained one is left as it is.

    Raises:
        ValueError: there are no examples.
    """
    fresh = [h for h in HEADS if not jnp.any(params[f"{_SCOPE}/{h}"]["weights"])]
    if not fresh:
        return params
    reset = {f"{_SCOPE}/{head}_norm": _norm(params, head, 1.0, 0.0) for head in fresh}
    params = params | reset
    key = jax.random.PRNGKey(setup.training.seed)
    count = jax.jit(functools.partial(moments, setup=setup))
    sums: Moments | None = None
    for index, example in enumerate(examples):
        found = count(params, example, jax.random.fold_in(key, index))
        sums = found if sums is None else jax.tree.map(jnp.add, sums, found)
    if sums is None:
        raise ValueError("no example to set the confidence head by")
    changed = {}
    for head in fresh:
        number, total, squares = sums[head]
        mean = total / number
        variance = squares / number - jnp.square(mean)
        scale = 1.0 / jnp.sqrt(jnp.maximum(variance, _LEAST_DEVIATION**2))
        changed[f"{_SCOPE}/{head}_norm"] = _norm(params, head, scale, -mean * scale)
    return params | changed


def moments(params: Tree, example: Example, key: Array, *, setup: Setup) -> Moments:
    """What each head reads of an example: how much, its sum and its sum of squares.

    The structure that confidence is asked for is the known one.
    """
    batch = example.batch
    num_recycles = jnp.asarray(setup.config.num_recycles)
    embeddings = embed_recycled(params, batch, key, num_recycles, setup)
    read: dict[str, Array] = {}

    def listen(call: Any, args: Any, kwargs: Any, context: hk.MethodContext) -> Any:
        output = call(*args, **kwargs)
        if (head := _NORMS.get(context.module.name)) is not None:
            read[head] = output
        return output

    positions = jnp.asarray(example.labels.positions)
    with hk.intercept_methods(listen):
        apply(predict_confidence, params, batch, embeddings, positions, **setup.how)
    single = jnp.asarray(batch.tokens.mask).astype(jnp.float32)
    masks = {1: single, 2: single[:, None] * single[None, :]}
    found = {}
    for head, x in read.items():
        weight = masks[x.ndim - 1][..., None]
        axes = tuple(range(x.ndim - 1))
        squares = jnp.sum(weight * jnp.square(x), axis=axes)
        found[head] = jnp.sum(weight), jnp.sum(weight * x, axis=axes), squares
    return found


def _norm(
    params: Tree, head: str, scale: Float[Array, "c"] | float, offset: Any
) -> dict[str, Array]:
    shape = params[f"{_SCOPE}/{head}_norm"]["scale"].shape
    return {
        "scale": jnp.broadcast_to(jnp.asarray(scale, jnp.float32), shape),
        "offset": jnp.broadcast_to(jnp.asarray(offset, jnp.float32), shape),
    }

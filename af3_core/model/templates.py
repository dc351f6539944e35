"""The template embedder. SI Algorithm 16."""

from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from af3_core.model import config as settings
from af3_core.model.batch import Templates
from af3_core.model.config import DistanceBins, Runtime
from af3_core.model.pairformer import PairUpdate
from af3_core.model.primitives import LayerNorm, Linear, ScalarEmbedding

NUM_RESIDUE_TYPES = 31

# Atom slots by residue class: 20 amino acids, unknown, gap, A G C U DA DG DC DT, N.
# The pseudo-beta is C-beta (glycine: C-alpha), purines' C4, pyrimidines' C2.
_PSEUDO_BETA_SLOT = np.array(
    [4] * 7 + [1] + [4] * 12 + [0, 0] + [22, 23, 14, 14, 21, 22, 13, 13] + [0]
)
# The frame's atoms: N, C-alpha, C of an amino acid; C4', C3', C1' of a nucleotide, in
# the slots they have in adenosine.
_FRAME_SLOTS = np.array(
    [[0, 1, 2]] * 20 + [[0, 0, 0]] * 2 + [[6, 8, 12]] * 8 + [[0, 0, 0]]
)


def one_hot_distances(
    positions: Float[Array, "n 3"], bins: DistanceBins
) -> Float[Array, "n n bins"]:
    """The bin of each pair's distance (Å); all zero below the first bin."""
    edges = jnp.linspace(bins.first, bins.last, bins.num_bins)
    lower = jnp.square(edges)[None, None]
    infinity = jnp.full((1, 1, 1), 1e8, lower.dtype)
    upper = jnp.concatenate([lower[..., 1:], infinity], axis=-1)
    offsets = positions[:, None] - positions[None, :]
    squared = jnp.sum(jnp.square(offsets), axis=-1, keepdims=True)
    return ((squared > lower) & (squared < upper)).astype(jnp.float32)


def backbone_directions(
    positions: Float[Array, "n x 3"], slots: Int[Array, "n 3"]
) -> Float[Array, "n n 3"]:
    """Unit vectors from each frame to every other frame's origin, seen in the frame.

    `slots` names the frame's three atoms (N, C-alpha, C). The origin is the second,
    the x axis points to the third, the first lies in the half plane of positive y.

    The vector from a frame to itself is zero but for rounding, and the published code
    gives that rounding unit length. So that equal weights see equal numbers, products
    are summed here in its order, component by component.
    """
    pick = jax.vmap(lambda row, slot: row[slot])
    first, origin, last = (
        tuple(pick(positions[..., axis], slots[:, atom]) for axis in range(3))
        for atom in range(3)
    )
    x_axis = _normalise(_subtract(last, origin))
    to_first = _subtract(first, origin)
    along = _dot(to_first, x_axis)
    y_axis = _normalise(_subtract(to_first, tuple(x * along for x in x_axis)))
    directions = []
    for axis in (x_axis, y_axis, _cross(x_axis, y_axis)):
        column = tuple(x[:, None] for x in axis)
        row = tuple(x[None] for x in origin)
        shift = _dot(column, tuple(-x[:, None] for x in origin))
        directions.append(_dot(column, row) + shift)
    return jnp.stack(_normalise(tuple(directions)), axis=-1)


Vector = tuple[Array, Array, Array]


def _dot(a: Vector, b: Vector) -> Array:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _subtract(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _cross(a: Vector, b: Vector) -> Vector:
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


def _normalise(a: Vector) -> Vector:
    length = jnp.sqrt(jnp.maximum(_dot(a, a), 1e-12))
    return a[0] / length, a[1] / length, a[2] / length


class SingleTemplateEmbedder(hk.Module):
    """One template in the light of the query. SI Algorithm 16, lines 1-11."""

    def __init__(
        self, config: settings.TemplateEmbedder, runtime: Runtime, *, name: str
    ) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(
        self,
        template: Templates,
        pair: Float[Array, "n n cz"],
        token_mask: Bool[Array, "n"],
        same_chain: Bool[Array, "n n"],
    ) -> Float[Array, "n n c"]:
        config = self.config
        embedded = self._embed_features(template, pair, same_chain)
        pair_mask = token_mask[:, None] & token_mask[None, :]

        def block(pair: Array) -> Array:
            return PairUpdate(
                config.num_heads, config.transition_factor, self.runtime, name="pair"
            )(pair, pair_mask)

        if config.num_blocks:
            stack = hk.experimental.layer_stack(config.num_blocks, name="blocks")
            embedded = stack(block)(embedded)  # lines 9-10
        return LayerNorm(name="output_norm")(embedded)  # line 11

    @hk.transparent
    def _embed_features(
        self,
        template: Templates,
        pair: Float[Array, "n n cz"],
        same_chain: Bool[Array, "n n"],
    ) -> Float[Array, "n n c"]:
        """Lines 1-8; the projection of a concatenation is a sum of projections."""
        dtype, num_channels = pair.dtype, self.config.num_channels
        residue_type, atom_mask = template.residue_type[0], template.atom_mask[0]
        positions = jnp.where(atom_mask[..., None], template.atom_positions[0], 0.0)

        def take(x: Array, slots: np.ndarray) -> Array:
            index = jnp.asarray(slots)[residue_type].reshape(len(residue_type), -1)
            index = index.reshape(index.shape + (1,) * (x.ndim - 2))
            return jnp.take_along_axis(x, index, axis=1)

        beta_mask = take(atom_mask, _PSEUDO_BETA_SLOT)[:, 0]
        beta_mask_2d = beta_mask[:, None] & beta_mask[None, :] & same_chain
        distances = one_hot_distances(
            take(positions, _PSEUDO_BETA_SLOT)[:, 0], self.config.distance_bins
        )
        frame_mask = jnp.all(take(atom_mask, _FRAME_SLOTS), axis=1)
        frame_mask_2d = frame_mask[:, None] & frame_mask[None, :] & same_chain
        directions = backbone_directions(
            positions, jnp.asarray(_FRAME_SLOTS)[residue_type]
        )
        directions = jnp.where(frame_mask_2d[..., None], directions, 0.0).astype(dtype)
        classes = jax.nn.one_hot(residue_type, NUM_RESIDUE_TYPES, dtype=dtype)

        def linear(x: Array, name: str) -> Array:
            return Linear(num_channels, name=name, init="relu")(x.astype(dtype))

        def scalar(x: Array, name: str) -> Array:
            return ScalarEmbedding(num_channels, name=name)(x.astype(dtype))

        distances = jnp.where(beta_mask_2d[..., None], distances, 0.0)
        total = linear(distances, "embed_distance")
        total += scalar(beta_mask_2d, "embed_pseudo_beta_mask")
        total += linear(classes, "embed_column_type")[None, :]
        total += linear(classes, "embed_row_type")[:, None]
        for i, axis in enumerate("xyz"):
            total += scalar(directions[..., i], f"embed_direction_{axis}")
        total += scalar(frame_mask_2d, "embed_frame_mask")
        return total + linear(LayerNorm(name="pair_norm")(pair), "embed_pair")


class TemplateEmbedder(hk.Module):
    """SI Algorithm 16. Absent templates count: all slots enter the mean."""

    def __init__(
        self, config: settings.TemplateEmbedder, runtime: Runtime, *, name: str
    ) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(
        self,
        templates: Templates,
        pair: Float[Array, "n n cz"],
        token_mask: Bool[Array, "n"],
        asym_id: Array,
    ) -> Float[Array, "n n cz"]:
        num_tokens = pair.shape[0]
        templates = jax.tree.map(jnp.asarray, templates)
        same_chain = asym_id[:, None] == asym_id[None, :]
        embedder = SingleTemplateEmbedder(self.config, self.runtime, name="template")

        def embed(template: Templates) -> Float[Array, "n n c"]:
            return embedder(template, pair, token_mask, same_chain)

        if hk.running_init():
            total = embed(_template(templates, 0))
        else:
            shape = (num_tokens, num_tokens, self.config.num_channels)
            total = _sum_templates(embed, templates, jnp.zeros(shape, pair.dtype))
        mean = total / (1e-7 + templates.residue_type.shape[0])  # line 13
        output = Linear(pair.shape[-1], name="output", init="relu")
        return output(jax.nn.relu(mean))  # line 14


def _template(templates: Templates, index: Array | int) -> Templates:
    """One template, its axis kept."""
    return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, index, 1), templates)


def _sum_templates(
    embed: Callable[[Templates], Array], templates: Templates, zeros: Array
) -> Float[Array, "n n c"]:
    """Lines 6-12. A template equal to the one before, as absent ones are, is reused."""

    def step(carry: tuple[Array, Array], index: Array) -> tuple[tuple, None]:
        total, embedding = carry
        template = _template(templates, index)
        previous = _template(templates, jnp.maximum(index - 1, 0))
        same = [
            jnp.array_equal(x, y)
            for x, y in zip(
                jax.tree.leaves(previous), jax.tree.leaves(template), strict=True
            )
        ]
        embedding = hk.cond(
            jnp.all(jnp.stack(same)) & (index > 0),
            lambda template, embedding: embedding,
            lambda template, embedding: embed(template),
            template,
            embedding,
        )
        return (total + embedding, embedding), None

    num_templates = templates.residue_type.shape[0]
    (total, _), _ = hk.scan(step, (zeros, zeros), jnp.arange(num_templates))
    return total

"""The template embedder. SI Algorithm 16."""

from collections.abc import Callable
from typing import NamedTuple

import haiku as hk
import haiku.experimental as hk_experimental
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from af3_core.model import config as settings
from af3_core.model.batch import AnyTemplates, TemplatePairs
from af3_core.model.config import Conventions, DistanceBins, Runtime
from af3_core.model.conventions import residue_classes
from af3_core.model.pairformer import PairUpdate
from af3_core.model.primitives import (
    LayerNorm,
    Linear,
    ScalarEmbedding,
    in_any_item,
    map_rows,
    update_rows,
)

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
    rows: Float[Array, "r 3"], columns: Float[Array, "n 3"], bins: DistanceBins
) -> Float[Array, "r n bins"]:
    """The bin of each pair's distance (Å); all zero below the first bin."""
    edges = jnp.linspace(bins.first, bins.last, bins.num_bins)
    lower = jnp.square(edges)[None, None]
    infinity = jnp.full((1, 1, 1), 1e8, lower.dtype)
    upper = jnp.concatenate([lower[..., 1:], infinity], axis=-1)
    offsets = rows[:, None] - columns[None, :]
    squared = jnp.sum(jnp.square(offsets), axis=-1, keepdims=True)
    return ((squared > lower) & (squared < upper)).astype(jnp.float32)


Vector = tuple[Array, Array, Array]


class Frames(NamedTuple):
    """Where backbones are and how they are turned: vectors of components [n], Å."""

    axes: tuple[Vector, Vector, Vector]
    origin: Vector


def backbone_frames(
    positions: Float[Array, "n x 3"], slots: Int[Array, "n 3"]
) -> Frames:
    """The frame of each residue.

    `slots` names its three atoms (N, C-alpha, C). The origin is the second, the x axis
    points to the third, the first lies in the half plane of positive y.
    """
    pick = jax.vmap(lambda row, slot: row[slot])

    def place(atom: int) -> Vector:
        x, y, z = (pick(positions[..., axis], slots[:, atom]) for axis in range(3))
        return x, y, z

    first, origin, last = place(0), place(1), place(2)
    x_axis = _normalise(_subtract(last, origin))
    to_first = _subtract(first, origin)
    along = _dot(to_first, x_axis)
    y_axis = _normalise(_subtract(to_first, _each(lambda x: x * along, x_axis)))
    return Frames((x_axis, y_axis, _cross(x_axis, y_axis)), origin)


def backbone_directions(rows: Frames, columns: Frames) -> Float[Array, "r n 3"]:
    """Unit vectors from each frame (row) to other frames' origins, seen in the frame.

    The vector from a frame to itself is zero but for rounding, and the published code
    gives that rounding unit length. So that equal weights see equal numbers, products
    are summed here in its order, component by component.
    """
    directions = []
    for axis in rows.axes:
        row = _each(lambda x: x[:, None], axis)
        column = _each(lambda x: x[None], columns.origin)
        shift = _dot(row, _each(lambda x: -x[:, None], rows.origin))
        directions.append(_dot(row, column) + shift)
    return jnp.stack(_normalise(tuple(directions)), axis=-1)


def _each(function: Callable[[Array], Array], vector: Vector) -> Vector:
    x, y, z = vector
    return function(x), function(y), function(z)


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


class Places(NamedTuple):
    """Where a template has each token, Å."""

    pseudo_beta: Float[Array, "n 3"]
    frames: Frames


class MeasuredRows(NamedTuple):
    """Distances and directions that were measured before."""

    distances: Float[Array, "r n bins"]
    directions: Float[Array, "r n 3"]


class TemplateTokens(NamedTuple):
    """What one template says of each token."""

    place: Int[Array, "n"]
    asym_id: Int[Array, "n"]
    """Of the query: pairs of chains see nothing of a template."""
    classes: Float[Array, "n c"]
    has_pseudo_beta: Bool[Array, "n"]
    has_frame: Bool[Array, "n"]
    places: Places | MeasuredRows


def read_template(
    template: AnyTemplates,
    asym_id: Int[Array, "n"],
    conventions: Conventions,
    dtype: jnp.dtype,
) -> TemplateTokens:
    """One template; arrays have its axis, of length 1."""
    residue_type, num_tokens = template.residue_type[0], len(asym_id)
    # No template has DNA.
    classes = residue_classes(residue_type, jnp.zeros(num_tokens, bool), conventions)
    described = {
        "place": jnp.arange(num_tokens),
        "asym_id": asym_id,
        "classes": jax.nn.one_hot(
            classes, conventions.num_residue_classes, dtype=dtype
        ),
    }
    if isinstance(template, TemplatePairs):
        return TemplateTokens(
            **described,
            has_pseudo_beta=template.pseudo_beta_mask[0],
            has_frame=template.frame_mask[0],
            places=MeasuredRows(template.distances[0], template.directions[0]),
        )
    atom_mask = template.atom_mask[0]
    positions = jnp.where(atom_mask[..., None], template.atom_positions[0], 0.0)

    def take(x: Array, slots: np.ndarray) -> Array:
        index = jnp.asarray(slots)[residue_type].reshape(len(residue_type), -1)
        index = index.reshape(index.shape + (1,) * (x.ndim - 2))
        return jnp.take_along_axis(x, index, axis=1)

    return TemplateTokens(
        **described,
        has_pseudo_beta=take(atom_mask, _PSEUDO_BETA_SLOT)[:, 0],
        has_frame=jnp.all(take(atom_mask, _FRAME_SLOTS), axis=1),
        places=Places(
            pseudo_beta=take(positions, _PSEUDO_BETA_SLOT)[:, 0],
            frames=backbone_frames(positions, jnp.asarray(_FRAME_SLOTS)[residue_type]),
        ),
    )


def measure(
    rows: TemplateTokens,
    columns: TemplateTokens,
    bins: DistanceBins,
    conventions: Conventions,
) -> MeasuredRows:
    """Distances and directions of pairs of tokens, where or not there is a template."""
    here, there = rows.places, columns.places
    if isinstance(here, MeasuredRows):
        return here
    assert isinstance(there, Places), "both are measured or both are places"
    distances = one_hot_distances(here.pseudo_beta, there.pseudo_beta, bins)
    directions = backbone_directions(here.frames, there.frames)
    if conventions.self_directions == "zero":
        is_self = rows.place[:, None] == columns.place[None, :]
        directions = jnp.where(is_self[..., None], 0.0, directions)
    return MeasuredRows(distances, directions)


class SingleTemplateEmbedder(hk.Module):
    """One template in the light of the query. SI Algorithm 16, lines 1-11."""

    def __init__(
        self,
        config: settings.TemplateEmbedder,
        conventions: Conventions,
        runtime: Runtime,
        *,
        name: str,
    ) -> None:
        super().__init__(name=name)
        self.config, self.conventions, self.runtime = config, conventions, runtime

    def __call__(
        self,
        template: AnyTemplates,
        pair: Float[Array, "n n cz"],
        token_mask: Bool[Array, "n"],
        asym_id: Int[Array, "n"],
    ) -> Float[Array, "n n c"]:
        config = self.config
        tokens = read_template(template, asym_id, self.conventions, pair.dtype)
        embedded = map_rows(
            lambda pair, rows: self._embed_features(pair, rows, tokens),
            self.runtime.rows_at_once(len(pair)),
            pair,
            tokens,
        )
        pair_mask = token_mask[:, None] & token_mask[None, :]

        def block(pair: Array) -> Array:
            return PairUpdate(
                config.num_heads, config.transition_factor, self.runtime, name="pair"
            )(pair, pair_mask)

        if config.num_blocks:
            stack = hk_experimental.layer_stack(config.num_blocks, name="blocks")
            embedded = stack(block)(embedded)  # lines 9-10
        return LayerNorm(name="output_norm")(embedded)  # line 11

    @hk.transparent
    def _embed_features(
        self,
        pair: Float[Array, "r n cz"],
        rows: TemplateTokens,
        columns: TemplateTokens,
    ) -> Float[Array, "r n c"]:
        """Lines 1-8; the projection of a concatenation is a sum of projections."""
        dtype, num_channels = pair.dtype, self.config.num_channels
        same_chain = rows.asym_id[:, None] == columns.asym_id[None, :]

        def both(row: Bool[Array, "r"], column: Bool[Array, "n"]) -> Bool[Array, "r n"]:
            return row[:, None] & column[None, :] & same_chain

        def linear(x: Array, name: str) -> Array:
            return Linear(num_channels, name=name, init="relu")(x.astype(dtype))

        def scalar(x: Array, name: str) -> Array:
            return ScalarEmbedding(num_channels, name=name)(x.astype(dtype))

        have_beta = both(rows.has_pseudo_beta, columns.has_pseudo_beta)
        have_frame = both(rows.has_frame, columns.has_frame)
        distances, directions = measure(
            rows, columns, self.config.distance_bins, self.conventions
        )
        distances = jnp.where(have_beta[..., None], distances, 0.0)
        directions = jnp.where(have_frame[..., None], directions, 0.0).astype(dtype)
        total = linear(distances, "embed_distance")
        total += scalar(have_beta, "embed_pseudo_beta_mask")
        total += linear(columns.classes, "embed_column_type")[None, :]
        total += linear(rows.classes, "embed_row_type")[:, None]
        for i, axis in enumerate("xyz"):
            total += scalar(directions[..., i], f"embed_direction_{axis}")
        total += scalar(have_frame, "embed_frame_mask")
        return total + linear(LayerNorm(name="pair_norm")(pair), "embed_pair")


class TemplateEmbedder(hk.Module):
    """SI Algorithm 16. Absent templates count: all slots enter the mean."""

    def __init__(
        self,
        config: settings.TemplateEmbedder,
        conventions: Conventions,
        runtime: Runtime,
        *,
        name: str,
    ) -> None:
        super().__init__(name=name)
        self.config, self.conventions, self.runtime = config, conventions, runtime

    def __call__(
        self,
        templates: AnyTemplates,
        pair: Float[Array, "n n cz"],
        token_mask: Bool[Array, "n"],
        asym_id: Int[Array, "n"],
    ) -> Float[Array, "n n cz"]:
        """The pair representation with the update added."""
        num_tokens = pair.shape[0]
        templates = jax.tree.map(jnp.asarray, templates)
        embedder = SingleTemplateEmbedder(
            self.config, self.conventions, self.runtime, name="template"
        )

        def embed(template: AnyTemplates) -> Float[Array, "n n c"]:
            return embedder(template, pair, token_mask, asym_id)

        if hk.running_init():
            total = embed(_template(templates, 0))
        else:
            shape = (num_tokens, num_tokens, self.config.num_channels)
            total = _sum_templates(embed, templates, jnp.zeros(shape, pair.dtype))
        num_templates = templates.residue_type.shape[0]
        output = Linear(pair.shape[-1], name="output", init="relu")

        def add(rows: Array, total: Float[Array, "r n c"]) -> Array:
            mean = total / (1e-7 + num_templates)  # line 13
            return rows + output(jax.nn.relu(mean))  # line 14

        chunk = self.runtime.rows_at_once(num_tokens)
        return update_rows(add, chunk, pair, total)


def _template(templates: AnyTemplates, index: Array | int) -> AnyTemplates:
    """One template, its axis kept."""
    return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, index, 1), templates)


def _sum_templates(
    embed: Callable[[AnyTemplates], Array], templates: AnyTemplates, total: Array
) -> Float[Array, "n n c"]:
    """Lines 6-12. Templates equal to the one before, as absent ones are, add to its
    weight."""
    weights = _lengths_of_runs(_equal_to_previous(templates))

    def step(total: Array, index: Array) -> tuple[Array, None]:
        weight = weights[index]

        def add(total: Array) -> Array:
            return total + weight.astype(total.dtype) * embed(
                _template(templates, index)
            )

        return hk.cond(in_any_item(weight > 0), add, lambda x: x, total), None

    num_templates = templates.residue_type.shape[0]
    return hk.scan(step, total, jnp.arange(num_templates))[0]


def _equal_to_previous(templates: AnyTemplates) -> Bool[Array, "t"]:
    """The first is equal to none."""
    same = [
        jnp.all(x[1:] == x[:-1], axis=tuple(range(1, x.ndim)))
        for x in jax.tree.leaves(templates)
    ]
    return jnp.append(jnp.zeros(1, bool), jnp.all(jnp.stack(same), axis=0))


def _lengths_of_runs(is_equal: Bool[Array, "t"]) -> Int[Array, "t"]:
    """How many templates from here on are equal; 0 for those counted before."""

    def step(following: Array, is_equal: Array) -> tuple[Array, Array]:
        length = following + 1
        return jnp.where(is_equal, length, 0), jnp.where(is_equal, 0, length)

    return jax.lax.scan(step, jnp.int32(0), is_equal, reverse=True)[1]

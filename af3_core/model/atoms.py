"""Atoms in windows: conditioning, encoder and decoder. SI Algorithms 5-7.

Atoms lie in windows of 32 queries with 128 keys around them. What depends on the
conformers and on the trunk alone is an `AtomCondition`, made once per prediction;
encoder and decoder run on samples of noisy positions, the leading axis `b`.
"""

from dataclasses import dataclass

import haiku as hk
import haiku.experimental as hk_experimental
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from af3_core.model import config as settings
from af3_core.model.batch import AtomWindows, Batch, Gather
from af3_core.model.conditioned import (
    ConditionedTransition,
    adaptive_norm,
    gated_output,
)
from af3_core.model.config import Conventions, Runtime
from af3_core.model.primitives import (
    LayerNorm,
    Linear,
    gather,
    map_rows,
    mean_where,
)
from kernels import Mask, StackedBias, attention

# Matrix products whose inputs are positions in Å or whose outputs are: TensorFloat-32
# would round them to a few hundredths of an Å.
_HIGHEST = jax.lax.Precision.HIGHEST
WINDOWS_AT_ONCE = 2048
"""Of all samples, whose keys are gathered at once: 128 kB each for keys and values."""
_NUM_ELEMENTS, _NUM_CHARACTERS = 128, 64


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AtomCondition:
    """What encoder and decoder know of the atoms whatever their noisy positions."""

    single: Float[Array, "1 w q c"]
    """c in SI Algorithm 5."""
    pair: Float[Array, "w q k cp"]
    """p in SI Algorithm 5."""
    mask: Bool[Array, "w q"]
    keys: Bool[Array, "w k"] | None
    """Keys that may be attended; None for all, padding included."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EncodedAtoms:
    """What SI Algorithm 5 returns."""

    tokens: Float[Array, "b n c"]
    skip: Float[Array, "b w q ca"]


class AtomConditioning(hk.Module):
    """SI Algorithm 5, lines 1-14.

    Differs from the paper: the charge enters as its arsinh; see also
    `same_conformer`.
    """

    def __init__(
        self,
        num_channels: int,
        num_pair_channels: int,
        conventions: Conventions,
        *,
        name: str,
    ) -> None:
        super().__init__(name=name)
        self.num_channels, self.num_pair_channels = num_channels, num_pair_channels
        self.conventions = conventions

    def __call__(
        self,
        batch: Batch,
        trunk_single: Float[Array, "n cs"] | None = None,
        for_atoms: Float[Array, "n n cp"] | None = None,
    ) -> AtomCondition:
        """`for_atoms` is what `embed_trunk_pair` makes of the pair representation."""
        windows = batch.windows
        to_queries = windows.token_atoms_to_queries
        mask = gather(to_queries, jnp.asarray(batch.predicted_atom_mask), num_axes=2)
        single = gather(to_queries, self._embed_conformers(batch), num_axes=2)
        if trunk_single is not None:
            embed = Linear(
                self.num_channels, name="embed_single", init="zeros", precision=_HIGHEST
            )
            normed = LayerNorm(name="single_norm", use_offset=False)(trunk_single)
            single = single + gather(windows.tokens_to_queries, embed(normed))  # 9

        to_pair = self.num_pair_channels
        relu = jax.nn.relu(single)
        keys = gather(windows.queries_to_keys, relu, num_axes=2)
        row = Linear(to_pair, name="embed_row")(relu)
        column = Linear(to_pair, name="embed_column")(keys)
        pair = row[:, :, None] + column[:, None, :]  # line 13
        if for_atoms is not None:
            pair = pair + _gather_pairs(windows, for_atoms)  # line 10
        pair = pair + self._embed_offsets(batch)

        hidden = Linear(to_pair, name="mlp_1", init="relu")(jax.nn.relu(pair))
        hidden = Linear(to_pair, name="mlp_2", init="relu")(jax.nn.relu(hidden))
        hidden = Linear(to_pair, name="mlp_3", init="zeros")(jax.nn.relu(hidden))
        is_key = None
        if self.conventions.padding_keys == "masked":
            is_key = gather(windows.queries_to_keys, mask, num_axes=2)
        return AtomCondition(single[None], pair + hidden, mask, is_key)  # line 14

    @hk.name_like("__call__")
    def embed_trunk_pair(self, rows: Float[Array, "r n cz"]) -> Float[Array, "r n cp"]:
        """Line 10, before it is spread over pairs of atoms."""
        normed = LayerNorm(name="pair_norm", use_offset=False)(rows)
        return Linear(
            self.num_pair_channels, name="embed_pair", init="zeros", precision=_HIGHEST
        )(normed)

    @hk.transparent
    def _embed_conformers(self, batch: Batch) -> Float[Array, "n x c"]:
        """Line 1: one projection of concatenated features is a sum of projections."""
        reference, num_channels = batch.reference, self.num_channels
        mask = jnp.asarray(reference.mask).astype(jnp.float32)[..., None]
        names = jax.nn.one_hot(reference.atom_name_chars, _NUM_CHARACTERS)
        positions = jnp.asarray(reference.positions)
        features = [
            Linear(num_channels, name="embed_position", precision=_HIGHEST)(positions),
            Linear(num_channels, name="embed_mask")(mask),
            Linear(num_channels, name="embed_element")(
                jax.nn.one_hot(reference.element, _NUM_ELEMENTS)
            ),
            Linear(num_channels, name="embed_charge")(
                jnp.arcsinh(jnp.asarray(reference.charge))[..., None]
            ),
            Linear(num_channels, name="embed_atom_name")(
                names.reshape(*names.shape[:2], -1)
            ),
        ]
        return sum(features[1:], features[0]) * mask

    @hk.transparent
    def _embed_offsets(self, batch: Batch) -> Float[Array, "w q k cp"]:
        """Lines 2-6: offsets within one conformer, Å."""
        to_pair, windows = self.num_pair_channels, batch.windows
        to_queries = windows.token_atoms_to_queries
        queries = gather(to_queries, jnp.asarray(batch.reference.positions), num_axes=2)
        keys = gather(windows.queries_to_keys, queries, num_axes=2)
        offsets = queries[:, :, None] - keys[:, None, :]  # line 2
        is_valid = same_conformer(batch, self.conventions)  # line 3
        is_valid = is_valid.astype(jnp.float32)[..., None]
        inverse = 1.0 / (1.0 + jnp.sum(jnp.square(offsets), axis=-1, keepdims=True))
        embed = Linear(to_pair, name="embed_offset", precision=_HIGHEST)
        embedded = embed(offsets) * is_valid  # line 4
        embedded += Linear(to_pair, name="embed_inverse_distance")(inverse) * is_valid
        return embedded + Linear(to_pair, name="embed_is_valid")(is_valid)  # line 6


def same_conformer(batch: Batch, conventions: Conventions) -> Bool[Array, "w q k"]:
    """Which pairs of a query and a key a network takes to share a conformer.

    Differs from the paper (and, it seems, from the intention) for AlphaFold 3: its
    weights were trained with the conformer numbers of keys read from the token × 24
    layout at the keys' places in the window layout.
    """
    windows = batch.windows
    space_uid = jnp.asarray(batch.reference.space_uid)
    queries = gather(windows.token_atoms_to_queries, space_uid, num_axes=2)
    if conventions.conformer_keys == "misread":
        keys = gather(windows.queries_to_keys, space_uid, num_axes=2)
        return queries[:, :, None] == keys[:, None, :]
    keys = gather(windows.queries_to_keys, queries, num_axes=2)
    is_atom = gather(
        windows.token_atoms_to_queries,
        jnp.asarray(batch.predicted_atom_mask),
        num_axes=2,
    )
    is_key = gather(windows.queries_to_keys, is_atom, num_axes=2)
    return (queries[:, :, None] == keys[:, None, :]) & is_key[:, None, :]


def _gather_pairs(
    windows: AtomWindows, pair: Float[Array, "n n c"]
) -> Float[Array, "w q k c"]:
    """The value of each pair of atoms' tokens."""
    rows, columns = windows.tokens_to_queries, windows.tokens_to_keys
    index = pair.shape[0] * rows.index[:, :, None] + columns.index[:, None, :]
    mask = rows.mask[:, :, None] & columns.mask[:, None, :]
    return gather(Gather(index, mask), pair, num_axes=2)


class AtomPairBias(hk.Module):
    """Attention biases of all blocks of a transformer. SI Algorithm 24, line 8."""

    def __init__(self, config: settings.AtomTransformer, *, name: str) -> None:
        super().__init__(name=name)
        self.config = config

    def __call__(
        self, pair: Float[Array, "w q k cp"]
    ) -> Float[Array, "blocks w h q k"]:
        heads = (self.config.num_blocks, self.config.num_heads)
        normed = LayerNorm(name="norm", use_offset=False)(pair)
        return jnp.transpose(Linear(heads, name="project")(normed), (3, 0, 4, 1, 2))


class AtomAttention(hk.Module):
    """Attention of windows of atoms, conditioned. SI Algorithm 24.

    Differs from the paper: queries and keys are normalised by two adaptive layer
    norms, and keys that are padding are attended with value 0, not masked, unless the
    network's conventions say otherwise.
    """

    def __init__(self, num_heads: int, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.num_heads, self.runtime = num_heads, runtime

    def __call__(
        self,
        x: Float[Array, "b w q c"],
        condition: Float[Array, "1 w q c"],
        bias: StackedBias,  # [w h q k]
        queries_to_keys: Gather,
        keys: Bool[Array, "w k"] | None = None,
    ) -> Float[Array, "b w q c"]:
        num_channels = x.shape[-1]
        heads = (self.num_heads, num_channels // self.num_heads)
        x_queries = adaptive_norm(x, condition, name="query_norm")
        x_keys = adaptive_norm(x, condition, name="key_norm")
        query = Linear(heads, name="q", use_bias=True)
        key, value = (Linear(heads, name=name) for name in ("k", "v"))
        gate = Linear(num_channels, name="gate", init="zeros")

        def attend(x_queries: Array, x_keys: Array) -> Array:
            q = query(x_queries)
            # Projected before the move to keys, where each atom appears four times.
            k, v = (
                gather(queries_to_keys, project(x_keys), axis=1, num_axes=2)
                for project in (key, value)
            )
            return attention(
                q,
                k,
                v,
                bias=bias,
                mask=None if keys is None else Mask(keys=keys[None]),
                gate=gate(x_queries).reshape(q.shape),
                backend=self.runtime.attention_backend,
            )

        attended = map_rows(attend, _samples_at_once(x), x_queries, x_keys)
        return gated_output(attended.reshape(x.shape), condition, num_channels)


def _samples_at_once(x: Float[Array, "b w q c"]) -> int:
    num_samples, num_windows = x.shape[:2]
    # As many as divide all: of others, some would be computed twice.
    divisors = [n for n in range(1, num_samples + 1) if num_samples % n == 0]
    return max([n for n in divisors if n * num_windows <= WINDOWS_AT_ONCE], default=1)


class AtomTransformer(hk.Module):
    """SI Algorithm 7: SI Algorithm 23 among the atoms of a window."""

    def __init__(
        self, config: settings.AtomTransformer, runtime: Runtime, *, name: str
    ) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(
        self,
        x: Float[Array, "b w q c"],
        condition: AtomCondition,
        bias: Float[Array, "blocks w h q k"],
        queries_to_keys: Gather,
    ) -> Float[Array, "b w q c"]:
        config, single = self.config, condition.single

        def block(x: Array, index: Array) -> tuple[Array, None]:
            # Read where it lies: as an input of the stack, each would be copied first.
            own_bias = StackedBias(bias, index)
            x = x + AtomAttention(config.num_heads, self.runtime, name="attention")(
                x, single, own_bias, queries_to_keys, condition.keys
            )
            transition = ConditionedTransition(
                config.transition_factor,
                samples_at_once=_samples_at_once(x),
                name="transition",
            )
            return x + transition(x, single), None

        stack = hk_experimental.layer_stack(
            config.num_blocks, with_per_layer_inputs=True, name="blocks"
        )
        return stack(block)(x, jnp.arange(config.num_blocks))[0]


class AtomEncoder(hk.Module):
    """SI Algorithm 5, lines 15-18."""

    def __init__(
        self,
        config: settings.AtomTransformer,
        num_token_channels: int,
        runtime: Runtime,
        *,
        name: str,
    ) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime
        self.num_token_channels = num_token_channels

    def __call__(
        self,
        x: Float[Array, "b w q c"],
        condition: AtomCondition,
        bias: Float[Array, "blocks w h q k"],
        batch: Batch,
    ) -> EncodedAtoms:
        windows = batch.windows
        transformer = AtomTransformer(self.config, self.runtime, name="transformer")
        x = transformer(x, condition, bias, windows.queries_to_keys)  # line 15
        skip = jnp.where(condition.mask[None, ..., None], x, 0.0)
        to_tokens = Linear(self.num_token_channels, name="to_tokens")
        mask = jnp.asarray(batch.predicted_atom_mask)[None, ..., None]

        def aggregate(skip: Array) -> Float[Array, "b n c"]:
            atoms = to_tokens(skip)
            atoms = gather(windows.queries_to_token_atoms, atoms, axis=1, num_axes=2)
            return mean_where(mask, jax.nn.relu(atoms), axis=-2)  # line 16

        return EncodedAtoms(map_rows(aggregate, _samples_at_once(skip), skip), skip)


class AtomDecoder(hk.Module):
    """SI Algorithm 6."""

    def __init__(
        self, config: settings.AtomTransformer, runtime: Runtime, *, name: str
    ) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(
        self,
        tokens: Float[Array, "b n c"],
        skip: Float[Array, "b w q ca"],
        condition: AtomCondition,
        bias: Float[Array, "blocks w h q k"],
        windows: AtomWindows,
    ) -> Float[Array, "b n x 3"]:
        mask = condition.mask[None, ..., None]
        atoms = Linear(skip.shape[-1], name="from_tokens")(tokens)
        # The token of a query slot is its index among token atoms, slots left out.
        num_slots = windows.queries_to_token_atoms.index.shape[1]
        to_queries = windows.token_atoms_to_queries
        to_tokens = Gather(to_queries.index // num_slots, to_queries.mask)
        x = jnp.where(mask, gather(to_tokens, atoms, axis=1) + skip, 0.0)  # line 1
        transformer = AtomTransformer(self.config, self.runtime, name="transformer")
        x = transformer(x, condition, bias, windows.queries_to_keys)  # line 2
        x = jnp.where(mask, x, 0.0)
        x = LayerNorm(name="norm", use_offset=False)(x)
        update = Linear(3, name="to_positions", init="zeros", precision=_HIGHEST)(x)
        return gather(windows.queries_to_token_atoms, update, axis=1, num_axes=2)

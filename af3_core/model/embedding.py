"""From features to the first single and pair representations. SI Algorithms 1-4."""

from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from af3_core.model.atoms import AtomConditioning, AtomEncoder, AtomPairBias
from af3_core.model.batch import Batch, Bonds, Tokens
from af3_core.model.config import ModelConfig, Runtime
from af3_core.model.conventions import profile_classes, residue_classes
from af3_core.model.primitives import Linear, update_rows


class InputFeatureEmbedder(hk.Module):
    """s_inputs: what the sequence and the reference conformers say of each token.

    SI Algorithm 2. Channels: residue type, profile, deletion mean, atom aggregate.
    """

    def __init__(self, config: ModelConfig, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(self, batch: Batch) -> Float[Array, "n c"]:
        config, dtype = self.config, self.runtime.float_dtype
        atoms = config.atom_encoder
        condition = AtomConditioning(
            config.atom_channels,
            config.atom_pair_channels,
            config.conventions,
            name="atom_conditioning",
        )(batch)
        bias = AtomPairBias(atoms, name="atom_pair_bias")(condition.pair)
        encoded = AtomEncoder(
            atoms, config.single_channels, self.runtime, name="atom_encoder"
        )(condition.single, condition, bias, batch)  # line 1
        alphabet, is_dna = config.conventions, batch.tokens.is_dna
        classes = residue_classes(batch.tokens.residue_type, is_dna, alphabet)
        features = [
            jax.nn.one_hot(classes, alphabet.num_residue_classes),
            profile_classes(batch.msa.profile, is_dna, alphabet),
            jnp.asarray(batch.msa.deletion_mean)[:, None],
            encoded.tokens[0],
        ]
        return jnp.concatenate([x.astype(dtype) for x in features], axis=-1)  # line 2


def relative_position_classes(
    rows: Tokens, columns: Tokens, max_index: int, max_chain: int
) -> list[Int[Array, "r n"]]:
    """The class of each pair of tokens in each one-hot of SI Algorithm 3, lines 1-9.

    In order: residue offset, token offset, same entity (0 or 1), chain offset; their
    numbers of classes are given by `num_relative_classes`.
    """

    def outer(name: str) -> tuple[Array, Array]:
        row, column = (jnp.asarray(getattr(x, name)) for x in (rows, columns))
        return row[:, None], column[None, :]

    def clipped_offset(name: str, limit: int, valid: Array) -> Array:
        row, column = outer(name)
        offset = jnp.clip(row - column + limit, 0, 2 * limit)
        return jnp.where(valid, offset, 2 * limit + 1)

    same_chain = jnp.equal(*outer("asym_id"))
    same_residue = same_chain & jnp.equal(*outer("residue_index"))
    same_entity = jnp.equal(*outer("entity_id"))
    return [
        clipped_offset("residue_index", max_index, same_chain),
        clipped_offset("token_index", max_index, same_residue),
        same_entity.astype(jnp.int32),
        # Differs from the paper: chains are told apart within an entity, not outside.
        clipped_offset("sym_id", max_chain, same_entity),
    ]


def num_relative_classes(max_index: int, max_chain: int) -> tuple[int, int, int, int]:
    """Channels of each part of the relative position encoding."""
    return 2 * max_index + 2, 2 * max_index + 2, 1, 2 * max_chain + 2


def encode_relative_positions(
    rows: Tokens, columns: Tokens, max_index: int, max_chain: int
) -> Float[Array, "r n c"]:
    """Concatenated one-hots of SI Algorithm 3, lines 1-10, before the projection."""
    classes = relative_position_classes(rows, columns, max_index, max_chain)
    sizes = num_relative_classes(max_index, max_chain)
    parts = [
        jax.nn.one_hot(x, size) if size > 1 else x[..., None].astype(jnp.float32)
        for x, size in zip(classes, sizes, strict=True)
    ]
    return jnp.concatenate(parts, axis=-1)


class RelativePositionEncoding(hk.Module):
    """SI Algorithm 3: one look-up for each pair, no one-hot is made.

    Of every combination of classes, the sum of the weights' rows is made once; there
    are fewer of them (52,272) than pairs of 230 tokens.
    """

    def __init__(self, config: ModelConfig, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(self, rows: Tokens, columns: Tokens) -> Float[Array, "r n c"]:
        table = self.table()
        limits = self.config.max_relative_index, self.config.max_relative_chain
        classes = relative_position_classes(rows, columns, *limits)
        combination = jnp.zeros((), jnp.int32)
        for index, size in zip(classes, table.shape[:-1], strict=True):
            combination = combination * size + index
        flat = table.reshape(-1, table.shape[-1])
        return jnp.take(flat, combination, axis=0, mode="clip")

    @hk.transparent
    def table(self) -> Float[Array, "residue token entity chain c"]:
        """What line 11 makes of each combination of classes."""
        limits = self.config.max_relative_index, self.config.max_relative_chain
        sizes = num_relative_classes(*limits)
        dtype, num_channels = self.runtime.float_dtype, self.config.pair_channels
        init = hk.initializers.VarianceScaling()
        weights = hk.get_parameter("weights", (sum(sizes), num_channels), dtype, init)
        weights = weights.astype(jnp.float32)
        total, first = jnp.zeros((1,) * len(sizes) + (1,), jnp.float32), 0
        for axis, size in enumerate(sizes):
            part = weights[first : first + size]
            first += size
            if size == 1:  # a flag: its vector, or nothing
                part = jnp.concatenate([jnp.zeros_like(part), part])
            others = [x for x in range(len(sizes)) if x != axis]
            total = total + jnp.expand_dims(part, others)  # line 11
        return total.astype(dtype)


def token_bond_matrix(
    bonds: Bonds, num_tokens: int, *, symmetric: bool = False
) -> Float[Array, "n n"]:
    """1 where the first token of a bond (row) meets the second (column)."""
    matrix = jnp.zeros((num_tokens, num_tokens), jnp.float32)
    for layout in (bonds.polymer_ligand, bonds.ligand_ligand):
        is_bond = jnp.all(jnp.asarray(layout.mask), axis=1)
        # A bond that is padding is written outside the matrix, that is, dropped.
        first = jnp.where(is_bond, layout.index[:, 0], num_tokens)
        matrix = matrix.at[first, layout.index[:, 1]].set(1.0, mode="drop")
    if symmetric:
        return jnp.maximum(matrix, matrix.T)
    # The published code uses the pair (0, 0) as padding and always clears it.
    return matrix.at[0, 0].set(0.0)


class PairInitialisation(hk.Module):
    """z_init without token bonds, and what is recycled. SI Algorithm 1, lines 3-4, 8.

    What recycling adds is made by the caller, row by row.
    """

    def __init__(self, config: ModelConfig, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(
        self,
        tokens: Tokens,
        single_inputs: Float[Array, "n cs"],
        previous: Float[Array, "n n c"],
        recycle: Callable[[Array], Array],
    ) -> Float[Array, "n n c"]:
        """Takes the place of `previous`; `recycle` maps its rows to what they add."""
        num_channels = self.config.pair_channels
        left = Linear(num_channels, name="left")(single_inputs)
        right = Linear(num_channels, name="right")(single_inputs)
        encode = RelativePositionEncoding(
            self.config, self.runtime, name="relative_position"
        )

        def initialise(
            rows: Array, left: Float[Array, "r c"], row_tokens: Tokens
        ) -> Array:
            encoding = encode(row_tokens, tokens)
            return left[:, None] + right[None, :] + encoding + recycle(rows)

        chunk = self.runtime.rows_at_once(len(previous))
        return update_rows(initialise, chunk, previous, left, tokens)


class BondEmbedding(hk.Module):
    """SI Algorithm 1, line 5."""

    def __init__(self, config: ModelConfig, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(
        self, bonds: Bonds, pair: Float[Array, "n n c"]
    ) -> Float[Array, "n n c"]:
        """The pair representation with the update added."""
        project = Linear(self.config.pair_channels, name="project")

        def add(rows: Array, bonded: Float[Array, "r n"]) -> Array:
            return rows + project(bonded[..., None].astype(rows.dtype))

        chunk = self.runtime.rows_at_once(len(pair))
        symmetric = self.config.conventions.bonds == "symmetric"
        matrix = token_bond_matrix(bonds, len(pair), symmetric=symmetric)
        return update_rows(add, chunk, pair, matrix)

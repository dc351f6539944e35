"""From features to the first single and pair representations. SI Algorithms 1-4."""

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from af3_core.model.atoms import AtomConditioning, AtomEncoder, AtomPairBias
from af3_core.model.batch import Batch, Bonds, Tokens
from af3_core.model.config import ModelConfig, Runtime
from af3_core.model.primitives import Linear

NUM_RESIDUE_TYPES = 31


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
            config.atom_channels, config.atom_pair_channels, name="atom_conditioning"
        )(batch)
        bias = AtomPairBias(atoms, name="atom_pair_bias")(condition.pair)
        encoded = AtomEncoder(
            atoms, config.single_channels, self.runtime, name="atom_encoder"
        )(condition.single, condition, bias, batch)  # line 1
        features = [
            jax.nn.one_hot(batch.tokens.residue_type, NUM_RESIDUE_TYPES),
            jnp.asarray(batch.msa.profile),
            jnp.asarray(batch.msa.deletion_mean)[:, None],
            encoded.tokens[0],
        ]
        return jnp.concatenate([x.astype(dtype) for x in features], axis=-1)  # line 2


def relative_position_classes(
    tokens: Tokens, max_index: int, max_chain: int
) -> list[Int[Array, "n n"]]:
    """The class of each pair of tokens in each one-hot of SI Algorithm 3, lines 1-9.

    In order: residue offset, token offset, same entity (0 or 1), chain offset; their
    numbers of classes are given by `num_relative_classes`.
    """

    def clipped_offset(x: Array, limit: int, valid: Array) -> Array:
        offset = jnp.clip(x[:, None] - x[None, :] + limit, 0, 2 * limit)
        return jnp.where(valid, offset, 2 * limit + 1)

    asym, residue = jnp.asarray(tokens.asym_id), jnp.asarray(tokens.residue_index)
    entity = jnp.asarray(tokens.entity_id)
    same_chain = asym[:, None] == asym[None, :]
    same_residue = same_chain & (residue[:, None] == residue[None, :])
    same_entity = entity[:, None] == entity[None, :]
    return [
        clipped_offset(residue, max_index, same_chain),
        clipped_offset(jnp.asarray(tokens.token_index), max_index, same_residue),
        same_entity.astype(jnp.int32),
        # Differs from the paper: chains are told apart within an entity, not outside.
        clipped_offset(jnp.asarray(tokens.sym_id), max_chain, same_entity),
    ]


def num_relative_classes(max_index: int, max_chain: int) -> tuple[int, int, int, int]:
    """Channels of each part of the relative position encoding."""
    return 2 * max_index + 2, 2 * max_index + 2, 1, 2 * max_chain + 2


def encode_relative_positions(
    tokens: Tokens, max_index: int, max_chain: int
) -> Float[Array, "n n c"]:
    """Concatenated one-hots of SI Algorithm 3, lines 1-10, before the projection."""
    classes = relative_position_classes(tokens, max_index, max_chain)
    sizes = num_relative_classes(max_index, max_chain)
    parts = [
        jax.nn.one_hot(x, size) if size > 1 else x[..., None].astype(jnp.float32)
        for x, size in zip(classes, sizes, strict=True)
    ]
    return jnp.concatenate(parts, axis=-1)


class RelativePositionEncoding(hk.Module):
    """SI Algorithm 3: rows of the weights are looked up, no one-hot is made."""

    def __init__(self, config: ModelConfig, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(self, tokens: Tokens) -> Float[Array, "n n c"]:
        limits = self.config.max_relative_index, self.config.max_relative_chain
        sizes = num_relative_classes(*limits)
        dtype, num_channels = self.runtime.float_dtype, self.config.pair_channels
        init = hk.initializers.VarianceScaling()
        weights = hk.get_parameter("weights", (sum(sizes), num_channels), dtype, init)
        weights = weights.astype(jnp.float32)
        classes = relative_position_classes(tokens, *limits)
        total, first = jnp.zeros((), jnp.float32), 0
        for index, size in zip(classes, sizes, strict=True):
            rows = weights[first : first + size]
            if size == 1:  # a flag: its vector, or nothing
                rows = jnp.concatenate([jnp.zeros_like(rows), rows])
            total, first = total + rows[index], first + size  # line 11
        return total.astype(dtype)


def token_bond_matrix(bonds: Bonds, num_tokens: int) -> Float[Array, "n n"]:
    """1 where the first token of a bond (row) meets the second (column)."""
    matrix = jnp.zeros((num_tokens, num_tokens), jnp.float32)
    for layout in (bonds.polymer_ligand, bonds.ligand_ligand):
        is_bond = jnp.all(jnp.asarray(layout.mask), axis=1)
        # A bond that is padding is written outside the matrix, that is, dropped.
        first = jnp.where(is_bond, layout.index[:, 0], num_tokens)
        matrix = matrix.at[first, layout.index[:, 1]].set(1.0, mode="drop")
    # The published code uses the pair (0, 0) as padding and always clears it.
    return matrix.at[0, 0].set(0.0)


class PairInitialisation(hk.Module):
    """z_init without token bonds. SI Algorithm 1, lines 3-4."""

    def __init__(self, config: ModelConfig, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(
        self, tokens: Tokens, single_inputs: Float[Array, "n cs"]
    ) -> Float[Array, "n n c"]:
        num_channels = self.config.pair_channels
        left = Linear(num_channels, name="left")(single_inputs)
        right = Linear(num_channels, name="right")(single_inputs)
        encoding = RelativePositionEncoding(
            self.config, self.runtime, name="relative_position"
        )(tokens)
        return left[:, None] + right[None, :] + encoding


class BondEmbedding(hk.Module):
    """SI Algorithm 1, line 5."""

    def __init__(self, config: ModelConfig, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(self, bonds: Bonds, num_tokens: int) -> Float[Array, "n n c"]:
        matrix = token_bond_matrix(bonds, num_tokens)[..., None]
        project = Linear(self.config.pair_channels, name="project")
        return project(matrix.astype(self.runtime.float_dtype))

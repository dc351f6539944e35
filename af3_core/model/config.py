"""What is computed (`ModelConfig`) and how (`Runtime`).

A checkpoint fits exactly one set of channels and blocks, so its `ModelConfig` is
stored beside it. `Runtime` may change from machine to machine without changing what
the numbers mean. Defaults of `ModelConfig` are the published values of AlphaFold 3.
Nothing here imports JAX: a plan reads what a network is, and computes nothing.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import ml_dtypes
import numpy as np
import pydantic

from af3_core.features.buckets import AF3_BUCKETS
from kernels.devices import current_device
from kernels.preferences import Preference

_FORBID_EXTRA = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True)
class AtomTransformer:
    """Sequence-local attention among atoms, SI Algorithm 7."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    num_blocks: int = 3
    num_heads: int = 4
    transition_factor: int = 2


@dataclass(frozen=True)
class DistanceBins:
    """One-hot distances, Å; the last bin also holds everything beyond."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    first: float = 3.25
    last: float = 50.75
    num_bins: int = 39


@dataclass(frozen=True)
class TemplateEmbedder:
    """SI Algorithm 16."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    num_blocks: int = 2
    num_channels: int = 64
    num_heads: int = 4
    transition_factor: int = 2
    distance_bins: DistanceBins = DistanceBins()


@dataclass(frozen=True)
class MsaModule:
    """SI Algorithm 8."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    num_blocks: int = 4
    max_rows: int = 1024
    num_channels: int = 64
    num_heads: int = 8
    num_outer_channels: int = 32
    num_pair_heads: int = 4
    transition_factor: int = 4


@dataclass(frozen=True)
class Pairformer:
    """SI Algorithm 17."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    num_blocks: int = 48
    num_pair_heads: int = 4
    num_single_heads: int = 16
    transition_factor: int = 4


@dataclass(frozen=True)
class DiffusionTransformer:
    """SI Algorithm 23."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    num_blocks: int = 24
    super_block_size: int = 4
    """Blocks whose pair biases are one projection in the published weights."""
    num_heads: int = 16
    num_channels: int = 768
    transition_factor: int = 2


@dataclass(frozen=True)
class Diffusion:
    """SI Algorithm 20."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    atom_encoder: AtomTransformer = AtomTransformer()
    transformer: DiffusionTransformer = DiffusionTransformer()
    atom_decoder: AtomTransformer = AtomTransformer()


@dataclass(frozen=True)
class Sampler:
    """SI Algorithm 18 and the noise schedule of SI 3.7.1. Noise levels are in Å."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    num_steps: int = 200
    num_samples: int = 5
    gamma_0: float = 0.8
    gamma_min: float = 1.0
    noise_scale: float = 1.003
    step_scale: float = 1.5
    sigma_max: float = 160.0
    """In units of the standard deviation of the data, as is sigma_min."""
    sigma_min: float = 0.0004
    rho: float = 7.0
    noise_buckets: tuple[int, ...] = AF3_BUCKETS
    """Padded sizes in tokens for one of which noise is drawn, whatever the padding."""


@dataclass(frozen=True)
class ConfidenceHead:
    """SI Algorithm 31. Errors are in Å."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    pairformer: Pairformer = Pairformer(num_blocks=4)
    distance_bins: DistanceBins = DistanceBins()
    max_error: float = 31.0
    num_error_bins: int = 64
    num_plddt_bins: int = 50


@dataclass(frozen=True)
class DistogramHead:
    """SI 4.4. Distances in Å."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    first_break: float = 2.3125
    last_break: float = 21.6875
    num_bins: int = 64


@dataclass(frozen=True)
class Conventions:
    """What networks of this architecture read or compute differently.

    Stored features are AlphaFold 3's for every network. What a network was trained to
    see instead is made of them when they are padded (`af3_core.model.conventions`) or
    embedded. Every default is AlphaFold 3's; docs/weights.md gives the sources.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    residue_alphabet: Literal["alphafold3", "openfold3"] = "alphafold3"
    """Residue classes and their order: 31 with one N for RNA and DNA, or 32 with N,
    DN and the gap last."""
    unsearched_columns: Literal["sequence", "gap"] = "sequence"
    """What chains that no database is searched for (DNA, ligands) have in alignment
    and profile: their own sequence, or gaps in every row and a profile of zeros."""
    modified_residues: Literal["parent", "unknown"] = "parent"
    """Class of a residue that was split into atoms: its parent's, or the unknown amino
    acid's, for nucleotides too."""
    missing_template: Literal["first_class", "gap"] = "first_class"
    """Class of tokens, and of whole slots, that no template covers."""
    self_directions: Literal["rounding", "zero"] = "rounding"
    """A template frame's direction to itself: what rounding leaves of it, scaled to
    unit length, or nothing."""
    terminal_atoms: Literal["predicted", "left_out"] = "predicted"
    """OXT and OP3, the atoms that only the ends of a chain have."""
    bonds: Literal["directed", "symmetric"] = "directed"
    """Token bonds: from first to second token as listed, or both ways and only between
    tokens of one atom."""
    conformer_keys: Literal["misread", "exact"] = "misread"
    """Which keys share a query's conformer; see `same_conformer` in atoms.py."""
    padding_keys: Literal["attended", "masked"] = "attended"
    """Keys of an atom window that hold no atom: attended with value 0, or masked."""
    noise_frequencies: Literal["constant", "parameter"] = "constant"
    """Frequencies and phases of the noise level's Fourier embedding: drawn from a fixed
    seed, or part of the checkpoint."""
    atom_confidences: Literal["by_slot", "by_rank"] = "by_slot"
    """Which output of the per-atom heads is an atom's: that of its slot in the token's
    layout, or of its place among the atoms that are there."""
    unknown_nucleotides: Literal["own_atom", "first_atom"] = "own_atom"
    """Where the confidence head sees an unknown nucleotide: at its own representative
    atom, or at the first atom of the whole complex."""
    frames: Literal["conformer", "predicted"] = "conformer"
    """What decides whether a token of one atom has a frame, and so counts in pTM: the
    reference conformer of its ligand, once, or the predicted positions."""

    @property
    def num_residue_classes(self) -> int:
        """Channels of a residue's class and of a profile."""
        return 31 if self.residue_alphabet == "alphafold3" else 32


@dataclass(frozen=True)
class ModelConfig:
    """What is computed. Every default is the published value."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    num_recycles: int = 10
    """Passes through the trunk after the first."""
    recycle_tolerance: float | None = None
    """Recycling stops when a pass changes the pair representation by less than this
    share of it (root mean squares over real pairs). None: never, as published."""
    single_channels: int = 384
    pair_channels: int = 128
    atom_channels: int = 128
    atom_pair_channels: int = 16
    max_relative_index: int = 32
    max_relative_chain: int = 2
    atom_encoder: AtomTransformer = AtomTransformer()
    templates: TemplateEmbedder = TemplateEmbedder()
    msa: MsaModule = MsaModule()
    pairformer: Pairformer = Pairformer()
    diffusion: Diffusion = Diffusion()
    sampler: Sampler = Sampler()
    confidence: ConfidenceHead = ConfidenceHead()
    distogram: DistogramHead = DistogramHead()
    conventions: Conventions = Conventions()


_DTYPES = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
PAIR_CHUNKS = {"cpu": 2**12}
"""Pairs of tokens projected at once: on a CPU what stays in its caches (128 channels
in float32 are 2 MB)."""
ACCELERATOR_PAIR_CHUNK = 2**21
"""Enough to fill an accelerator, and little beside the whole of a large complex."""


@dataclass(frozen=True)
class Runtime:
    """How it is computed.

    Only `dtype` changes numbers beyond the order of summation.
    """

    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of activations in trunk and confidence head; diffusion is always float32."""
    attention_backend: Preference = "auto"
    pair_chunk: int | None = None
    """Pairs of tokens that are projected at once, in whole rows. Some 3 kB of memory
    each; a batch of fewer pairs is computed in one piece. None: `PAIR_CHUNKS`."""
    cached_bias_tokens: int = 1024
    """Up to this many tokens the pair biases of all diffusion blocks are kept in
    memory (1.5 kB per pair of tokens) instead of projected in every step."""
    grouped_bias_tokens: int = 6144
    """Up to this many, those of a super block are projected together (0.26 kB per pair
    of tokens); beyond, one block after the other reads the pairs for its own."""
    one_sample_at_a_time: bool = False
    """Denoise one sample after another instead of all together, in less memory."""
    return_embeddings: bool = False
    return_distogram: bool = False
    return_confidence_logits: bool = False

    @property
    def float_dtype(self) -> np.dtype:
        """`dtype` as NumPy and JAX know it."""
        return _DTYPES[self.dtype]

    def rows_at_once(self, num_tokens: int, share: int = 1) -> int:
        """Rows of the pair representation in a chunk, on the current device.

        Of `pair_chunk`, only one part in `share` is used: for what is float32 or has
        many channels.
        """
        chunk = self.pair_chunk
        if chunk is None:
            platform = current_device().platform
            chunk = PAIR_CHUNKS.get(platform, ACCELERATOR_PAIR_CHUNK)
        return max(1, chunk // (share * num_tokens))


_MODEL_CONFIG = pydantic.TypeAdapter(ModelConfig)


def config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """Plain nested dicts of numbers and words, fit for JSON.

    Conventions and a tolerance are listed where they are not AlphaFold 3's, so that a
    digest of the result stays what it is when one is added.
    """
    values = dataclasses.asdict(config)
    if config.recycle_tolerance is None:
        del values["recycle_tolerance"]
    published = dataclasses.asdict(Conventions())
    own = values.pop("conventions")
    different = {name: own[name] for name in own if own[name] != published[name]}
    return {**values, "conventions": different} if different else values


def config_from_dict(values: Mapping[str, Any]) -> ModelConfig:
    """The inverse of `config_to_dict`; what is absent takes its published value.

    Raises ValueError that names an unknown key or an unfitting value.
    """
    return _MODEL_CONFIG.validate_python(dict(values))

"""A model and a job small enough to run in a test."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp

from af3_core.chemistry.dictionary import Components
from af3_core.features.featurise import featurise, reference_positions
from af3_core.job import Job, Ligand, Polymer
from af3_core.model.batch import Batch, pad
from af3_core.model.config import (
    AtomTransformer,
    ConfidenceHead,
    Diffusion,
    DiffusionTransformer,
    ModelConfig,
    MsaModule,
    Pairformer,
    Runtime,
    Sampler,
    TemplateEmbedder,
)
from af3_core.model.parameters import parameter_shapes
from tests.af3_core.model.stages import random_like

FLOAT32 = Runtime(dtype="float32", attention_backend="naive")

_ATOMS = AtomTransformer(num_blocks=1, num_heads=2)
_PAIRFORMER = Pairformer(
    num_blocks=2, num_pair_heads=2, num_single_heads=2, transition_factor=2
)
TINY = ModelConfig(
    num_recycles=1,
    single_channels=16,
    pair_channels=8,
    atom_channels=16,
    atom_pair_channels=4,
    atom_encoder=_ATOMS,
    templates=TemplateEmbedder(num_blocks=1, num_channels=8, num_heads=2),
    msa=MsaModule(
        num_blocks=1,
        max_rows=8,
        num_channels=8,
        num_heads=2,
        num_outer_channels=4,
        num_pair_heads=2,
        transition_factor=2,
    ),
    pairformer=_PAIRFORMER,
    diffusion=Diffusion(
        atom_encoder=_ATOMS,
        transformer=DiffusionTransformer(
            num_blocks=2, super_block_size=1, num_heads=2, num_channels=16
        ),
        atom_decoder=_ATOMS,
    ),
    sampler=Sampler(num_steps=4, num_samples=2),
    confidence=ConfidenceHead(pairformer=replace(_PAIRFORMER, num_blocks=1)),
)


@functools.cache
def random_params(config: ModelConfig = TINY) -> dict[str, dict[str, jax.Array]]:
    """Parameters of the whole model."""
    return random_like(parameter_shapes(config))


@functools.cache
def small_batch(num_tokens: int = 32, msa_rows: int = 8) -> Batch:
    """A peptide with an alignment, twice, and a ligand, padded."""
    rows = ("GSHMKWVTFISL", "GSHMKWLTFIAL", "-SHMKWVTF--L")
    msa = "".join(f">{i}\n{row}\n" for i, row in enumerate(rows))
    peptide = Polymer(
        "protein", ("A", "B"), rows[0], unpaired_msa=msa, paired_msa="", templates=()
    )
    job = Job("small", (1,), (peptide, Ligand(("C",), codes=("GOL",))))
    components = Components.load()
    features = featurise(job, components)
    positions = reference_positions(features, components, seed=1)
    batch = pad(features, positions, num_tokens, msa_rows=msa_rows)
    return jax.tree.map(jnp.asarray, batch)

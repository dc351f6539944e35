"""Known structures as training examples, and a network that learns in a test."""

import functools
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from af3_core.chemistry.dictionary import Components
from af3_core.features.featurise import featurise, reference_positions
from af3_core.features.values import Features
from af3_core.inputs.alphafold3 import read_alphafold3
from af3_core.inputs.entities import Links
from af3_core.inputs.entry import Entry
from af3_core.model.config import (
    ConfidenceHead,
    Diffusion,
    DiffusionTransformer,
    Pairformer,
)
from af3_core.model.parameters import parameter_shapes
from af3_core.structures.structure import Structure
from af3_core.structures.structure_file import parse_structure
from af3_core.training.examples import Example, make_example
from af3_core.training.jobs import job_for
from tests.af3_core.model.stages import random_like
from tests.af3_core.model.tiny import TINY

REFERENCES = Path(__file__).resolve().parents[3] / "config/demo/references"

_PAIRFORMER = Pairformer(
    num_blocks=1, num_pair_heads=1, num_single_heads=2, transition_factor=1
)
SMALL = replace(
    TINY,
    templates=replace(TINY.templates, num_blocks=0),
    pairformer=_PAIRFORMER,
    diffusion=Diffusion(
        atom_encoder=TINY.atom_encoder,
        transformer=DiffusionTransformer(
            num_blocks=1,
            super_block_size=1,
            num_heads=2,
            num_channels=16,
            transition_factor=1,
        ),
        atom_decoder=TINY.atom_encoder,
    ),
    confidence=ConfidenceHead(pairformer=_PAIRFORMER),
)
"""As quick to compile as a whole network can be."""


def text_of(name: str) -> str:
    """The mmCIF of a reference structure of the demo."""
    return (REFERENCES / f"{name}.cif").read_text(encoding="utf-8")


@functools.cache
def structure_for(name: str) -> Structure:
    """A reference structure of the demo."""
    return parse_structure(text_of(name), name)


@functools.cache
def features_for(name: str) -> Features:
    """The features of its sequence, without alignments."""
    document = job_for(text_of(name), name, (1,), search=False)
    entry = Entry(name, "", document, "a job")
    job = read_alphafold3(entry, Links(REFERENCES))
    return featurise(job, Components.load())


@functools.cache
def example_for(name: str, num_tokens: int) -> Example:
    """Structure and features, padded."""
    features = features_for(name)
    reference = reference_positions(features, Components.load(), seed=1)
    structure = structure_for(name)
    return make_example(features, reference, structure, num_tokens, msa_rows=4)


def small_parameters() -> dict[str, dict[str, jax.Array]]:
    """Parameters of `SMALL`, float32; drawn, for initialising takes a minute."""
    return random_like(parameter_shapes(SMALL))


def assert_same(a: object, b: object) -> None:
    """Equal trees, bit by bit."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)

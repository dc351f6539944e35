"""A predicted complex of every kind of molecule, with made-up numbers."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from af3_core.chemistry.dictionary import Components
from af3_core.contracts import PredictionRow
from af3_core.features.values import Features
from af3_core.scores.confidence import quantise_contact_probs, quantise_pae
from af3_core.structures.mmcif import write_mmcif
from af3_core.structures.mmcif_origin import foldmill_origin
from af3_core.structures.structure import Structure, structure_of
from tests.af3_core.features.feature_examples import case, featurised, read_job

ORIGIN = foldmill_origin("0.0.0", "made up", "untrained")


@dataclass(frozen=True)
class Example:
    """A job's features and one sample of it."""

    features: Features
    components: Components
    structure: Structure
    plddt: np.ndarray
    row: PredictionRow


@cache
def predicted(name: str) -> Example:
    """A reference case with random positions and confidences."""
    features, _ = featurised(case(name))
    random = np.random.default_rng(0)
    num_atoms, n = len(features.atoms.atom_name), features.num_tokens
    num_chains = len(features.chains.chain_id)
    plddt = random.uniform(0, 100, num_atoms).astype(np.float32)
    square = random.uniform(0, 1, (num_chains, num_chains))
    positions = random.normal(0, 20, (num_atoms, 3)).astype(np.float32)
    row = PredictionRow(
        job_id="0" * 16,
        seed=1,
        sample=0,
        positions=positions.ravel(),
        atom_plddt=plddt,
        pae=quantise_pae(random.uniform(0, 32, (n, n))).ravel(),
        contact_probs=quantise_contact_probs(random.uniform(0, 1, (n, n))).ravel(),
        ptm=0.123,
        iptm=None if num_chains == 1 else 0.456,
        ranking_score=0.789,
        has_clash=True,
        fraction_disordered=0.005,
        chain_ptm=square[0],
        chain_iptm=np.repeat(np.nan, num_chains),
        chain_pair_iptm=square.ravel(),
        chain_pair_actifptm=np.repeat(np.nan, num_chains**2),
        chain_pair_pae_min=(32 * square).ravel(),
        chain_pair_pde_min=np.zeros(num_chains**2),
        chain_pair_pde_mean=np.zeros(num_chains**2),
        provenance="{}",
    )
    components = Components.load(read_job(case(name)).user_ccd)
    structure = structure_of(features, positions)
    return Example(features, components, structure, plddt, row)


def mmcif_of(example: Example, **changes: object) -> str:
    """The example's mmCIF; `changes` replace fields of the structure."""
    return write_mmcif(
        replace(example.structure, **changes),
        example.plddt,
        example.features.chains,
        example.components,
        name="example",
        origin=ORIGIN,
        bonds=example.features.bonded_atoms,
    )

"""Contacts, chains, ranks, and rows that fit the contracts."""

import numpy as np
import pytest

from af3_core.chemistry.dictionary import Components
from af3_core.contracts import (
    INTERFACES,
    SAMPLE_SCORES,
    InterfaceRow,
    PredictionRow,
    SampleScoreRow,
)
from af3_core.features.featurise import featurise
from af3_core.features.values import Features
from af3_core.job import Job, Ligand, Polymer
from af3_core.scores.interfaces import Units, contact_pairs, find_units
from af3_core.scores.ranking import rank_samples
from af3_core.scores.rows import Reference, read_sample, score_prediction
from af3_core.structures.clashes import clashing_pairs
from af3_core.structures.covalent import covalent_geometry
from af3_core.structures.structure import Chemistry, Structure, chemistry_of
from tests.structures import dimer

type Scored = tuple[SampleScoreRow, list[InterfaceRow]]

CHEMISTRY = Chemistry(Components.load())


def units_of(structure: Structure) -> Units:
    """Units with tokens and confidences of no interest."""
    count = structure.num_atoms
    return find_units(structure, np.zeros(count, int), np.zeros(count))


def test_contacts_are_counted_by_residue() -> None:
    structure = dimer([12.0, 0.0, 0.0])
    first, second = np.split(structure.positions, 2)
    near = np.linalg.norm(first[:, None] - second[None], axis=-1) <= 5.0
    residues = structure.residue_id[: len(first)]
    pairs = {(int(residues[i]), int(residues[j])) for i, j in np.argwhere(near)}
    assert pairs
    assert len(contact_pairs(structure, units_of(structure))) == 2 * len(pairs)


def test_contacts_of_ligands_are_counted_by_atom() -> None:
    structure = dimer([12.0, 0.0, 0.0])
    kind = np.where(structure.chain_id == "B", "ligand", "protein")
    ligand = Structure(**(vars(structure) | {"kind": kind}))
    by_residue = contact_pairs(structure, units_of(structure))
    assert len(contact_pairs(ligand, units_of(ligand))) > len(by_residue)


def test_a_superposed_copy_clashes_everywhere() -> None:
    structure = dimer([0.1, 0.0, 0.0])
    geometry = covalent_geometry(structure, CHEMISTRY)
    assert len(clashing_pairs(structure, geometry)) > 1000


def test_ranks_begin_with_the_highest_score() -> None:
    scores = np.array([0.1, 0.5, np.nan, 0.5, 0.9])
    assert rank_samples(scores).tolist() == [4, 2, 5, 3, 1]


def made_up() -> tuple[PredictionRow, Features]:
    """A sample of two peptides, an ion and a SMILES ligand, as it never was."""
    job = Job(
        name="mixed",
        seeds=(1,),
        entities=(
            Polymer(
                *("protein", ("A", "B"), "GSHMK"),
                unpaired_msa="",
                paired_msa="",
                templates=(),
            ),
            Ligand(("C",), codes=("MG",)),
            Ligand(("D",), smiles="CC(=O)Oc1ccccc1C(=O)O"),
        ),
    )
    components = Components.load()
    features = featurise(job, components)
    tokens, atoms, chains = features.num_tokens, len(features.atoms.atom_name), 4
    random = np.random.default_rng(0)
    pairs = random.uniform(size=chains * chains)
    prediction = PredictionRow(
        job_id="0" * 16,
        seed=1,
        sample=0,
        positions=random.normal(scale=8, size=3 * atoms),
        atom_plddt=np.repeat(50.0, atoms),
        pae=random.integers(0, 300, tokens * tokens),
        contact_probs=np.zeros(tokens * tokens, np.uint8),
        ranking_score=0.5,
        ptm=0.5,
        iptm=None,
        has_clash=False,
        fraction_disordered=0.0,
        chain_ptm=np.repeat(0.5, chains),
        chain_iptm=np.repeat(np.nan, chains),
        chain_pair_iptm=pairs,
        chain_pair_actifptm=np.where(pairs < 0.5, np.nan, pairs),
        chain_pair_pae_min=30 * pairs,
        chain_pair_pde_min=30 * pairs,
        chain_pair_pde_mean=30 * pairs,
        provenance="{}",
    )
    return prediction, features


@pytest.fixture(scope="module")
def scored() -> Scored:
    """Rows of the made-up sample."""
    prediction, features = made_up()
    return score_prediction(prediction, "mixed", features, chemistry_of(features))


def test_a_reference_fills_its_columns(
    scored: Scored,
) -> None:
    prediction, features = made_up()
    structure = read_sample(prediction, features).structure
    reference = Reference("itself", structure)
    row, interfaces = score_prediction(
        prediction, "mixed", features, chemistry_of(features), reference=reference
    )
    assert row.reference == "itself" and row.ligand_rmsd < 0.01
    assert (row.tm_score, row.lddt) == pytest.approx((1.0, 1.0))
    assert interfaces[0].dockq == pytest.approx(1.0)
    assert scored[0].tm_score is None and scored[1][0].dockq is None


def test_rows_fit_the_contracts(
    scored: Scored,
) -> None:
    row, interfaces = scored
    SAMPLE_SCORES.check(SAMPLE_SCORES.table([row]), where="memory")
    INTERFACES.check(INTERFACES.table(interfaces), where="memory")


def test_every_ordered_pair_of_chains_has_a_row(
    scored: Scored,
) -> None:
    row, interfaces = scored
    assert row.chain_ids == ["A", "B", "C", "D"]
    assert row.chain_plddt.tolist() == [50.0] * 4
    pairs = {(i.chain_1, i.chain_2) for i in interfaces}
    assert len(pairs) == len(interfaces) == 12
    by_pair = {(i.chain_1, i.chain_2): i for i in interfaces}
    assert by_pair["A", "B"].ipsae is not None
    assert by_pair["A", "C"].ipsae is None

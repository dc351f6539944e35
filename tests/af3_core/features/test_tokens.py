import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from af3_core.chemistry.dictionary import Components
from af3_core.features.assembly import assemble
from af3_core.features.buckets import AF3_BUCKETS, bucket_for
from af3_core.features.chains import chains_of
from af3_core.features.tokens import TokenTable, tokenise
from af3_core.job import chain_id_at
from tests.af3_core.features.feature_examples import job, ligand, protein, rna, smiles


def tokens_of(*entities, bonds: str = "") -> TokenTable:
    components = Components()
    return tokenise(assemble(job(*entities, bonds=bonds), components), components)


def names_of(table: TokenTable) -> str:
    return " ".join(atom.name for atom in table.atoms)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(60)))
def test_chains_are_ordered_by_their_ids_whatever_the_input_says(order) -> None:
    ids = [chain_id_at(index) for index in range(60)]
    entities = [ligand("MG", ids=(ids[index],)) for index in order]
    assert [chain.chain_id for chain in chains_of(job(*entities))] == ids


def test_only_the_last_residue_keeps_its_carboxyl_oxygen() -> None:
    assert names_of(tokens_of(protein("GG"))) == "N CA C O N CA C O OXT"


def test_only_the_first_nucleotide_keeps_its_third_phosphate_oxygen() -> None:
    names = names_of(tokens_of(rna("UU"))).split()
    assert names.count("OP3") == 1 and names.index("OP3") < 2


def test_a_left_out_oxygen_leaves_its_slot_empty() -> None:
    table = tokens_of(protein("GG"))
    assert table.slot_atoms[0, :6].tolist() == [0, 1, 2, 3, -1, -1]
    assert table.slot_atoms[1, :6].tolist() == [4, 5, 6, 7, 8, -1]


def test_an_unbonded_sugar_loses_its_anomeric_oxygen() -> None:
    assert "O1" not in names_of(tokens_of(ligand("NAG"))).split()


def test_a_bonded_anomeric_oxygen_stays() -> None:
    table = tokens_of(ligand("NAG", "NAG"), bonds="L.1.O1-L.2.C4")
    assert names_of(table).split().count("O1") == 1


def test_an_unknown_amino_acid_is_laid_out_as_glycine() -> None:
    assert names_of(tokens_of(protein("XG"))) == "N CA C O N CA C O OXT"


def test_smiles_atoms_are_tokens_in_the_order_of_the_string() -> None:
    table = tokens_of(smiles("OCC"))
    assert names_of(table) == "O1 C1 C2"
    assert table.is_split.all()


def test_the_atoms_of_a_modified_residue_share_a_column() -> None:
    table = tokens_of(protein("GSG", at_2="SEP"), ligand("ATP"))
    num_atoms = 10
    assert table.column[: num_atoms + 2].tolist() == [0, *[1] * num_atoms, 2]
    assert set(table.column[num_atoms + 2 :]) == {3}
    assert table.num_columns == 3 + 31


@settings(deadline=None)
@given(st.integers(1, 6000))
def test_a_bucket_is_the_smallest_that_fits(num_tokens) -> None:
    bucket = bucket_for(num_tokens)
    assert bucket >= num_tokens
    assert bucket in AF3_BUCKETS or bucket == num_tokens > max(AF3_BUCKETS)
    assert not any(num_tokens <= smaller < bucket for smaller in AF3_BUCKETS)


@pytest.mark.parametrize("sequence", ["G", "GA", "ACDEFGHIKLMNPQRSTVWY"])
def test_every_atom_has_one_slot(sequence) -> None:
    table = tokens_of(protein(sequence, "AB"))
    held = table.slot_atoms[table.slot_atoms >= 0]
    np.testing.assert_array_equal(held, np.arange(len(table.atoms)))

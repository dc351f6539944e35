import pytest

from af3_core.templates.structure import read_template_chain
from tests.af3_core.mmcif_examples import backbone, template_mmcif
from tests.structures import TEMPLATES


def xs(mmcif: str, residue: int = 0) -> dict[str, float]:
    """The x coordinate of each atom of a residue: the number of its row."""
    atoms = read_template_chain(mmcif).residues[residue].atoms
    return {name: x for name, (x, _, _) in atoms.items()}


def test_a_chain_of_the_pdb_is_read_with_name_date_and_sequence() -> None:
    chain = read_template_chain((TEMPLATES / "1ejg.cif").read_text())
    assert chain.name == "1EJG"
    assert chain.letters == "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN"


def test_unresolved_residues_are_part_of_the_sequence() -> None:
    text = template_mmcif(
        backbone("GLY", 2), sequence={1: "ALA", 2: "GLY", 3: "SEP", 4: "XYZ"}
    )
    chain = read_template_chain(text)
    assert chain.letters == "AGSX"
    assert [len(r.atoms) for r in chain.residues] == [0, 4, 0, 0]


def test_the_more_occupied_alternative_of_an_atom_is_taken() -> None:
    atoms = [*backbone("SER", 1), ("SER", "CB", 1, "A"), ("SER", "CB", 1, "B")]
    assert xs(template_mmcif(atoms, occupancies=[1, 1, 1, 1, 0.4, 0.6]))["CB"] == 5


def test_between_equal_alternatives_the_letter_decides() -> None:
    atoms = [*backbone("SER", 1), ("SER", "CB", 1, "B"), ("SER", "CB", 1, "A")]
    assert xs(template_mmcif(atoms, occupancies=[1, 1, 1, 1, 0.5, 0.5]))["CB"] == 5


def test_a_residue_of_alternatives_throughout_takes_one_letter() -> None:
    atoms = [("SER", name, 1, letter) for name in ("N", "CA") for letter in "AB"]
    occupancies = [0.9, 0.1, 0.2, 0.95]
    assert xs(template_mmcif(atoms, occupancies=occupancies)) == {"N": 0, "CA": 2}


def test_of_two_components_in_one_place_the_more_occupied_is_taken() -> None:
    atoms = [("PRO", "CA", 1, "A"), ("SER", "CA", 1, "B"), ("GLY", "CA", 2, ".")]
    text = template_mmcif(atoms, occupancies=[0.4, 0.6, 1.0])
    text = text.replace("A 1 101 . SER A\n", "A 1 101 . PRO A\nA 1 101 . SER A\n")
    assert read_template_chain(text).letters == "SG"


def test_selenomethionine_is_read_as_methionine() -> None:
    text = template_mmcif(backbone("MSE", 1, "SE", "CE"))
    assert read_template_chain(text).residues[0].name == "MET"
    assert xs(text)["SD"] == 4


@pytest.mark.parametrize(("first", "second"), [("NH1", "NH2"), ("NH2", "NH1")])
def test_arginine_has_nh1_nearer_to_cd(first: str, second: str) -> None:
    atoms = xs(template_mmcif(backbone("ARG", 1, "CD", first, second)))
    assert (atoms["NH1"], atoms["NH2"]) == (5, 6)


def test_only_the_first_model_is_read() -> None:
    second = "9 N . GLY A 1 101 ? 99 0 0 1 2\n"
    assert xs(template_mmcif(backbone("GLY", 1), extra=second))["N"] == 0


def test_the_sequence_comes_from_the_atoms_where_no_scheme_is_written() -> None:
    atoms = [*backbone("GLY", 3), *backbone("ALA", 5)]
    text = template_mmcif(atoms).replace("_pdbx_poly_seq_scheme", "_unused")
    assert read_template_chain(text).letters == "GA"


def test_entities_are_guessed_where_none_are_listed() -> None:
    text = template_mmcif(backbone("GLY", 1)).replace("_entity", "_unused")
    extended = text.replace(
        "_atom_site.id\n", "_atom_site.group_PDB\n_atom_site.id\n"
    ).replace("\n0 N", "\nATOM 0 N")
    rows = [f"\n{i} {name}" for i, name in ((1, "CA"), (2, "C"), (3, "O"))]
    for row in rows:
        extended = extended.replace(row, "\nATOM " + row[1:])
    assert read_template_chain(extended).letters == "G"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not mmCIF"),
        ("HEADER  A PDB FILE", "not mmCIF"),
        (template_mmcif(backbone("GLY", 1), date=None), "no release date"),
        (template_mmcif(backbone("GLY", 1), date="last-week"), "not a date"),
        (
            template_mmcif(backbone("G", 1), polymer_type="polyribonucleotide"),
            "not a protein",
        ),
        (
            template_mmcif(backbone("GLY", 1)).replace("Cartn_y", "y"),
            "Cartn_y is missing",
        ),
        (
            template_mmcif(backbone("GLY", 1)).replace("0.0 0 0", "0.0 nowhere 0"),
            "must be numbers",
        ),
        (
            template_mmcif(backbone("GLY", 1), sequence={1: "ALA"}),
            "not stand among the residues",
        ),
        (
            template_mmcif(backbone("GLY", 1))
            .replace("polymer\n", "water\n")
            .replace("_entity_poly", "_unused"),
            "one polymer chain",
        ),
    ],
)
def test_a_broken_template_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_template_chain(text)

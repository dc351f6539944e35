import json
from pathlib import Path

import gemmi
import pytest

from af3_core.templates.chain import format_chain, release_date
from af3_core.templates.entry import (
    Entry,
    chains_with_atoms,
    polymer_chains,
    read_entry,
    read_polymer,
)
from af3_core.templates.structure import Positions, read_template_chain

DATA = Path(__file__).parents[2] / "data"
STRUCTURES = DATA / "databases" / "pdb_mmcif"


def official_templates() -> dict[str, str]:
    """Text of the templates that AlphaFold 3 wrote, by entry."""
    found = {}
    for path in (DATA / "search_jobs").glob("*_data.json"):
        for entity in json.loads(path.read_text())["sequences"]:
            for template in entity.get("protein", {}).get("templates", []):
                text = template["mmcif"]
                found[text.removeprefix("data_")[:4].lower()] = text
    return found


OFFICIAL = official_templates()


def cut(text: str, author_id: str = "A") -> str:
    entry = read_entry(text)
    return format_chain(entry, read_polymer(entry, polymer_chains(entry)[author_id]))


@pytest.mark.parametrize("pdb_id", sorted(OFFICIAL))
def test_a_chain_is_written_as_alphafold_writes_it(pdb_id: str) -> None:
    assert cut((STRUCTURES / f"{pdb_id}.cif").read_text()) == OFFICIAL[pdb_id]


@pytest.mark.parametrize("pdb_id", sorted(OFFICIAL))
def test_cutting_a_chain_out_of_itself_changes_nothing(pdb_id: str) -> None:
    assert cut(OFFICIAL[pdb_id]) == OFFICIAL[pdb_id]


ATOM_ITEMS = (
    "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id "
    "label_entity_id label_seq_id pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy "
    "B_iso_or_equiv auth_seq_id auth_asym_id pdbx_PDB_model_num"
).split()
SCHEME_ITEMS = "asym_id seq_id mon_id pdb_seq_num pdb_strand_id pdb_ins_code".split()


def loop(category: str, items: list[str], rows: list[str]) -> str:
    header = "".join(f"_{category}.{item}\n" for item in items)
    return f"loop_\n{header}" + "".join(f"{row}\n" for row in rows) + "#\n"


def make_entry(
    atoms: list[str], scheme: list[str], *, header: str = "", kinds: str = ""
) -> str:
    """An entry with chains A (protein, author's X) and W (water)."""
    polymers = kinds or "1 polypeptide(L)"
    return "\n".join(
        [
            "data_TEST\n_entry.id TEST\n#",
            loop("entity", ["id", "type"], ["1 polymer", "2 water"]),
            loop("entity_poly", ["entity_id", "type"], [polymers]),
            loop("struct_asym", ["id", "entity_id"], ["A 1", "W 2"]),
            header,
            loop("pdbx_poly_seq_scheme", SCHEME_ITEMS, scheme) if scheme else "",
            loop("atom_site", ATOM_ITEMS, atoms),
        ]
    )


def atom(
    name: str,
    component: str,
    label: str,
    *,
    at: tuple[float, float, float] = (0.0, 0.0, 0.0),
    number: str = "",
    code: str = "?",
    chain: str = "A 1",
    model: int = 1,
) -> str:
    author = number or label
    return (
        f"ATOM 1 {name[0]} {name} . {component} {chain} {label} {code} "
        f"{at[0]} {at[1]} {at[2]} 1.0 9.0 {author} X {model}"
    )


def atom_column(text: str, item: str) -> list[str]:
    block = gemmi.cif.read_string(text).sole_block()
    return list(block.find_values(f"_atom_site.{item}"))


def test_selenomethionine_becomes_methionine() -> None:
    atoms = [atom("N", "MSE", "1"), atom("SE", "MSE", "1")]
    text = cut(make_entry(atoms, ["A 1 MSE 1 X ."]), "X")
    assert atom_column(text, "label_comp_id") == ["MET", "MET"]
    assert atom_column(text, "label_atom_id") == ["N", "SD"]
    assert atom_column(text, "type_symbol") == ["N", "S"]
    assert atom_column(text, "group_PDB") == ["ATOM", "ATOM"]


@pytest.mark.parametrize(
    ("far", "names"), [(1.0, ["CD", "NH1", "NH2"]), (3.0, ["CD", "NH2", "NH1"])]
)
def test_arginine_has_nh1_on_the_side_of_cd(far: float, names: list[str]) -> None:
    atoms = [
        atom("CD", "ARG", "1"),
        atom("NH1", "ARG", "1", at=(far, 0.0, 0.0)),
        atom("NH2", "ARG", "1", at=(2.0, 0.0, 0.0)),
    ]
    text = cut(make_entry(atoms, ["A 1 ARG 1 X ."]), "X")
    assert atom_column(text, "label_atom_id") == names


def test_other_chains_water_and_later_models_are_left_out() -> None:
    atoms = [
        atom("CA", "GLY", "1"),
        atom("O", "HOH", ".", number="9", chain="W 2"),
        atom("CA", "GLY", "1", model=2),
    ]
    text = cut(make_entry(atoms, ["A 1 GLY 1 X ."]), "X")
    assert atom_column(text, "id") == ["1"]
    assert "HOH" not in text


def test_unresolved_residues_stay_in_the_sequence() -> None:
    atoms = [atom("CA", "GLY", "2", number="7", code="B")]
    scheme = ["A 1 MET 5 X .", "A 2 GLY 7 X B", "A 3 SER 8 X ."]
    entry = read_entry(make_entry(atoms, scheme))
    chain = read_polymer(entry, "A")
    assert chain.unresolved == {0, 2}
    block = gemmi.cif.read_string(format_chain(entry, chain)).sole_block()
    scheme_item = "_pdbx_poly_seq_scheme.auth_seq_num"
    assert list(block.find_values(scheme_item)) == ["?", "7", "?"]
    assert atom_column(format_chain(entry, chain), "pdbx_PDB_ins_code") == ["B"]


def test_a_missing_scheme_is_inferred_from_the_entitys_sequence() -> None:
    sequence = loop(
        "entity_poly_seq", ["entity_id", "num", "mon_id"], ["1 1 MET", "1 2 GLY"]
    )
    entry = read_entry(
        make_entry([atom("CA", "GLY", "2", number="40")], [], header=sequence)
    )
    numbers = [r.author_number for r in entry.residues["A"]]
    assert (numbers, entry.author_ids) == ([".", "40"], {"A": "X"})


def test_an_atom_outside_the_sequence_is_refused_by_name() -> None:
    entry = read_entry(make_entry([atom("CA", "GLY", "1")], ["A 1 SER 1 X ."]))
    with pytest.raises(ValueError, match="residue GLY 1 of chain A has atoms"):
        read_polymer(entry, "A")


def test_the_oldest_revision_counts_as_release() -> None:
    dates = loop(
        "pdbx_audit_revision_history", ["revision_date"], ["2009-02-24", "2001-01-31"]
    )
    text = make_entry([atom("CA", "GLY", "1")], ["A 1 GLY 1 X ."], header=dates)
    assert release_date(read_entry(text)) == "2001-01-31"


def test_two_polymers_of_one_author_are_refused() -> None:
    entry = two_chains([atom("CA", "GLY", "1"), atom("CA", "GLY", "1", chain="W 1")])
    with pytest.raises(ValueError, match="names two polymers"):
        polymer_chains(entry)


def test_a_polymer_that_is_listed_without_atoms_does_not_count() -> None:
    assert polymer_chains(two_chains([atom("CA", "GLY", "1")])) == {"X": "A"}


def two_chains(atoms: list[str]) -> Entry:
    """An entry that lists two chains of one entity and one author."""
    text = make_entry(atoms, ["A 1 GLY 1 X .", "W 1 GLY 1 X ."])
    return read_entry(text.replace("W 2\n", "W 1\n"))


@pytest.mark.parametrize(
    ("kind", "listed", "num_before"),
    [
        ("water", "", 0),
        ("non-polymer", "", 1),
        ("branched", "", 1),
        ("non-polymer", "W HOH 7 .\nW LIG 1 .\nW LIG 2 .\n", 2),
        ("non-polymer", "W OTH 1 .\nW LIG 1 .\n", 1),
    ],
)
def test_residues_before_the_protein_are_counted_as_alphafold_counts(
    kind: str, listed: str, num_before: int
) -> None:
    ligand = atom("CA", "LIG", ".", number="1", chain="W 2")
    protein = [atom("CA", "GLY", "1"), atom("N", "ALA", "2")]
    date = loop("pdbx_audit_revision_history", ["revision_date"], ["2001-01-31"])
    scheme = loop(
        "pdbx_nonpoly_scheme",
        ["asym_id", "mon_id", "pdb_seq_num", "pdb_ins_code"],
        listed.splitlines(),
    )
    text = make_entry(
        [ligand, *protein],
        ["A 1 GLY 1 X .", "A 2 ALA 2 X ."],
        header=date + (scheme if listed else ""),
    )
    chain = read_template_chain(text.replace("2 water", f"2 {kind}"))
    assert len(chain.before) == num_before and chain.letters == "GA"
    named: dict[Positions, str] = {"own": "N"}
    if num_before == 1:
        named["alphafold3"] = "CA"
    for positions, atom_name in named.items():
        assert set(chain.atoms(1, positions)) == {atom_name}


def test_water_in_a_chain_that_is_no_water_is_refused() -> None:
    atoms = [atom("CA", "GLY", "1"), atom("O", "HOH", "2")]
    entry = read_entry(make_entry(atoms, ["A 1 GLY 1 X .", "A 2 HOH 2 X ."]))
    with pytest.raises(ValueError, match="chain A, which is not water, holds HOH"):
        chains_with_atoms(entry)


def test_a_chain_whose_atoms_do_not_stand_together_is_refused() -> None:
    ligand = atom("C1", "LIG", ".", number="9", chain="W 2")
    atoms = [atom("CA", "GLY", "1"), ligand, atom("CA", "ALA", "2")]
    text = make_entry(atoms, ["A 1 GLY 1 X .", "A 2 ALA 2 X ."])
    entry = read_entry(text.replace("2 water", "2 non-polymer"))
    with pytest.raises(ValueError, match="atoms of chain A do not stand together"):
        chains_with_atoms(entry)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no cif", "it is not mmCIF"),
        ("data_x\n_entry.id x\n", "no atoms with a model number"),
        ("", "it is not mmCIF"),
    ],
)
def test_what_is_no_structure_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_entry(text)

import gemmi
import pytest

from af3_core.cif_format import format_cif


def test_one_row_is_written_as_pairs_and_several_as_a_loop() -> None:
    columns = {"_b.id": ["1", "22"], "_b.name": ["x", "y z"], "_entry.id": ["1ABC"]}
    assert format_cif("1ABC", columns) == (
        "data_1ABC\n#\n_entry.id 1ABC\n#\n"
        'loop_\n_b.id\n_b.name\n1  x     \n22 "y z" \n#\n'
    )


@pytest.mark.parametrize(
    "value",
    [
        *("plain", "two words", "it's", 'say "x"', 'it\'s "both"', "", "_tag", "#x"),
        *("a\nb", ";x", "data_x", "loop_", "$x", "[x]", "'quoted'", "3'-end of 5\""),
    ],
)
@pytest.mark.parametrize("num_rows", [1, 3])
def test_any_value_is_read_back_by_another_reader(value: str, num_rows: int) -> None:
    columns = {"_a.id": ["x"] * num_rows, "_a.v": [value] * num_rows}
    block = gemmi.cif.read_string(format_cif("x", columns)).sole_block()
    found = [gemmi.cif.as_string(v) for v in block.find_values("_a.v")]
    assert found == [value] * num_rows


def test_atoms_come_last_and_their_items_in_the_pdbs_order() -> None:
    columns = {"_atom_site.id": ["1"], "_atom_site.group_PDB": ["ATOM"], "_z.a": ["1"]}
    text = format_cif("x", columns)
    assert text.index("_z.a") < text.index("_atom_site.group_PDB")
    assert text.index("_atom_site.group_PDB") < text.index("_atom_site.id")


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="_a.v has 1 values, _a.id has 2"):
        format_cif("x", {"_a.id": ["1", "2"], "_a.v": ["1"]})

import pytest

from af3_core.templates.alternatives import AtomColumns, choose_atoms

Atom = tuple[str, str, str, str]
"""Component, name, alternative, occupancy."""


def kept(*atoms: Atom) -> list[str]:
    """Name and alternative of the atoms kept of one residue."""
    columns = AtomColumns(*zip(*atoms, strict=True))
    (indices,) = choose_atoms(columns, [range(len(atoms))])
    return [f"{columns.name[i]}{columns.alternative[i]}" for i in indices]


def test_without_alternatives_all_atoms_stay() -> None:
    atoms = [("ALA", "N", ".", "1.00"), ("ALA", "CA", "?", "1.00")]
    assert kept(*atoms) == ["N.", "CA?"]


def test_of_some_atoms_alternatives_each_takes_the_most_occupied() -> None:
    assert kept(
        ("SER", "N", ".", "1.00"),
        ("SER", "CB", "A", "0.40"),
        ("SER", "CB", "B", "0.60"),
        ("SER", "OG", "B", "0.50"),
        ("SER", "OG", "A", "0.50"),
    ) == ["N.", "CBB", "OGA"]


def test_a_residue_with_alternatives_throughout_takes_one_conformation() -> None:
    assert kept(
        ("SER", "CA", "A", "0.40"),
        ("SER", "CA", "B", "0.60"),
        ("SER", "CB", "A", "0.90"),
        ("SER", "CB", "B", "0.60"),
        ("SER", "OG", "B", "0.10"),
    ) == ["CAA", "CBA", "OGB"]


def test_of_two_components_in_one_place_the_more_occupied_stays() -> None:
    assert kept(
        ("SER", "CA", "A", "0.30"),
        ("SER", "CB", "A", "0.30"),
        ("PRO", "CA", "B", "0.70"),
        ("PRO", "CB", "B", "0.70"),
    ) == ["CAB", "CBB"]


@pytest.mark.parametrize("first", ["A", "B"])
def test_equal_occupancies_fall_to_the_first_letter(first: str) -> None:
    second = "AB".replace(first, "")
    atoms = [("SER", "CA", first, "0.50"), ("SER", "CA", second, "0.50")]
    assert kept(*atoms) == ["CAA"]


def test_deuterium_is_an_alternative_of_hydrogen() -> None:
    assert kept(
        ("SER", "N", ".", "1.00"),
        ("SER", "HG", "A", "0.30"),
        ("SER", "DG", "B", "0.70"),
    ) == ["N.", "DGB"]

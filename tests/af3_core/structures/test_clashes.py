"""Clashes: what counts as a metal."""

from rdkit import Chem

from af3_core.chemistry.molecules import covalent_radius, van_der_waals_radius
from af3_core.structures.clashes import METALS


def test_every_metal_is_the_symbol_of_an_element() -> None:
    table = Chem.GetPeriodicTable()
    numbers = {symbol: table.GetAtomicNumber(symbol.capitalize()) for symbol in METALS}
    assert len(numbers) == 58 and min(numbers.values()) == 3


def test_heavy_metals_of_the_component_dictionary_are_metals() -> None:
    assert {"CD", "HG", "PT", "AU", "PB", "W", "LA"} <= METALS


def test_an_unknown_element_is_taken_for_carbon() -> None:
    assert van_der_waals_radius("X") == van_der_waals_radius("C")
    assert covalent_radius("X") == covalent_radius("C") < covalent_radius("FE")

"""Clashes: what counts as a metal."""

from rdkit import Chem

from af3_core.structures.clashes import METALS


def test_every_metal_is_the_symbol_of_an_element() -> None:
    table = Chem.GetPeriodicTable()
    numbers = {symbol: table.GetAtomicNumber(symbol.capitalize()) for symbol in METALS}
    assert len(numbers) == 58 and min(numbers.values()) == 3


def test_heavy_metals_of_the_component_dictionary_are_metals() -> None:
    assert {"CD", "HG", "PT", "AU", "PB", "W", "LA"} <= METALS

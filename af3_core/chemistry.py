"""Chemical components: atoms, bonds and ideal coordinates of residues and ligands.

`Components` is the wwPDB chemical component dictionary as biotite ships it
(doi:10.1093/bioinformatics/btu789), read lazily, with the user's own components laid
over it. Nothing is read before a component is asked for.
"""

import re
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from af3_core.binary_cif import Column, Encoded, decode_column, read_categories
from af3_core.component import Component, ComponentBond
from af3_core.user_components import parse_user_components


@dataclass(frozen=True, eq=False)
class Components:
    """All known components by code. The user's own hide those of the dictionary."""

    user: dict[str, Component] = field(default_factory=dict)
    _read: dict[str, Component] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, user_ccd: str | None = None) -> "Components":
        """Opens the dictionary, without reading it, and reads the user's components.

        Args:
            user_ccd: mmCIF text with one data block per component.

        Raises:
            UserComponentError: the text is not mmCIF or lacks needed items.
        """
        return cls() if user_ccd is None else cls(parse_user_components(user_ccd))

    def __contains__(self, code: object) -> bool:
        return code in self.user or code in _dictionary().rows

    def __getitem__(self, code: str) -> Component:
        """Returns a component; KeyError with the code where there is none."""
        if code in self.user:
            return self.user[code]
        if code not in self._read:
            self._read[code] = _dictionary().component(code)
        return self._read[code]

    def is_glycan(self, code: str) -> bool:
        """Says whether the wwPDB dictionary calls the component a saccharide."""
        return _dictionary().is_saccharide(code)


@dataclass(frozen=True, eq=False)
class _Dictionary:
    """The encoded dictionary and what has been decoded of it."""

    path: Path

    @cached_property
    def _categories(self) -> dict[str, dict[str, Encoded]]:
        return read_categories(self.path)

    @cached_property
    def _columns(self) -> dict[tuple[str, str], Column]:
        return {}

    def column(self, category: str, name: str) -> Column:
        key = category, name
        if key not in self._columns:
            encoded = self._categories[f"_{category}"].pop(name)
            self._columns[key] = decode_column(encoded)
        return self._columns[key]

    @cached_property
    def rows(self) -> dict[str, int]:
        column = self.column("chem_comp", "id")
        codes = column.texts(0, len(column))
        return {code: row for row, code in enumerate(codes)}

    @cached_property
    def _atom_rows(self) -> dict[str, tuple[int, int]]:
        return self.column("chem_comp_atom", "comp_id").groups

    @cached_property
    def _bond_rows(self) -> dict[str, tuple[int, int]]:
        return self.column("chem_comp_bond", "comp_id").groups

    def is_saccharide(self, code: str) -> bool:
        if code not in self.rows or code == "UNX":
            return False
        return bool(re.search(r"\bsaccharide\b", self._text(code, "type") or "", re.I))

    def _text(self, code: str, name: str) -> str | None:
        row = self.rows[code]
        return self.column("chem_comp", name).texts(row, row + 1)[0]

    def component(self, code: str) -> Component:
        if code not in self.rows:
            raise KeyError(code)
        atoms = self._atom_rows.get(code, (0, 0))
        bonds = self._bond_rows.get(code, (0, 0))
        modified = self._text(code, "pdbx_modified_date")
        row = self.rows[code]
        (weight,) = self.column("chem_comp", "formula_weight").numbers(row, row + 1)
        ideal = self._positions("pdbx_model_Cartn_{}_ideal", atoms)
        deposited = None
        if np.isnan(ideal).any():
            deposited = self._positions("model_Cartn_{}", atoms)
        return Component(
            code=code,
            name=self._text(code, "name") or "?",
            type=self._text(code, "type") or "?",
            parent=self._text(code, "mon_nstd_parent_comp_id"),
            formula=self._text(code, "formula"),
            formula_weight=None if weight is None else f"{weight:.3f}",
            synonyms=self._text(code, "pdbx_synonyms"),
            modified=None if modified is None else date.fromisoformat(modified),
            atom_names=self._atom_texts("atom_id", atoms),
            elements=self._atom_texts("type_symbol", atoms),
            charges=self.column("chem_comp_atom", "charge").numbers(*atoms),
            leaving=self._atom_texts("pdbx_leaving_atom_flag", atoms),
            ideal_positions=ideal,
            deposited_positions=deposited,
            bonds=self._bonds(bonds),
        )

    def _atom_texts(self, name: str, rows: tuple[int, int]) -> tuple[str, ...]:
        texts = self.column("chem_comp_atom", name).texts(*rows)
        return tuple("?" if text is None else text for text in texts)

    def _positions(self, name: str, rows: tuple[int, int]) -> np.ndarray:
        axes = [
            self.column("chem_comp_atom", name.format(axis)).numbers(*rows)
            for axis in "xyz"
        ]
        return np.array(axes, dtype=np.float64).reshape(3, -1).T

    def _bonds(self, rows: tuple[int, int]) -> tuple[ComponentBond, ...]:
        names = ("atom_id_1", "atom_id_2", "value_order", "pdbx_aromatic_flag")
        columns = [self.column("chem_comp_bond", name).texts(*rows) for name in names]
        return tuple(
            ComponentBond(*("?" if text is None else text for text in row))
            for row in zip(*columns, strict=True)
        )


@cache
def _dictionary() -> _Dictionary:
    """Returns the process's one dictionary; found without importing biotite."""
    spec = find_spec("biotite")
    if spec is None or spec.origin is None:
        raise RuntimeError("biotite, which carries the dictionary, is not installed")
    path = Path(spec.origin).parent / "structure" / "info" / "components.bcif"
    return _Dictionary(path)

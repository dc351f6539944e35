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

from af3_core.chemistry.binary_cif import (
    Column,
    Encoded,
    decode_column,
    read_categories,
)
from af3_core.chemistry.component import Component, ComponentBond
from af3_core.chemistry.user_components import parse_user_components


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
        return code in self.user or code in _dictionary()

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

    def __contains__(self, code: object) -> bool:
        return isinstance(code, str) and self._row(code) is not None

    def _row(self, code: str) -> int | None:
        # Every residue asks, and a short code such as U is within hundreds of others.
        if code not in self._rows:
            found = self.column("chem_comp", "id").find(code)
            self._rows[code] = None if found is None else found[0]
        return self._rows[code]

    @cached_property
    def _rows(self) -> dict[str, int | None]:
        return {}

    def is_saccharide(self, code: str) -> bool:
        row = self._row(code)
        if row is None or code == "UNX":
            return False
        return bool(re.search(r"\bsaccharide\b", self._text(row, "type") or "", re.I))

    def _text(self, row: int, name: str) -> str | None:
        return self.column("chem_comp", name).texts(row, row + 1)[0]

    def component(self, code: str) -> Component:
        row = self._row(code)
        if row is None:
            raise KeyError(code)
        atoms = self.column("chem_comp_atom", "comp_id").find(code) or (0, 0)
        bonds = self.column("chem_comp_bond", "comp_id").find(code) or (0, 0)
        modified = self._text(row, "pdbx_modified_date")
        (weight,) = self.column("chem_comp", "formula_weight").numbers(row, row + 1)
        ideal = self._positions("pdbx_model_Cartn_{}_ideal", atoms)
        deposited = None
        if np.isnan(ideal).any():
            deposited = self._positions("model_Cartn_{}", atoms)
        return Component(
            code=code,
            name=self._text(row, "name") or "?",
            type=self._text(row, "type") or "?",
            parent=self._text(row, "mon_nstd_parent_comp_id"),
            formula=self._text(row, "formula"),
            formula_weight=None if weight is None else f"{weight:.3f}",
            synonyms=self._text(row, "pdbx_synonyms"),
            modified=None if modified is None else date.fromisoformat(modified),
            atom_names=self._atom_texts("atom_id", atoms),
            elements=self._atom_texts("type_symbol", atoms),
            charges=self._charges(atoms),
            leaving=self._atom_texts("pdbx_leaving_atom_flag", atoms),
            ideal_positions=ideal,
            deposited_positions=deposited,
            bonds=self._bonds(bonds),
        )

    def _atom_texts(self, name: str, rows: tuple[int, int]) -> tuple[str, ...]:
        texts = self.column("chem_comp_atom", name).texts(*rows)
        return tuple("?" if text is None else text for text in texts)

    def _charges(self, rows: tuple[int, int]) -> tuple[int | None, ...]:
        charges = self.column("chem_comp_atom", "charge").numbers(*rows)
        return tuple(None if charge is None else int(charge) for charge in charges)

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

"""The user's own components: mmCIF text, one data block per component."""

from datetime import date

import gemmi
import numpy as np
from jaxtyping import Float

from af3_core.chemistry.component import Component, ComponentBond


class UserComponentError(ValueError):
    """A user-defined component that cannot be read.

    Attributes:
        block: name of the data block, "" where the text is no CIF at all.
        item: the mmCIF item at fault, or "".
        value: what was found there.
        allowed: what would have been accepted, as a sentence.
    """

    def __init__(self, block: str, item: str, value: str, allowed: str) -> None:
        self.block, self.item, self.value, self.allowed = block, item, value, allowed
        where = " ".join(part for part in (f"data_{block}", item) if part)
        super().__init__(f"userCCD: {where}: got {value!r}; allowed: {allowed}")


REQUIRED_ITEMS = (
    "_chem_comp.id",
    "_chem_comp.name",
    "_chem_comp.type",
    "_chem_comp.formula",
    "_chem_comp.mon_nstd_parent_comp_id",
    "_chem_comp.pdbx_synonyms",
    "_chem_comp.formula_weight",
    "_chem_comp_atom.comp_id",
    "_chem_comp_atom.atom_id",
    "_chem_comp_atom.type_symbol",
    "_chem_comp_atom.charge",
    "_chem_comp_atom.pdbx_model_Cartn_x_ideal",
    "_chem_comp_atom.pdbx_model_Cartn_y_ideal",
    "_chem_comp_atom.pdbx_model_Cartn_z_ideal",
    "_chem_comp_bond.atom_id_1",
    "_chem_comp_bond.atom_id_2",
    "_chem_comp_bond.value_order",
    "_chem_comp_bond.pdbx_aromatic_flag",
)
"""What AlphaFold 3 asks of every component; a value may be `?`."""

_UNKNOWN = ("?", ".")
_MAX_NAME_LENGTH = 4


def parse_user_components(text: str) -> dict[str, Component]:
    """Reads components by the names of their data blocks.

    Raises:
        UserComponentError: the text is not CIF, an item is missing or a value cannot
            be used.
    """
    try:
        document = gemmi.cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        raise UserComponentError("", "", text[:40], f"CIF text ({error})") from error
    if not len(document):
        raise UserComponentError("", "", text[:40], "at least one data block")
    return {block.name: _parse_block(block) for block in document}


def _parse_block(block: gemmi.cif.Block) -> Component:
    for item in REQUIRED_ITEMS:
        if not len(block.find_values(item)):
            raise UserComponentError(
                block.name, item, "nothing", "the items " + ", ".join(REQUIRED_ITEMS)
            )
    names = _texts(block, "_chem_comp_atom.atom_id")
    count = len(names)
    flags = "_chem_comp_atom.pdbx_leaving_atom_flag"
    has_flags = bool(len(block.find_values(flags)))
    ideal = _positions(block, "pdbx_model_Cartn_{}_ideal", count)
    deposited = _positions(block, "model_Cartn_{}", count)
    component = Component(
        code=block.name,
        name=_text(block, "name") or "?",
        type=_text(block, "type") or "?",
        parent=_text(block, "mon_nstd_parent_comp_id"),
        formula=_text(block, "formula"),
        formula_weight=_text(block, "formula_weight"),
        synonyms=_text(block, "pdbx_synonyms"),
        modified=_modified(block),
        atom_names=names,
        elements=_texts(block, "_chem_comp_atom.type_symbol", count),
        charges=_charges(block, count),
        leaving=_texts(block, flags, count) if has_flags else ("?",) * count,
        ideal_positions=ideal,
        deposited_positions=deposited if np.isnan(ideal).any() else None,
        bonds=_bonds(block),
    )
    _check_names(component)
    return component


def _texts(
    block: gemmi.cif.Block, item: str, count: int | None = None
) -> tuple[str, ...]:
    """Values of a column without their quotes; `?` and `.` stay as they are."""
    values = tuple(
        raw if raw in _UNKNOWN else gemmi.cif.as_string(raw)
        for raw in block.find_values(item)
    )
    if count is not None and len(values) != count:
        raise UserComponentError(
            block.name, item, f"{len(values)} values", f"{count} values, one per atom"
        )
    return values


def _text(block: gemmi.cif.Block, item: str) -> str | None:
    values = _texts(block, f"_chem_comp.{item}")
    return values[0] if values and values[0] not in _UNKNOWN else None


def _modified(block: gemmi.cif.Block) -> date | None:
    item = "_chem_comp.pdbx_modified_date"
    days = [v for v in _texts(block, item) if v not in _UNKNOWN]
    try:
        return max((date.fromisoformat(day) for day in days), default=None)
    except ValueError as error:
        allowed = "a date as YYYY-MM-DD"
        raise UserComponentError(block.name, item, days[0], allowed) from error


def _charges(block: gemmi.cif.Block, count: int) -> tuple[int | None, ...]:
    item = "_chem_comp_atom.charge"
    charges: list[int | None] = []
    for text in _texts(block, item, count):
        try:
            charges.append(None if text in _UNKNOWN else int(text))
        except ValueError as error:
            allowed = "whole numbers or ?"
            raise UserComponentError(block.name, item, text, allowed) from error
    return tuple(charges)


def _positions(
    block: gemmi.cif.Block, pattern: str, count: int
) -> Float[np.ndarray, "a 3"]:
    positions = np.full((count, 3), np.nan)
    for axis, name in enumerate("xyz"):
        item = "_chem_comp_atom." + pattern.format(name)
        if not len(block.find_values(item)):
            continue
        for row, text in enumerate(_texts(block, item, count)):
            try:
                positions[row, axis] = np.nan if text in _UNKNOWN else float(text)
            except ValueError as error:
                allowed = "numbers in ångström or ?"
                raise UserComponentError(block.name, item, text, allowed) from error
    return positions


def _bonds(block: gemmi.cif.Block) -> tuple[ComponentBond, ...]:
    first, second, order, aromatic = (
        _texts(block, f"_chem_comp_bond.{item}")
        for item in ("atom_id_1", "atom_id_2", "value_order", "pdbx_aromatic_flag")
    )
    if not len(first) == len(second) == len(order) == len(aromatic):
        raise UserComponentError(
            block.name, "_chem_comp_bond", "columns of unequal length", "equal lengths"
        )
    rows = zip(first, second, order, aromatic, strict=True)
    return tuple(ComponentBond(*row) for row in rows)


def _check_names(component: Component) -> None:
    """Refuses names and bonds that no molecule can be made of."""
    item, seen = "_chem_comp_atom.atom_id", set()
    for name in component.atom_names:
        if not 1 <= len(name) <= _MAX_NAME_LENGTH or not name.isascii():
            allowed = f"one to {_MAX_NAME_LENGTH} ASCII characters"
            raise UserComponentError(component.code, item, name, allowed)
        if name in seen:
            raise UserComponentError(component.code, item, name, "each name once")
        seen.add(name)
    pairs = set()
    for bond in component.bonds:
        ends = frozenset({bond.atom_1, bond.atom_2})
        shown = f"{bond.atom_1} {bond.atom_2}"
        if not ends <= seen or len(ends) == 1:
            allowed = "two different atoms of the component"
            raise UserComponentError(component.code, "_chem_comp_bond", shown, allowed)
        if ends in pairs:
            allowed = "each pair of atoms once"
            raise UserComponentError(component.code, "_chem_comp_bond", shown, allowed)
        pairs.add(ends)

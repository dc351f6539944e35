"""Reference structures over tokens: which component each residue is, atom by atom."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from af3_core.chemistry.conformers import Reference
from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.molecules import smiles_component
from af3_core.features.tokens import NUM_ATOM_SLOTS
from af3_core.features.values import (
    AtomTable,
    ChainTable,
    ReferenceAtoms,
    TokenFeatures,
)

_NAME_LENGTH = 4
_FIRST_CHARACTER = 32
"""Names are told as `ord(character) - 32`, so a space is 0."""


@dataclass(frozen=True, eq=False)
class Residues:
    """The residues of a job in token order, each with its reference."""

    of_token: Int[np.ndarray, "n"]
    """0-based residue of each token: all atoms of a residue share a conformer."""
    references: tuple[Reference, ...]
    token: Int[np.ndarray, "m"]
    """Token, slot, residue and row in the residue's conformer of every atom."""
    slot: Int[np.ndarray, "m"]
    residue: Int[np.ndarray, "m"]
    row: Int[np.ndarray, "m"]


def find_residues(
    tokens: TokenFeatures, chains: ChainTable, atoms: AtomTable, components: Components
) -> Residues:
    """Looks up the component of every residue of a job and the place of every atom.

    Atoms that the component does not have stay without reference.
    """
    is_new = np.diff(tokens.asym_id, prepend=0) != 0
    is_new |= np.diff(tokens.residue_index, prepend=0) != 0
    of_token = np.cumsum(is_new) - 1
    first = np.flatnonzero(is_new)
    known: dict[str, Reference] = {}
    references = []
    for asym_id, residue_id in zip(
        tokens.asym_id[first].tolist(),
        tokens.residue_index[first].tolist(),
        strict=True,
    ):
        code = chains.codes[asym_id - 1][residue_id - 1]
        if code not in known:
            known[code] = _reference(code, chains.smiles[asym_id - 1], components)
        references.append(known[code])
    places = [
        (token, slot, of_token[token], references[of_token[token]].rows[name])
        for name, token, slot in zip(
            atoms.atom_name,
            atoms.token_index.tolist(),
            atoms.slot.tolist(),
            strict=True,
        )
        if token >= 0 and name in references[of_token[token]].rows
    ]
    columns = np.array(places, dtype=np.int32).reshape(-1, 4).T
    return Residues(of_token.astype(np.int32), tuple(references), *columns)


def _reference(code: str, smiles: str | None, components: Components) -> Reference:
    if smiles is None:
        return Reference(components[code])
    return Reference(smiles_component(smiles, code), smiles)


def reference_atoms(residues: Residues) -> ReferenceAtoms:
    """Describes every atom by element, charge and name, whatever the conformer."""
    shape = len(residues.of_token), NUM_ATOM_SLOTS
    mask = np.zeros(shape, bool)
    element = np.zeros(shape, np.int32)
    charge = np.zeros(shape, np.float32)
    names = np.zeros((*shape, _NAME_LENGTH), np.int32)
    descriptions = [_describe(reference) for reference in residues.references]
    for token, slot, residue, row in zip(
        residues.token, residues.slot, residues.residue, residues.row, strict=True
    ):
        numbers, charges, characters = descriptions[residue]
        mask[token, slot] = True
        element[token, slot] = numbers[row]
        charge[token, slot] = charges[row]
        names[token, slot] = characters[row]
    space_uid = np.repeat(residues.of_token[:, None], NUM_ATOM_SLOTS, axis=1)
    return ReferenceAtoms(mask, element, charge, names, space_uid)


def _describe(
    reference: Reference,
) -> tuple[tuple[int, ...], tuple[int, ...], list[list[int]]]:
    characters = [
        [ord(c) - _FIRST_CHARACTER for c in name[:_NAME_LENGTH].ljust(_NAME_LENGTH)]
        for name in reference.rows
    ]
    return reference.atomic_numbers, reference.charges, characters


def place_conformers(
    residues: Residues, conformers: Sequence[Float[np.ndarray, "_ 3"]]
) -> Float32[np.ndarray, "n x 3"]:
    """Puts conformers, one per residue, into the slots of tokens, Å."""
    positions = np.zeros((len(residues.of_token), NUM_ATOM_SLOTS, 3), np.float32)
    starts = np.cumsum([0, *(len(c) for c in conformers)])
    rows = starts[residues.residue] + residues.row
    positions[residues.token, residues.slot] = np.concatenate(conformers)[rows]
    return positions

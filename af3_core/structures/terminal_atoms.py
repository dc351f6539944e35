"""Atoms that only the ends of a chain have: OXT of a protein, OP3 of a nucleic acid.

Some networks do not predict them. Where they are is chemistry: the last corner of the
carboxylate's triangle, and of the phosphate's tetrahedron.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from af3_core.features.values import Features

_NEIGHBOURS = {"OXT": ("C", ("CA", "O")), "OP3": ("P", ("OP1", "OP2", "O5'"))}
"""The atom that it is bound to, and that one's other neighbours."""
_LENGTHS = {"OXT": 1.25, "OP3": 1.51}
"""Å. Carboxylates and phosphates: Engh and Huber 2001, International Tables F 18.3;
Gelbin et al. 1996, doi:10.1021/ja9528846."""


@dataclass(frozen=True, eq=False)
class TerminalAtoms:
    """Rows of a job's atoms that are built from others."""

    atoms: Int[ndarray, "t"]
    bound_to: Int[ndarray, "t"]
    neighbours: tuple[Int[ndarray, "_"], ...]
    """Of the atom that each is bound to, itself left out."""
    length: Float[ndarray, "t"]
    """Of the bond, Å."""

    @classmethod
    def none(cls) -> "TerminalAtoms":
        """No atom."""
        none = np.zeros(0, np.int64)
        return cls(none, none, (), np.zeros(0))

    def build(self, positions: Float[ndarray, "a 3"]) -> Float[ndarray, "a 3"]:
        """Puts each atom opposite to the other neighbours of the one it is bound to."""
        built = np.array(positions)
        for atom, centre, others, length in zip(
            self.atoms, self.bound_to, self.neighbours, self.length, strict=True
        ):
            towards = [_unit(positions[o] - positions[centre]) for o in others]
            away = -np.sum(towards, axis=0)
            built[atom] = positions[centre] + length * _unit(away)
        return built

    def inherit(self, values: Float[ndarray, "a"]) -> Float[ndarray, "a"]:
        """Gives each atom the value of the one it is bound to."""
        values = np.array(values)
        values[self.atoms] = values[self.bound_to]
        return values


def _unit(vector: Float[ndarray, "3"]) -> Float[ndarray, "3"]:
    """Of length 1; along x where atoms coincide."""
    length = np.linalg.norm(vector)
    return vector / length if length > 1e-6 else np.array([1.0, 0.0, 0.0])


def find_terminal_atoms(features: Features) -> TerminalAtoms:
    """Those of whole residues; a residue split into atoms keeps its own."""
    table = features.atoms
    tokens, names = table.token_index, table.atom_name
    sizes = np.bincount(tokens[tokens >= 0], minlength=features.num_tokens)
    kinds = {"OXT": features.tokens.is_protein}
    kinds["OP3"] = features.tokens.is_rna | features.tokens.is_dna
    found, bound_to, neighbours, length = [], [], [], []
    for atom, name in enumerate(names):
        token = tokens[atom]
        if name not in kinds or token < 0:
            continue
        if sizes[token] == 1 or not kinds[name][token]:
            continue
        rows = {names[row]: row for row in np.flatnonzero(tokens == token).tolist()}
        centre, others = _NEIGHBOURS[name]
        found.append(atom)
        bound_to.append(rows[centre])
        present = [rows[other] for other in others if other in rows]
        neighbours.append(np.array(present, np.int64))
        length.append(_LENGTHS[name])
    return TerminalAtoms(
        np.array(found, np.int64),
        np.array(bound_to, np.int64),
        tuple(neighbours),
        np.array(length, float),
    )

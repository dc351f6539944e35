"""Template features: residue classes and atoms of templates, in the token layout.

AF3 SI 2.4. Atoms stand in the 24 slots of a token in the order of the residue's
standard atoms. Chains are put side by side, so one row holds unrelated templates of
different chains, which the model keeps apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float32, Int32
from numpy import ndarray

from af3_core.features.chain_inputs import ChainInput
from af3_core.job import Template
from af3_core.msa import encode_sequence
from af3_core.recent import Recent
from af3_core.templates.structure import (
    Position,
    Positions,
    read_template_chain,
)

MAX_TEMPLATES = 4
SHORTEST_TEMPLATED_CHAIN = 5
"""Protein chains of fewer tokens get no templates."""
NUM_SLOTS = 24

_SIDE_CHAINS = {
    "A": "CB",
    "R": "CB CG CD NE CZ NH1 NH2",
    "N": "CB CG OD1 ND2",
    "D": "CB CG OD1 OD2",
    "C": "CB SG",
    "Q": "CB CG CD OE1 NE2",
    "E": "CB CG CD OE1 OE2",
    "G": "",
    "H": "CB CG ND1 CD2 CE1 NE2",
    "I": "CB CG1 CG2 CD1",
    "L": "CB CG CD1 CD2",
    "K": "CB CG CD CE NZ",
    "M": "CB CG SD CE",
    "F": "CB CG CD1 CD2 CE1 CE2 CZ",
    "P": "CB CG CD",
    "S": "CB OG",
    "T": "CB OG1 CG2",
    "W": "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2",
    "Y": "CB CG CD1 CD2 CE1 CE2 CZ OH",
    "V": "CB CG1 CG2",
}


def _slot_atoms(side_chain: str) -> tuple[str, ...]:
    """Atom of each slot. In the published code unused slots repeat the nitrogen."""
    atoms = ("N", "CA", "C", "O", *side_chain.split())
    return atoms + ("N",) * (NUM_SLOTS - len(atoms))


_SLOTS_OF_CLASS = [_slot_atoms(side) for side in _SIDE_CHAINS.values()] + [
    ("N",) * NUM_SLOTS  # unknown residues
]


@dataclass(frozen=True)
class TemplateArrays:
    """Templates over tokens, or over the residues of one chain, without padding."""

    residue_type: Int32[ndarray, "t n"]
    """Residue classes of the template; gap where nothing is aligned, 0 where the
    chain has no such template."""
    atom_mask: Bool[ndarray, "t n x=24"]
    atom_positions: Float32[ndarray, "t n x=24 3"]


def template_features(
    chains: Sequence[ChainInput],
    *,
    positions: Positions = "alphafold3",
    recent: Recent | None = None,
) -> TemplateArrays:
    """Computes the template features of a job, chains in the job's order.

    Chains with equal residues share the templates of the first of them.

    Args:
        positions: how a template's residues are counted to find their atoms.
        recent: knows the templates of other jobs.

    Raises:
        ValueError: if a template cannot be used; the message names chain and template.
    """
    first_with: dict[tuple[bool, tuple[str, ...]], TemplateArrays] = {}
    of_chains = []
    for chain in chains:
        key = (_takes_templates(chain), chain.token_residue_names)
        if key not in first_with:
            first_with[key] = _chain_templates(chain, positions, recent or Recent())
        of_chains.append(first_with[key])
    columns = _merged_columns(chains)
    return TemplateArrays(
        np.concatenate([c.residue_type for c in of_chains], axis=1)[:, columns],
        np.concatenate([c.atom_mask for c in of_chains], axis=1)[:, columns],
        np.concatenate([c.atom_positions for c in of_chains], axis=1)[:, columns],
    )


def _takes_templates(chain: ChainInput) -> bool:
    return chain.kind == "protein" and chain.num_tokens >= SHORTEST_TEMPLATED_CHAIN


def _merged_columns(chains: Sequence[ChainInput]) -> Int32[ndarray, "n"]:
    """The column of each token in the chains' arrays put side by side.

    Chains without templates have a column per token there, but tokens count residues.
    Behind a nucleic acid with modified residues the published code is thus off by some
    columns, and the weights' users have always had it so.
    """
    columns, start = [], 0
    for chain in chains:
        columns.append(start + chain.token_columns)
        start += chain.num_columns
    return np.concatenate(columns).astype(np.int32)


def _empty(num_templates: int, num_columns: int) -> TemplateArrays:
    shape = (num_templates, num_columns)
    return TemplateArrays(
        np.zeros(shape, np.int32),
        np.zeros((*shape, NUM_SLOTS), bool),
        np.zeros((*shape, NUM_SLOTS, 3), np.float32),
    )


def _chain_templates(
    chain: ChainInput, positions: Positions, recent: Recent
) -> TemplateArrays:
    if not _takes_templates(chain):
        return _empty(MAX_TEMPLATES, chain.num_tokens)
    if not chain.templates:
        return _empty(MAX_TEMPLATES, chain.num_columns)
    return recent.get(
        ("templates", chain.templates, chain.num_columns, positions),
        partial(_align_templates, chain, positions),
        lambda made: made.atom_positions.nbytes + made.atom_mask.nbytes,
    )


def _align_templates(chain: ChainInput, positions: Positions) -> TemplateArrays:
    arrays = _empty(MAX_TEMPLATES, chain.num_columns)
    for i, template in enumerate(chain.templates[:MAX_TEMPLATES]):
        try:
            aligned = align_template(template, chain.num_columns, positions)
        except ValueError as error:
            where = f"template {i + 1} of chain {chain.chain_id}"
            raise ValueError(f"{where} cannot be used: {error}") from error
        arrays.residue_type[i] = aligned.residue_type[0]
        arrays.atom_mask[i] = aligned.atom_mask[0]
        arrays.atom_positions[i] = aligned.atom_positions[0]
    return arrays


def align_template(
    template: Template, num_residues: int, positions: Positions = "alphafold3"
) -> TemplateArrays:
    """One template over the residues of its query (t = 1).

    Raises:
        ValueError: if the mmCIF cannot be read or an index leaves query or template;
            the message says what is wrong and, once known, the template's name.
    """
    source = read_template_chain(template.mmcif)
    try:
        pairs = _checked_pairs(template, num_residues, len(source.residues))
    except ValueError as error:
        raise ValueError(f"{source.name}: {error}") from error
    letters, source_letters = ["-"] * num_residues, source.letters
    for query, index in pairs:
        letters[query] = source_letters[index]
    classes = encode_sequence("".join(letters), "protein")
    arrays = _empty(1, num_residues)
    arrays.residue_type[0] = classes
    for query, index in pairs:
        _place_atoms(arrays, query, source.atoms(index, positions))
    return arrays


def _checked_pairs(
    template: Template, num_residues: int, template_length: int
) -> list[tuple[int, int]]:
    query, indices = template.query_indices, template.template_indices
    if len(query) != len(indices):
        raise ValueError(
            f"{len(query)} query indices stand against {len(indices)} template indices"
        )
    for name, values, length in (
        ("query", query, num_residues),
        ("template", indices, template_length),
    ):
        wrong = [v for v in values if not 0 <= v < length]
        if wrong:
            raise ValueError(
                f"{name} index {wrong[0]} is not among the {length} residues of the "
                f"{name}, counted from 0"
            )
    # Of several template residues for one query residue AF3 keeps the last.
    return list(dict(zip(query, indices, strict=True)).items())


def _place_atoms(
    arrays: TemplateArrays, query: int, atoms: Mapping[str, Position]
) -> None:
    slots = _SLOTS_OF_CLASS[arrays.residue_type[0, query]]
    for slot, name in enumerate(slots):
        if name in atoms:
            arrays.atom_mask[0, query, slot] = True
            arrays.atom_positions[0, query, slot] = atoms[name]

"""Reads deposited structures: mmCIF and PDB text into `Structure`."""

import gemmi
import numpy as np

from af3_core.structures.structure import Structure

_KINDS = {
    gemmi.PolymerType.PeptideL: "protein",
    gemmi.PolymerType.PeptideD: "protein",
    gemmi.PolymerType.Dna: "dna",
    gemmi.PolymerType.Rna: "rna",
    gemmi.PolymerType.DnaRnaHybrid: "dna",
}


def parse_structure(text: str, name: str) -> Structure:
    """Takes the first model of a file, heavy atoms without water, one conformation.

    Chains are mmCIF's label_asym_id, so each ligand is a chain of its own; files that
    have none, such as PDB, get them as mmCIF would give them out.

    Args:
        text: mmCIF or PDB.
        name: what messages call the file.

    Raises:
        ValueError: the text is neither, or holds no atoms.
    """
    try:
        parsed = gemmi.read_structure_string(text)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{name}: neither mmCIF nor PDB: {error}") from error
    if not len(parsed):
        raise ValueError(f"{name}: no coordinates")
    parsed.setup_entities()
    parsed.remove_alternative_conformations()
    parsed.remove_hydrogens()
    parsed.remove_waters()
    parsed.remove_empty_chains()
    entities = {s: e for e in parsed.entities for s in e.subchains}
    rows: list[tuple] = []
    positions: list[list[float]] = []
    for span in parsed[0].subchains():
        entity = entities.get(span.subchain_id())
        kind = _KINDS.get(entity.polymer_type, "ligand") if entity else "ligand"
        for number, residue in enumerate(span, start=1):
            label = residue.label_seq or number
            for atom in residue:
                row = (span.subchain_id(), label, residue.name)
                rows.append((*row, atom.name, atom.element.name, kind))
                positions.append(atom.pos.tolist())
    if not rows:
        raise ValueError(f"{name}: no atoms besides water and hydrogen")
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    chain_id, residue_id, residue_name, atom_name, element, kinds = columns
    return Structure(
        chain_id=chain_id,
        residue_id=residue_id.astype(np.int64),
        residue_name=residue_name,
        atom_name=atom_name,
        element=element,
        kind=kinds,
        positions=np.array(positions, np.float64),
    )

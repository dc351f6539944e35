"""Jobs whose answer is known: from a deposited structure to its input."""

from collections.abc import Sequence
from typing import Any

import gemmi

from af3_core.job import chain_id_at

_NO_SEARCH = {
    "protein": {"unpairedMsa": "", "pairedMsa": "", "templates": []},
    "rna": {"unpairedMsa": ""},
    "dna": {},
}
_KINDS = {
    gemmi.PolymerType.PeptideL: "protein",
    gemmi.PolymerType.Rna: "rna",
    gemmi.PolymerType.Dna: "dna",
}
_READ_AS = {"MSE": "MET"}


def job_for(
    text: str, name: str, seeds: Sequence[int], *, search: bool = True
) -> dict[str, Any]:
    """An AlphaFold 3 input for the first model of a structure, one entity per chain.

    Args:
        text: mmCIF or PDB; the whole sequence is taken where it is stated, else the
            residues that have coordinates.
        search: False: without alignments and templates.

    Raises:
        ValueError: neither mmCIF nor PDB, no atoms, or a polymer of another kind.
    """
    try:
        parsed = gemmi.read_structure_string(text)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{name}: neither mmCIF nor PDB: {error}") from error
    parsed.setup_entities()
    parsed.remove_waters()
    parsed.remove_empty_chains()
    entities = {s: e for e in parsed.entities for s in e.subchains}
    sequences = []
    for index, span in enumerate(parsed[0].subchains() if len(parsed) else ()):
        chain_id = chain_id_at(index)
        entity = entities.get(span.subchain_id())
        if entity is None or entity.entity_type != gemmi.EntityType.Polymer:
            codes = [residue.name for residue in span]
            sequences.append({"ligand": {"id": chain_id, "ccdCodes": codes}})
            continue
        if entity.polymer_type not in _KINDS:
            raise ValueError(f"{name}: chain {chain_id} is {entity.polymer_type}")
        kind = _KINDS[entity.polymer_type]
        stated = [codes.split(",")[0] for codes in entity.full_sequence]
        fields = _polymer_fields(stated or [residue.name for residue in span], kind)
        if not search:
            fields |= _NO_SEARCH[kind]
        sequences.append({kind: {"id": chain_id, **fields}})
    if not sequences:
        raise ValueError(f"{name}: no coordinates")
    return {
        "name": name,
        "modelSeeds": list(seeds),
        "sequences": sequences,
        "dialect": "alphafold3",
        "version": 4,
    }


def _polymer_fields(codes: Sequence[str], kind: str) -> dict[str, Any]:
    """The sequence, and what is modified in it."""
    letters, modified = [], []
    for number, code in enumerate((_READ_AS.get(c, c) for c in codes), start=1):
        info = gemmi.find_tabulated_residue(code)
        letters.append(info.one_letter_code.upper().strip() or "X")
        if not info.is_standard():
            modified.append((code, number))
    if not modified:
        return {"sequence": "".join(letters)}
    names = ("ptmType", "ptmPosition")
    if kind != "protein":
        names = ("modificationType", "basePosition")
    return {
        "sequence": "".join(letters),
        "modifications": [dict(zip(names, pair, strict=True)) for pair in modified],
    }

"""Predicted structures as mmCIF, with the categories and items of AF3's output.

Confidences are ModelCIF's (doi:10.1016/j.jmb.2023.168021): pLDDT per atom in the
B-factor column, per residue in `_ma_qa_metric_local`, and the mean over all atoms in
`_ma_qa_metric_global`. As in AF3's files, every chain is an entity of its own and
author numbers equal label numbers. What the dictionary demands of ligands and glycans
and AF3 leaves out (`_atom_site.auth_comp_id`, `_pdbx_branch_scheme.pdb_mon_id`,
`_pdbx_nonpoly_scheme.ndb_seq_num`, `_pdbx_entity_branch*`) is added.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from af3_core.chemistry.dictionary import Component, Components
from af3_core.chemistry.residues import CHAIN_TYPES, STANDARD_CODES, UNKNOWN_CODES
from af3_core.cif_format import format_cif
from af3_core.features.values import ChainTable
from af3_core.structures.mmcif_origin import Origin, origin_columns
from af3_core.structures.structure import Structure

_POLYMER_TYPES = frozenset(CHAIN_TYPES.values())
_RESOLVED_CODES = STANDARD_CODES - UNKNOWN_CODES
Columns = dict[str, list[str]]


@dataclass(frozen=True)
class _Residue:
    """A residue of a chain, with or without atoms."""

    chain_id: str
    entity_id: str
    kind: str
    """`polymer`, `branched` or `non-polymer`."""
    number: str
    code: str


def write_mmcif(
    structure: Structure,
    atom_plddt: Float[ndarray, "a"],
    chains: ChainTable,
    components: Components,
    *,
    name: str,
    origin: Origin,
    bonds: Int[ndarray, "e 2"] | None = None,
) -> str:
    """The text of a structure's mmCIF file.

    Args:
        structure: what to write, chains in the order of `chains`.
        atom_plddt: 0–100.
        chains: of the job.
        components: the dictionary that the features were made with.
        name: of the data block; no blanks.
        origin: software, weights and terms of use to state.
        bonds: pairs of atoms (rows of the structure) bonded between residues.

    Raises:
        ValueError: if pLDDT and atoms differ in number, or the name has blanks.
    """
    if len(atom_plddt) != structure.num_atoms:
        raise ValueError(
            f"{len(atom_plddt)} pLDDT values for {structure.num_atoms} atoms"
        )
    plddt = [f"{value:.2f}" for value in atom_plddt.tolist()]
    residues = list(_residues(chains))
    columns: Columns = {
        "_entry.id": [name],
        **origin_columns(origin),
        **_component_columns(chains, components),
        **_entity_columns(chains),
        **_scheme_columns(residues),
        **_atom_columns(structure, plddt, chains),
        **_confidence_columns(structure, plddt),
        **_bond_columns(structure, bonds),
    }
    return origin.comment + format_cif(name, columns)


def _residues(chains: ChainTable) -> Iterator[_Residue]:
    for index, chain_id in enumerate(chains.chain_id):
        kind = _entity_type(chains.mmcif_type[index])
        for number, code in enumerate(chains.codes[index], start=1):
            yield _Residue(chain_id, str(index + 1), kind, str(number), code)


def _entity_type(mmcif_type: str) -> str:
    return "polymer" if mmcif_type in _POLYMER_TYPES else mmcif_type


def _columns(category: str, items: Sequence[str], rows: Sequence[tuple]) -> Columns:
    """Columns of a category from its rows; none if there are no rows."""
    if not rows:
        return {}
    values = zip(*rows, strict=True)
    names = (f"{category}.{item}" for item in items)
    return {item: list(column) for item, column in zip(names, values, strict=True)}


def _component_columns(chains: ChainTable, components: Components) -> Columns:
    smiles = {
        codes[0]: text
        for codes, text in zip(chains.codes, chains.smiles, strict=True)
        if text is not None
    }
    rows = []
    for code in sorted({code for codes in chains.codes for code in codes}):
        if code in smiles:
            rows.append((code, "non-polymer", "?", "?", "?", "?", "?", smiles[code]))
        else:
            rows.append((code, *_describe(components[code]), "?"))
    items = ["id", "type", "name", "pdbx_synonyms", "formula", "formula_weight"]
    columns = _columns("_chem_comp", [*items, "mon_nstd_flag", "pdbx_smiles"], rows)
    if not smiles:
        del columns["_chem_comp.pdbx_smiles"]
    return columns


def _describe(component: Component) -> tuple[str, ...]:
    if component.type.lower() == "non-polymer":
        is_standard = "."
    else:
        is_standard = "y" if component.parent is None else "n"
    return (
        component.type,
        component.name,
        component.synonyms or "?",
        component.formula or "?",
        component.formula_weight or "?",
        is_standard,
    )


def _entity_columns(chains: ChainTable) -> Columns:
    rows = [
        (str(number), chain_id, kind)
        for number, (chain_id, kind) in enumerate(
            zip(chains.chain_id, chains.mmcif_type, strict=True), start=1
        )
    ]
    polymers = [row for row in rows if row[2] in _POLYMER_TYPES]
    entities = [(number, ".", _entity_type(kind)) for number, _, kind in rows]
    copies = [(chain_id, number) for number, chain_id, _ in rows]
    targets = [(number, "1", ".") for number, _, _ in rows]
    instances = [(chain_id, number, ".") for chain_id, number in copies]
    return {
        **_columns("_entity", ("id", "pdbx_description", "type"), entities),
        **_columns("_entity_poly", ("entity_id", "pdbx_strand_id", "type"), polymers),
        **_columns("_struct_asym", ("id", "entity_id"), copies),
        **_columns("_ma_target_entity", ("entity_id", "data_id", "origin"), targets),
        **_columns(
            "_ma_target_entity_instance", ("asym_id", "entity_id", "details"), instances
        ),
    }


def _scheme_columns(residues: Sequence[_Residue]) -> Columns:
    polymer = [r for r in residues if r.kind == "polymer"]
    branched = [r for r in residues if r.kind == "branched"]
    others = [r for r in residues if r.kind == "non-polymer"]
    sequence = [(r.entity_id, r.number, r.code, "n") for r in polymer]
    return {
        **_columns(
            "_entity_poly_seq", ("entity_id", "num", "mon_id", "hetero"), sequence
        ),
        **_scheme("_pdbx_poly_seq_scheme", polymer, ["pdb_strand_id"], ["seq_id"]),
        **_scheme(
            "_pdbx_branch_scheme", branched, ["pdb_asym_id", "auth_asym_id"], ["num"]
        ),
        **_branch_columns(branched),
        **_scheme("_pdbx_nonpoly_scheme", others, ["pdb_strand_id"], ["ndb_seq_num"]),
    }


def _branch_columns(branched: Sequence[_Residue]) -> Columns:
    """What the branch scheme refers to."""
    glycans = [
        (e, "oligosaccharide") for e in dict.fromkeys(r.entity_id for r in branched)
    ]
    sugars = [(r.entity_id, r.number, r.code, "n") for r in branched]
    return {
        **_columns("_pdbx_entity_branch", ("entity_id", "type"), glycans),
        **_columns(
            "_pdbx_entity_branch_list",
            ("entity_id", "num", "comp_id", "hetero"),
            sugars,
        ),
    }


def _scheme(
    category: str,
    residues: Sequence[_Residue],
    chain_items: Sequence[str],
    number_items: Sequence[str],
) -> Columns:
    """A scheme table; the items given hold the chain's id and the residue's number."""
    if not residues:
        return {}
    number_items = ["pdb_seq_num", "auth_seq_num", *number_items]
    columns = {
        "entity_id": [r.entity_id for r in residues],
        "mon_id": [r.code for r in residues],
        "pdb_ins_code": ["."] * len(residues),
    }
    columns |= {i: [r.chain_id for r in residues] for i in ["asym_id", *chain_items]}
    columns |= {item: [r.number for r in residues] for item in number_items}
    if category != "_pdbx_nonpoly_scheme":
        columns["hetero"] = ["n"] * len(residues)
    if category == "_pdbx_branch_scheme":
        columns["pdb_mon_id"] = columns["mon_id"]
    return {f"{category}.{item}": values for item, values in columns.items()}


def _atom_columns(
    structure: Structure, plddt: list[str], chains: ChainTable
) -> Columns:
    num_atoms = structure.num_atoms
    chain_ids = structure.chain_id.tolist()
    names = structure.residue_name.tolist()
    numbers = structure.residue_id.astype(str).tolist()
    entity_of = {c: str(i) for i, c in enumerate(chains.chain_id, start=1)}
    x, y, z = structure.positions.T.tolist()
    columns = {
        "group_PDB": _record_names(structure),
        "id": [str(i) for i in range(1, num_atoms + 1)],
        "type_symbol": structure.element.tolist(),
        "label_atom_id": structure.atom_name.tolist(),
        "label_alt_id": ["."] * num_atoms,
        "label_comp_id": names,
        "label_asym_id": chain_ids,
        "label_entity_id": [entity_of[c] for c in chain_ids],
        "label_seq_id": _label_seq_ids(structure),
        "pdbx_PDB_ins_code": ["?"] * num_atoms,
        "Cartn_x": [f"{v:.3f}" for v in x],
        "Cartn_y": [f"{v:.3f}" for v in y],
        "Cartn_z": [f"{v:.3f}" for v in z],
        "occupancy": ["1.00"] * num_atoms,
        "B_iso_or_equiv": plddt,
        "auth_seq_id": numbers,
        "auth_comp_id": names,
        "auth_asym_id": chain_ids,
        "pdbx_PDB_model_num": ["1"] * num_atoms,
    }
    symbols = sorted(set(columns["type_symbol"]))
    return {f"_atom_site.{item}": values for item, values in columns.items()} | {
        "_atom_type.symbol": symbols
    }


def _record_names(structure: Structure) -> list[str]:
    rows = zip(structure.kind.tolist(), structure.residue_name.tolist(), strict=True)
    return [
        "ATOM" if kind != "ligand" and code in _RESOLVED_CODES else "HETATM"
        for kind, code in rows
    ]


def _label_seq_ids(structure: Structure) -> list[str]:
    rows = zip(structure.kind.tolist(), structure.residue_id.tolist(), strict=True)
    return ["." if kind == "ligand" else str(number) for kind, number in rows]


def _confidence_columns(structure: Structure, plddt: list[str]) -> Columns:
    """Means over what the file shows: values rounded to two decimals.

    A ligand's components have no label number; those of one code count as one residue.
    """
    values = np.array([float(v) for v in plddt])
    residues: dict[tuple[str, str, str], list[float]] = {}
    rows = zip(
        structure.chain_id.tolist(),
        structure.residue_name.tolist(),
        _label_seq_ids(structure),
        values.tolist(),
        strict=True,
    )
    for chain, name, number, value in rows:
        residues.setdefault((chain, name, number), []).append(value)
    local = [
        (*residue, "2", f"{np.mean(own):.2f}", "1", str(ordinal))
        for ordinal, (residue, own) in enumerate(residues.items(), start=1)
    ]
    items = ["label_asym_id", "label_comp_id", "label_seq_id", "metric_id"]
    items += ["metric_value", "model_id", "ordinal_id"]
    overall = [("1", f"{np.mean(values):.2f}", "1", "1")]
    return {
        **_columns("_ma_qa_metric_local", items, local),
        **_columns("_ma_qa_metric_global", items[3:], overall),
    }


def _bond_columns(structure: Structure, bonds: Int[ndarray, "e 2"] | None) -> Columns:
    if bonds is None or not len(bonds):
        return {}
    num_bonds = len(bonds)
    columns: Columns = {
        "_struct_conn.id": [f"covale{i}" for i in range(1, num_bonds + 1)],
        "_struct_conn.conn_type_id": ["covale"] * num_bonds,
        "_struct_conn.pdbx_role": ["?"] * num_bonds,
        "_struct_conn.pdbx_value_order": ["?"] * num_bonds,
        "_struct_conn_type.id": ["covale"],
        "_struct_conn_type.criteria": ["?"],
        "_struct_conn_type.reference": ["?"],
    }
    for end, atoms in enumerate(bonds.T, start=1):
        for item, values in _bond_ends(structure).items():
            columns[f"_struct_conn.ptnr{end}_{item}"] = values[atoms].tolist()
        columns[f"_struct_conn.ptnr{end}_symmetry"] = ["1_555"] * num_bonds
        for item in ("PDB_ins_code", "label_alt_id"):
            columns[f"_struct_conn.pdbx_ptnr{end}_{item}"] = ["?"] * num_bonds
    return columns


def _bond_ends(structure: Structure) -> dict[str, Shaped[ndarray, "a"]]:
    return {
        "label_asym_id": structure.chain_id,
        "label_comp_id": structure.residue_name,
        "label_seq_id": np.array(_label_seq_ids(structure)),
        "label_atom_id": structure.atom_name,
        "auth_asym_id": structure.chain_id,
        "auth_seq_id": structure.residue_id.astype(str),
    }

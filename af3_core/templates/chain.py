"""One polymer chain of an entry as an mmCIF file of its own, as AlphaFold 3 writes it.

Selenomethionine becomes methionine, arginines have NH1 on the side of CD, atoms are
numbered anew, and of the entry's header what describes the whole structure stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import gemmi
import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from af3_core.cif_format import format_cif
from af3_core.templates.entry import (
    POLYMERS,
    STANDARD_COMPONENTS,
    Entry,
    ReadChain,
    column,
    mapping,
    table,
)

_ASSEMBLY = ("id", "details", "method_details", "oligomeric_details")
_ASSEMBLY_GEN = ("assembly_id", "oper_expression", "asym_id_list")
_OPERATION = (
    *("id", "type", "name", "symmetry_operation"),
    *(f"matrix[{i}][{j}]" for i in (1, 2, 3) for j in (1, 2, 3)),
    *(f"vector[{i}]" for i in (1, 2, 3)),
)
_COMPONENT = (*("name", "pdbx_synonyms", "formula", "formula_weight", "mon_nstd_flag"),)
_METHIONINE = {
    "id": "MET",
    "type": "L-PEPTIDE LINKING",
    "name": "METHIONINE",
    "pdbx_synonyms": "?",
    "formula": "C5 H11 N O2 S",
    "formula_weight": "149.211",
    "mon_nstd_flag": "y",
    "pdbx_smiles": "?",
}
_IDEAL = tuple(f"pdbx_model_Cartn_{axis}_ideal" for axis in "xyz")
_RESOLUTIONS = (
    "_refine.ls_d_res_high",
    "_em_3d_reconstruction.resolution",
    "_reflns.d_resolution_high",
)
_POSITION = ("Cartn_x", "Cartn_y", "Cartn_z")
_HYDROGEN_SWAPS = (("HH11", "HH21"), ("HH12", "HH22"))

Columns = dict[str, list[str]]


def release_date(entry: Entry) -> str | None:
    """The oldest revision's date, ISO 8601, if the file has one."""
    dates = column(entry.block, "_pdbx_audit_revision_history.revision_date")
    return min(dates) if dates else None


def format_chain(entry: Entry, chain: ReadChain) -> str:
    """The text of the chain's own mmCIF file.

    Raises:
        ValueError: a coordinate, occupancy or B-factor is no number.
    """
    columns = {
        **_header(entry),
        **_sequence(entry, chain),
        **_atom_site(entry, chain),
    }
    return format_cif(entry.name.replace(" ", "-"), columns)


def _header(entry: Entry) -> Columns:
    block = entry.block
    header: Columns = {"_entry.id": [entry.name]}
    date = release_date(entry)
    if date is not None:
        header["_pdbx_audit_revision_history.revision_date"] = [date]
        header["_pdbx_database_status.recvd_initial_deposition_date"] = [date]
    resolution = _resolution(block)
    if resolution is not None:
        header["_refine.ls_d_res_high"] = [f"{resolution:.2f}"]
    methods = ",".join(column(block, "_exptl.method"))
    if methods:
        header["_exptl.method"] = methods.split(",")
    software = ("1", "DeepMind Structure Class", "2.0.0", "other")
    items = ("pdbx_ordinal", "name", "version", "classification")
    for item, value in zip(items, software, strict=True):
        header[f"_software.{item}"] = [value]
    return {**header, **_assemblies(block), **_components(block)}


def _resolution(block: gemmi.cif.Block) -> float | None:
    for tag in _RESOLUTIONS:
        for value in column(block, tag)[:1]:
            try:
                return float(value)
            except ValueError:
                continue
    return None


def _all_items(block: gemmi.cif.Block, category: str) -> Columns:
    tags = list(block.find_mmcif_category(f"{category}.").tags)
    return {tag: column(block, tag) for tag in tags}


def _assemblies(block: gemmi.cif.Block) -> Columns:
    """Assemblies and their operations, if the file has all of their items."""
    assemblies = _all_items(block, "_pdbx_struct_assembly")
    operations = _all_items(block, "_pdbx_struct_oper_list")
    rows = table(block, "_pdbx_struct_assembly_gen", *_ASSEMBLY_GEN)
    wanted = {f"_pdbx_struct_assembly.{i}" for i in (*_ASSEMBLY, "oligomeric_count")}
    if not (
        wanted <= assemblies.keys()
        and {f"_pdbx_struct_oper_list.{i}" for i in _OPERATION} <= operations.keys()
        and rows
    ):
        return {}
    order = assemblies["_pdbx_struct_assembly.id"]
    rows = [row for assembly in order for row in rows if row[0] == assembly]
    generated = {
        f"_pdbx_struct_assembly_gen.{item}": [row[i] for row in rows]
        for i, item in enumerate(_ASSEMBLY_GEN)
    }
    return {**assemblies, **generated, **operations}


def _components(block: gemmi.cif.Block) -> Columns:
    """The chemical components of the whole entry, by id."""
    ids = column(block, "_chem_comp.id")
    types = column(block, "_chem_comp.type")
    if not (ids and types):
        return {}
    values: dict[str, dict[str, str]] = {}
    optional = {
        item: column(block, f"_chem_comp.{item}") or ["?"] * len(ids)
        for item in (*_COMPONENT, "pdbx_smiles")
    }
    for i, component in enumerate(ids):
        values[component] = {"id": component, "type": types[i]}
        values[component] |= {item: optional[item][i] for item in optional}
    if "MSE" in values:
        values.setdefault("MET", _METHIONINE)
    order = sorted(values)
    items = ["id", "type", *_COMPONENT]
    if any(values[c]["pdbx_smiles"] != "?" for c in order):
        items.append("pdbx_smiles")
    columns = {
        f"_chem_comp.{item}": [values[component][item] for component in order]
        for item in items
    }
    return {
        **columns,
        **_component_atoms(block, order),
        **_component_bonds(block, order),
    }


def _by_component(
    block: gemmi.cif.Block, category: str, required: Sequence[str], order: Sequence[str]
) -> list[int]:
    """Rows of a category of the components' parts, sorted as the components are."""
    owners = column(block, f"{category}.comp_id")
    for item in required if owners else ():
        if not column(block, f"{category}.{item}"):
            raise ValueError(f"{category}.{item} is missing")
    rank = {component: i for i, component in enumerate(order)}
    kept = [i for i, owner in enumerate(owners) if owner in rank]
    return sorted(kept, key=lambda i: rank[owners[i]])


def _component_atoms(block: gemmi.cif.Block, order: Sequence[str]) -> Columns:
    category = "_chem_comp_atom"
    rows = _by_component(block, category, ("atom_id", "type_symbol"), order)
    if not rows:
        return {}
    owners = column(block, f"{category}.comp_id")
    names = column(block, f"{category}.atom_id")
    # An atom listed twice counts once, in its first place with its last values.
    last = {(owners[i], names[i]): i for i in rows}
    rows = [last[key] for key in dict.fromkeys((owners[i], names[i]) for i in rows)]
    items = ("comp_id", "atom_id", "type_symbol", "pdbx_leaving_atom_flag")
    columns = {i: column(block, f"{category}.{i}") for i in items}
    found = {
        f"{category}.{item}": [values[i] for i in rows] if values else ["?"] * len(rows)
        for item, values in columns.items()
    }
    for item in ("charge", "pdbx_ordinal"):
        values = column(block, f"{category}.{item}") or ["?"] * len(owners)
        found[f"{category}.{item}"] = [_integer(values[i]) for i in rows]
    for item in _IDEAL:
        values = column(block, f"{category}.{item}") or ["?"] * len(owners)
        found[f"{category}.{item}"] = [_coordinate(values[i]) for i in rows]
    return found


def _integer(value: str) -> str:
    return "?" if value in (".", "?", "") else str(int(value))


def _coordinate(value: str) -> str:
    return "?" if value in (".", "?", "") else f"{np.float32(value):.3f}"


def _component_bonds(block: gemmi.cif.Block, order: Sequence[str]) -> Columns:
    category = "_chem_comp_bond"
    rows = _by_component(block, category, ("atom_id_1", "atom_id_2"), order)
    items = ("comp_id", "atom_id_1", "atom_id_2")
    optional = ("value_order", "pdbx_aromatic_flag", "pdbx_stereo_config")
    columns = {
        item: column(block, f"{category}.{item}") for item in (*items, *optional)
    }
    return {
        f"{category}.{item}": [values[i] or "?" for i in rows]
        if values
        else ["?"] * len(rows)
        for item, values in columns.items()
        if rows
    }


def _sequence(entry: Entry, chain: ReadChain) -> Columns:
    entity = entry.entity_of[chain.chain_id]
    descriptions = mapping(entry.block, "_entity", "id", "pdbx_description")
    size = len(chain.residues)
    names = [parent_component(r.component) for r in chain.residues]
    numbers = [str(int(r.label_seq_id)) for r in chain.residues]
    resolved = set(chain.residue_of_atom)
    scheme = {
        "asym_id": [chain.chain_id] * size,
        "entity_id": [entity] * size,
        "seq_id": numbers,
        "mon_id": names,
        "pdb_seq_num": [r.author_number for r in chain.residues],
        "auth_seq_num": [
            r.author_number if i in resolved else "?"
            for i, r in enumerate(chain.residues)
        ],
        "pdb_strand_id": [chain.author_id] * size,
        "pdb_ins_code": [
            (r.insertion_code or ".").replace("?", ".") for r in chain.residues
        ],
        "hetero": ["n"] * size,
    }
    return {
        **{f"_pdbx_poly_seq_scheme.{item}": values for item, values in scheme.items()},
        "_entity_poly_seq.entity_id": [entity] * size,
        "_entity_poly_seq.num": numbers,
        "_entity_poly_seq.mon_id": names,
        "_entity_poly_seq.hetero": ["n"] * size,
        "_struct_asym.id": [chain.chain_id],
        "_struct_asym.entity_id": [entity],
        "_entity.id": [entity],
        "_entity.pdbx_description": [descriptions.get(entity, "?")],
        "_entity.type": ["polymer" if chain.kind in POLYMERS else chain.kind],
        "_entity_poly.entity_id": [entity],
        "_entity_poly.type": [chain.kind],
        "_entity_poly.pdbx_strand_id": [chain.author_id],
    }


@dataclass(frozen=True)
class ChainAtoms:
    """The atoms of a chain under the names a standard residue has for them."""

    name: list[str]
    element: list[str]
    component: list[str]
    positions: Float32[ndarray, "a 3"]


def read_atoms(entry: Entry, chain: ReadChain) -> ChainAtoms:
    """Atoms in the chain's order; selenium as sulphur, arginines mended.

    Raises:
        ValueError: a coordinate is no number.
    """
    positions = _numbers(entry.atoms, _POSITION, chain.atoms)
    names = _mend_arginines(entry, chain, positions)
    elements = [entry.atoms["type_symbol"][i] for i in chain.atoms]
    components = [
        parent_component(chain.residues[i].component) for i in chain.residue_of_atom
    ]
    for i, component in enumerate(components):
        if component == "MET" and names[i] == "SE":
            names[i], elements[i] = "SD", "S"
    return ChainAtoms(names, elements, components, positions)


def _atom_site(entry: Entry, chain: ReadChain) -> Columns:
    read, size = read_atoms(entry, chain), len(chain.atoms)
    residues = [chain.residues[i] for i in chain.residue_of_atom]
    columns = {
        "group_PDB": [
            "ATOM" if c in STANDARD_COMPONENTS else "HETATM" for c in read.component
        ],
        "id": [str(i) for i in range(1, size + 1)],
        "type_symbol": read.element,
        "label_atom_id": read.name,
        "label_alt_id": ["."] * size,
        "label_comp_id": read.component,
        "label_asym_id": [chain.chain_id] * size,
        "label_entity_id": [entry.entity_of[chain.chain_id]] * size,
        "label_seq_id": [str(int(r.label_seq_id)) for r in residues],
        "pdbx_PDB_ins_code": [r.insertion_code for r in residues],
        "auth_seq_id": [r.author_number for r in residues],
        "auth_asym_id": [chain.author_id] * size,
        "pdbx_PDB_model_num": ["1"] * size,
    }
    for axis, item in enumerate(_POSITION):
        columns[item] = [f"{value:.3f}" for value in read.positions[:, axis].tolist()]
    other = _numbers(entry.atoms, ("occupancy", "B_iso_or_equiv"), chain.atoms)
    for axis, item in enumerate(("occupancy", "B_iso_or_equiv")):
        columns[item] = [f"{value:.2f}" for value in other[:, axis].tolist()]
    return {f"_atom_site.{item}": values for item, values in columns.items()}


def _numbers(
    atoms: Mapping[str, Sequence[str]], items: Sequence[str], rows: Sequence[int]
) -> Float32[ndarray, "a items"]:
    """Columns as numbers; single precision, which is what the text is rounded from."""
    try:
        return (
            np.array([[atoms[item][i] for item in items] for i in rows], dtype=object)
            .astype(np.float32)
            .reshape(len(rows), len(items))
        )
    except ValueError as error:
        named = ", ".join(items)
        raise ValueError(f"_atom_site: {named} must be numbers: {error}") from error


def parent_component(component: str) -> str:
    """The component a residue is taken for."""
    return "MET" if component == "MSE" else component


def _mend_arginines(
    entry: Entry, chain: ReadChain, positions: Float32[ndarray, "a 3"]
) -> list[str]:
    """Atom names, with NH1 and NH2 exchanged where NH2 is the nearer to CD."""
    names = [entry.atoms["label_atom_id"][i] for i in chain.atoms]
    by_residue: dict[int, dict[str, int]] = {}
    for i, residue in enumerate(chain.residue_of_atom):
        if chain.residues[residue].component == "ARG":
            by_residue.setdefault(residue, {}).setdefault(names[i], i)
    for index_of in by_residue.values():
        if not {"CD", "NH1", "NH2"} <= index_of.keys():
            continue
        carbon, first, second = (index_of[name] for name in ("CD", "NH1", "NH2"))
        if _squared(positions, first, carbon) <= _squared(positions, second, carbon):
            continue
        names[first], names[second] = "NH2", "NH1"
        for one, other in _HYDROGEN_SWAPS:
            if one in index_of:
                names[index_of[one]] = other
            if other in index_of:
                # Alone, HH22 becomes HH21 in the published code.
                lone = other == "HH22" and one not in index_of
                names[index_of[other]] = "HH21" if lone else one
    return names


def _squared(positions: Float32[ndarray, "a 3"], i: int, j: int) -> np.float32:
    x, y, z = positions[i] - positions[j]
    return x * x + y * y + z * z

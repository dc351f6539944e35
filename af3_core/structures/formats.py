"""A predicted structure's mmCIF in other formats: PDB and BinaryCIF."""

import io
from typing import Any

import biotite.structure.io.pdbx as pdbx
import gemmi
import numpy as np

_MAX_PDB_ATOMS = 99_999
_MAX_PDB_RESIDUE = 9_999
_PDB_COORDINATES = (-999.999, 9999.999)
_FLOAT_ITEMS = ("Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv")
_INTEGER_ITEMS = ("id", "label_seq_id", "auth_seq_id", "pdbx_PDB_model_num")


def find_pdb_obstacle(mmcif: str) -> str | None:
    """Why the structure does not fit the PDB format, as a sentence; None if it does."""
    sites = gemmi.cif.read_string(mmcif)[0].get_mmcif_category("_atom_site.")
    if len(sites["id"]) > _MAX_PDB_ATOMS:
        return f"{len(sites['id'])} atoms; a PDB file holds {_MAX_PDB_ATOMS}"
    for item, longest, what in (
        ("auth_asym_id", 1, "chain id"),
        ("label_comp_id", 3, "component code"),
        ("label_atom_id", 4, "atom name"),
    ):
        name = max(sites[item], key=len)
        if len(name) > longest:
            return f"{what} {name} has more than {longest} characters"
    last = max(map(int, sites["auth_seq_id"]))
    if last > _MAX_PDB_RESIDUE:
        return f"residue number {last} is above {_MAX_PDB_RESIDUE}"
    for axis in "xyz":
        values = [float(v) for v in sites[f"Cartn_{axis}"]]
        low, high = _PDB_COORDINATES
        if min(values) < low or max(values) > high:
            return f"coordinates reach from {min(values)} to {max(values)} Å"
    return None


def to_pdb(mmcif: str) -> str:
    """The text of a PDB file, pLDDT as B-factors.

    Raises:
        ValueError: if the structure does not fit the format.
    """
    obstacle = find_pdb_obstacle(mmcif)
    if obstacle:
        raise ValueError(f"the structure does not fit a PDB file: {obstacle}")
    block = gemmi.cif.read_string(mmcif)[0]
    structure = gemmi.make_structure_from_block(block)
    structure.setup_entities()
    return structure.make_pdb_string(gemmi.PdbWriteOptions(seqres_records=True))


def to_binary_cif(mmcif: str) -> bytes:
    """The same categories and items as BinaryCIF, compressed without loss."""
    (name, block), *_ = pdbx.CIFFile.read(io.StringIO(mmcif)).items()
    categories: dict[str, Any] = {
        category: pdbx.BinaryCIFCategory(
            {
                item: _binary_column(category, item, column)
                for item, column in values.items()
            }
        )
        for category, values in block.items()
    }
    file = pdbx.BinaryCIFFile({name: pdbx.BinaryCIFBlock(categories)})
    buffer = io.BytesIO()
    pdbx.compress(file).write(buffer)
    return buffer.getvalue()


def _binary_column(
    category: str, item: str, column: pdbx.CIFColumn
) -> pdbx.BinaryCIFColumn:
    values, mask = column.as_array(str), column.mask
    if category == "atom_site" and item in _FLOAT_ITEMS:
        return pdbx.BinaryCIFColumn(values.astype(np.float64))
    if category == "atom_site" and item in _INTEGER_ITEMS:
        present = mask.array == pdbx.MaskValue.PRESENT if mask is not None else True
        numbers = np.where(present, values, "0").astype(np.int32)
        return pdbx.BinaryCIFColumn(numbers, None if mask is None else mask.array)
    return pdbx.BinaryCIFColumn(values, None if mask is None else mask.array)

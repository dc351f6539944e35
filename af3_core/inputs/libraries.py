"""Libraries of ligands: SMILES files, SD files, and tables of codes or SMILES."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from af3_core.inputs.entry import Entry
from af3_core.job import InputError

LIGAND_SUFFIXES = frozenset({".smi", ".smiles", ".sdf", ".csv", ".tsv"})
"""Endings of files with many ligands."""


@dataclass(frozen=True)
class LibraryLigand:
    """One record of a library, not checked yet."""

    where: str
    name: str | None
    kind: str
    """smiles or ccd."""
    text: str


def read_library(
    text: str, suffix: str, file: str
) -> Iterator[LibraryLigand | InputError]:
    """The records of a library, or what is wrong with them.

    Args:
        suffix: one of `LIGAND_SUFFIXES`, which says what the text is.
    """
    if suffix == ".sdf":
        return _read_sd_file(text, file)
    if suffix in (".smi", ".smiles"):
        return _read_smiles_file(text)
    return _read_table(text, suffix, file)


def _read_smiles_file(text: str) -> Iterator[LibraryLigand]:
    """SMILES, white space and a name on each line; `#` begins a comment line."""
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        smiles, _, name = line.strip().partition("\t")
        if not name:
            smiles, _, name = line.strip().partition(" ")
        is_heading = number == 1 and smiles.lower() in ("smiles", "canonical_smiles")
        if smiles and not smiles.startswith("#") and not is_heading:
            name = " ".join(name.split()) or None
            yield LibraryLigand(f"line {number}", name, "smiles", smiles)


def _read_sd_file(text: str, file: str) -> Iterator[LibraryLigand | InputError]:
    from rdkit import Chem

    supplier = Chem.SDMolSupplier()
    supplier.SetData(text)
    for index in range(len(supplier)):
        where = f"record {index + 1}"
        molecule = supplier[index]
        if molecule is None:
            allowed = "a molecule of an SD file that RDKit can read"
            yield InputError(file, where, "this record", allowed)
            continue
        name = molecule.GetProp("_Name") if molecule.HasProp("_Name") else ""
        smiles = Chem.MolToSmiles(molecule)
        yield LibraryLigand(where, " ".join(name.split()) or None, "smiles", smiles)


def _read_table(
    text: str, suffix: str, file: str
) -> Iterator[LibraryLigand | InputError]:
    lines = text.removeprefix("\ufeff").splitlines()
    heading = lines[0] if lines else ""
    delimiter = "\t" if suffix == ".tsv" or "\t" in heading else ","
    if delimiter not in heading and ";" in heading:
        delimiter = ";"
    rows = csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip().lower() for name in next(rows, [])]
        if not {"smiles", "ccd"} & set(columns):
            allowed = "a column smiles or ccd, and a column name if wanted"
            yield InputError(file, "line 1", heading, allowed)
            return
        for row in rows:
            cells = dict(zip(columns, (cell.strip() for cell in row), strict=False))
            given = [kind for kind in ("smiles", "ccd") if cells.get(kind)]
            where = f"line {rows.line_num}"
            if not any(cells.values()):
                continue
            if len(given) != 1:
                allowed = "either smiles or ccd in every row"
                yield Entry(file, where, cells.get("name", ""), "").refuse(allowed)
                continue
            name = cells.get("name") or None
            yield LibraryLigand(where, name, given[0], cells[given[0]])
    except csv.Error as error:
        allowed = f"a table; the parser says: {error}"
        yield InputError(file, f"line {rows.line_num}", "this line", allowed)

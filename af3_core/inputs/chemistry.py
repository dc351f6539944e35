"""What a job says of chemistry, checked against the component dictionary and RDKit.

The dictionary is read, and RDKit imported, by the first job that needs them: most jobs
of a proteome name no component at all.
"""

import difflib
from functools import cache

from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.residues import residue_codes
from af3_core.inputs.entry import Entry
from af3_core.inputs.rules import check_code
from af3_core.job import InputError, Ligand, Polymer

_MAX_NAMES_SHOWN = 40


@cache
def standard_components() -> Components:
    """The dictionary alone, shared by all jobs without components of their own."""
    return Components()


def load_components(entry: Entry, user_ccd: str) -> Components:
    """The dictionary with the user's own components laid over it."""
    from af3_core.chemistry.user_components import UserComponentError

    try:
        return Components.load(user_ccd)
    except UserComponentError as error:
        block = f"data_{error.block}" if error.block else ""
        path = " ".join(filter(None, (entry.path, block, error.item)))
        raise InputError(entry.file, path, error.value, error.allowed) from error


def check_component(entry: Entry, components: Components) -> str:
    """A component code that the dictionary or the user's components have."""
    code = check_code(entry)
    if code in components:
        return code
    near = difflib.get_close_matches(code, components.user, n=1)
    near = [code.upper()] if code.upper() in components else near
    hint = f"; did you mean {near[0]}?" if near else ""
    raise entry.refuse(f"a code of the component dictionary or of userCCD{hint}")


def check_smiles(entry: Entry, smiles: str) -> str:
    """A SMILES string that becomes a molecule of known elements."""
    from af3_core.chemistry.molecules import SmilesError, smiles_component

    try:
        component = smiles_component(smiles, "LIG")
    except SmilesError as error:
        raise entry.refuse(f"a valid SMILES string ({error})") from error
    if "*" in component.elements:
        raise entry.refuse("a SMILES string without unspecified atoms (*)")
    return smiles


def check_bond_atom(
    entry: Entry,
    name: str,
    entity: Polymer | Ligand,
    residue_id: int,
    components: Components,
) -> str:
    """The name of a heavy atom that the residue's component has."""
    is_ligand = isinstance(entity, Ligand)
    codes = entity.codes if is_ligand else residue_codes(entity)
    component = components[codes[residue_id - 1]]
    names = [component.atom_names[index] for index in component.heavy_atoms]
    if name not in names:
        shown = ", ".join(names[:_MAX_NAMES_SHOWN])
        raise entry.refuse(f"an atom of {component.code} besides hydrogen: {shown}")
    return name

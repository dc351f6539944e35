"""RDKit molecules of dictionary components and of SMILES ligands.

The order of RDKit's operations is AlphaFold 3's: it decides which stereocentres and
charges a molecule ends up with, and so which conformer a seed gives.
"""

import numpy as np
from rdkit import Chem, rdBase

from af3_core.chemistry.component import Component, ComponentBond

MAX_NAME_LENGTH = 4
"""Characters of an atom name that the model can be told."""

_ORDERS = {
    "SING": Chem.BondType.SINGLE,
    "DOUB": Chem.BondType.DOUBLE,
    "TRIP": Chem.BondType.TRIPLE,
}
_ORDER_NAMES = {order: name for name, order in _ORDERS.items()} | {
    Chem.BondType.DATIVE: "SING"
}
_AROMATIC = {"Y": True, "N": False}
_ATOMIC_NUMBERS = {
    Chem.GetPeriodicTable().GetElementSymbol(number): number for number in range(1, 119)
}


class SmilesError(ValueError):
    """A SMILES string that cannot become a ligand; the message says why."""


def atomic_number(element: str) -> int:
    """Returns the atomic number of an element in any case; 0 if there is none."""
    return _ATOMIC_NUMBERS.get(element.capitalize(), 0)


def rdkit_symbol(element: str) -> str:
    """The element as RDKit writes it; `*` for an unknown one."""
    return element.capitalize() if atomic_number(element) else "*"


def van_der_waals_radius(element: str) -> float:
    """Bondi's radius in Å; carbon's for an unknown element, which the dictionary
    writes as X."""
    symbol = element.capitalize() if atomic_number(element) else "C"
    return Chem.GetPeriodicTable().GetRvdw(symbol)


def covalent_radius(element: str) -> float:
    """Covalent radius in Å; carbon's for an unknown element."""
    symbol = element.capitalize() if atomic_number(element) else "C"
    return Chem.GetPeriodicTable().GetRcovalent(symbol)


def component_molecule(component: Component) -> Chem.Mol | None:
    """Makes a molecule with all hydrogens, atoms sorted by name.

    Returns:
        None where RDKit cannot make sense of the component: unknown charges, elements
        or ideal coordinates, other bond orders, impossible valences. Atoms carry the
        property `atom_name`.
    """
    if not _is_complete(component):
        return None
    with rdBase.BlockLogs():
        molecule = _assemble(component)
        molecule.UpdatePropertyCache(strict=False)
        conformer = Chem.Conformer(len(component.atom_names))
        conformer.SetPositions(component.ideal_positions)
        molecule.AddConformer(conformer)
        try:
            Chem.AssignStereochemistryFrom3D(molecule)
            Chem.SanitizeMol(molecule)
        except ValueError:
            # RDKit's refusal of valences or aromatic rings: a fact about the
            # component, answered by its ideal coordinates.
            return None
        index = {a.GetProp("atom_name"): a.GetIdx() for a in molecule.GetAtoms()}
        return Chem.RenumberAtoms(molecule, [index[name] for name in sorted(index)])


def _is_complete(component: Component) -> bool:
    return (
        len(component.atom_names) > 0
        and all(1 <= len(n.strip()) <= MAX_NAME_LENGTH for n in component.atom_names)
        and all(e == "X" or atomic_number(e) for e in component.elements)
        and None not in component.charges
        and bool(np.isfinite(component.ideal_positions).all())
        and all(b.order in _ORDERS and b.aromatic in _AROMATIC for b in component.bonds)
    )


def _assemble(component: Component) -> Chem.RWMol:
    molecule = Chem.RWMol()
    index = {}
    for name, element, charge in zip(
        component.atom_names, component.elements, component.charges, strict=True
    ):
        atom = Chem.Atom(rdkit_symbol(element))
        atom.SetNoImplicit(True)
        atom.SetProp("atom_name", name)
        atom.SetFormalCharge(charge or 0)
        index[name] = molecule.AddAtom(atom)
    for bond in component.bonds:
        count = molecule.AddBond(
            index[bond.atom_1], index[bond.atom_2], _ORDERS[bond.order]
        )
        molecule.GetBondWithIdx(count - 1).SetIsAromatic(_AROMATIC[bond.aromatic])
    return molecule


def smiles_molecule(smiles: str) -> Chem.Mol:
    """Makes a molecule with all hydrogens; atoms are named by element and count.

    The n-th carbon is Cn, the n-th chlorine CLn, in the order of the string. Atoms
    carry the property `atom_name`.

    Raises:
        SmilesError: RDKit does not accept the string.
    """
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        raise SmilesError("RDKit cannot read it as a molecule")
    molecule = Chem.AddHs(molecule)
    counts: dict[str, int] = {}
    for atom in molecule.GetAtoms():
        element = atom.GetSymbol()
        counts[element] = counts.get(element, 0) + 1
        atom.SetProp("atom_name", f"{element.upper()}{counts[element]}")
    return molecule


def smiles_component(smiles: str, code: str) -> Component:
    """Describes a SMILES ligand as a dictionary entry does; no coordinates.

    Raises:
        SmilesError: RDKit does not accept the string, the molecule has no heavy atom
            or too many, or a bond is neither single, double nor triple.
    """
    molecule = smiles_molecule(smiles)
    atoms = list(molecule.GetAtoms())
    heavy = [a for a in atoms if a.GetAtomicNum() != 1]
    if not heavy:
        raise SmilesError("it has no atom besides hydrogen")
    names = tuple(a.GetProp("atom_name") for a in atoms)
    if any(len(a.GetProp("atom_name")) > MAX_NAME_LENGTH for a in heavy):
        raise SmilesError("it has more than 999 atoms of an element")
    unknown = np.full((len(atoms), 3), np.nan)
    return Component(
        code=code,
        name=code,
        type="non-polymer",
        parent=None,
        formula=None,
        formula_weight=None,
        synonyms=None,
        modified=None,
        atom_names=names,
        elements=tuple(a.GetSymbol() for a in atoms),
        charges=tuple(a.GetFormalCharge() for a in atoms),
        leaving=("N",) * len(atoms),
        ideal_positions=unknown,
        deposited_positions=unknown,
        bonds=_smiles_bonds(molecule),
    )


def _smiles_bonds(molecule: Chem.Mol) -> tuple[ComponentBond, ...]:
    molecule = Chem.Mol(molecule)
    Chem.Kekulize(molecule)
    bonds = []
    for bond in molecule.GetBonds():
        if bond.GetBondType() not in _ORDER_NAMES:
            raise SmilesError("its bonds must be single, double, triple or aromatic")
        bonds.append(
            ComponentBond(
                bond.GetBeginAtom().GetProp("atom_name"),
                bond.GetEndAtom().GetProp("atom_name"),
                _ORDER_NAMES[bond.GetBondType()],
                "Y" if bond.GetIsAromatic() else "N",
            )
        )
    return tuple(bonds)

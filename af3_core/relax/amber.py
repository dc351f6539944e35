"""Second stage of relaxation: hydrogens and the Amber14 force field.

Standard residues follow ff14SB (doi:10.1021/acs.jctc.5b00255), OL15 (DNA,
doi:10.1021/acs.jctc.5b00716) and OL3 (RNA, doi:10.1021/ct200162x). Every other residue
is *generic*: Lennard-Jones spheres by element, without charge or hydrogens, held
together by the geometry of its component. So a residue that no force field knows is
felt by its neighbours and never stops them.
"""

import random
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path

import numpy as np
import openmm
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from openmm import app, unit

from af3_core.chemistry.residues import DNA_CODES, PROTEIN_CODES, RNA_CODES
from af3_core.relax.geometry import geometry_forces
from af3_core.relax.minimise import Budget, platform_of
from af3_core.structures.covalent import CovalentGeometry, select_terms
from af3_core.structures.structure import Chemistry, Structure, residue_starts

FORCE_FIELDS = (
    "amber14/protein.ff14SB.xml",
    "amber14/DNA.OL15.xml",
    "amber14/RNA.OL3.xml",
)
_DATA = Path(app.__file__).parent / "data"
_STANDARD = {
    "protein": frozenset(PROTEIN_CODES.values()),
    "rna": frozenset(RNA_CODES.values()),
    "dna": frozenset(DNA_CODES.values()),
}
_INCOMING = {"protein": "N", "rna": "P", "dna": "P"}
_OUTGOING = {"protein": "C", "rna": "O3'", "dna": "O3'"}
_LENNARD_JONES = {
    "C": (0.34, 0.36),
    "N": (0.325, 0.71),
    "O": (0.30, 0.71),
    "S": (0.356, 1.05),
    "P": (0.374, 0.84),
    "F": (0.312, 0.26),
    "CL": (0.347, 1.11),
    "BR": (0.36, 1.65),
    "I": (0.39, 2.1),
    "SE": (0.36, 1.2),
    "SI": (0.38, 0.8),
    "B": (0.34, 0.4),
}
"""Elements: distance in nm and depth in kJ/mol, rounded from GAFF."""
_METAL = (0.10, 0.05)
"""Beside an oxygen it is free beyond 2.2 Å."""
_CUTOFF_NM = 1.0


@dataclass(frozen=True, eq=False)
class AmberModel:
    """A structure with hydrogens, ready to be minimised."""

    system: openmm.System
    topology: app.Topology
    positions: Float[ndarray, "p 3"]
    """Å."""
    heavy: Int[ndarray, "a"]
    """Particle of each atom of the structure."""
    parents: Int[ndarray, "p"]
    """Particle that each hydrogen sits on; itself for others."""
    is_generic: Bool[ndarray, "a"]
    """Atoms of residues that the force field does not know."""


def build_model(
    structure: Structure,
    geometry: CovalentGeometry,
    chemistry: Chemistry,
    budget: Budget,
) -> AmberModel:
    """Adds hydrogens and assigns parameters.

    Raises:
        ValueError: OpenMM finds no parameters even for residues it should know.
        openmm.OpenMMException: coordinates became NaN.
    """
    residues = _residues(structure, geometry, chemistry)
    generic = {i for i, residue in enumerate(residues) if not residue.is_standard}
    topology = _topology(geometry, residues)
    while True:
        field = _force_field(residues, generic)
        modeller, templates = _add_hydrogens(
            topology, structure.positions, field, residues, generic, budget
        )
        unmatched = {
            r.index
            for r in field.getUnmatchedResidues(modeller.topology)
            if r.index not in generic
        }
        if not unmatched:
            break
        generic |= unmatched
    system = field.createSystem(
        modeller.topology,
        nonbondedMethod=app.CutoffNonPeriodic,  # pyright: ignore[reportArgumentType]
        nonbondedCutoff=_CUTOFF_NM,
        constraints=None,
        rigidWater=False,
        removeCMMotion=False,
        residueTemplates=templates,
    )
    return _assemble(system, modeller, geometry, residues, generic)


@dataclass(frozen=True, eq=False)
class _Residue:
    """One residue and the part it plays."""

    index: int
    name: str
    kind: str
    atoms: slice
    atom_names: tuple[str, ...]
    elements: tuple[str, ...]
    inner_bonds: tuple[tuple[str, str], ...]
    links: tuple[str, ...]
    """Atoms bonded to other residues, once for each bond."""
    starts_chain: bool
    ends_chain: bool
    is_standard: bool

    @property
    def template(self) -> str:
        """Name of its generic template: equal for equal atoms, bonds and links."""
        return "|".join(["generic", self.name, *self.atom_names, "-", *self.links])

    @property
    def has_phosphate(self) -> bool:
        """True for a nucleotide with a 5' phosphate and nothing before it."""
        return self.kind in ("rna", "dna") and "OP3" in self.atom_names


def _residues(
    structure: Structure, geometry: CovalentGeometry, chemistry: Chemistry
) -> list[_Residue]:
    starts = residue_starts(structure)
    bounds = np.append(starts, structure.num_atoms)
    owner = np.repeat(np.arange(len(starts)), np.diff(bounds))
    names = structure.atom_name
    inner: list[list[tuple[str, str]]] = [[] for _ in starts]
    links: list[list[str]] = [[] for _ in starts]
    follows = np.zeros(len(starts), bool)
    for (i, j), is_link in zip(
        geometry.bonds.tolist(), geometry.is_link.tolist(), strict=True
    ):
        if not is_link:
            inner[owner[i]].append((str(names[i]), str(names[j])))
            continue
        links[owner[i]].append(str(names[i]))
        links[owner[j]].append(str(names[j]))
        kind = str(structure.kind[i])
        if owner[j] == owner[i] + 1 and names[j] == _INCOMING.get(kind):
            follows[owner[j]] |= bool(names[i] == _OUTGOING.get(kind))
    result = []
    for i, start in enumerate(starts.tolist()):
        atoms = slice(start, int(bounds[i + 1]))
        next_follows = i + 1 < len(starts) and bool(follows[i + 1])
        shape = _Residue(
            index=i,
            name=str(structure.residue_name[start]),
            kind=str(structure.kind[start]),
            atoms=atoms,
            atom_names=tuple(names[atoms].tolist()),
            elements=tuple(str(e).upper() for e in structure.element[atoms]),
            inner_bonds=tuple(inner[i]),
            links=tuple(sorted(links[i])),
            starts_chain=not follows[i],
            ends_chain=not next_follows,
            is_standard=False,
        )
        standard = _is_standard(shape, chemistry)
        result.append(_Residue(**{**vars(shape), "is_standard": standard}))
    return result


def _is_standard(residue: _Residue, chemistry: Chemistry) -> bool:
    """Says whether Amber has a template for exactly these atoms and links."""
    if residue.name not in _STANDARD.get(residue.kind, ()):
        return False
    component = chemistry.components[residue.name]
    expected = {component.atom_names[i] for i in component.heavy_atoms}
    expected -= {"OXT", "OP3"}
    links = []
    if residue.kind == "protein":
        if residue.starts_chain and residue.ends_chain:
            return False
        expected |= {"OXT"} if residue.ends_chain else set()
        links += [] if residue.starts_chain else ["N"]
        links += [] if residue.ends_chain else ["C"]
        links += ["SG"] * residue.links.count("SG")
    else:
        if residue.starts_chain and residue.has_phosphate:
            expected |= {"OP3"}
        elif residue.starts_chain:
            expected -= {"P", "OP1", "OP2"}
        links += [] if residue.starts_chain else ["P"]
        links += [] if residue.ends_chain else ["O3'"]
    return set(residue.atom_names) == expected and tuple(sorted(links)) == residue.links


def _topology(geometry: CovalentGeometry, residues: list[_Residue]) -> app.Topology:
    """OpenMM's view: a chain for each unbroken stretch of polymer, then the bonds."""
    topology = app.Topology()
    chain, atoms = None, []
    for residue in residues:
        if chain is None or residue.starts_chain:
            chain = topology.addChain()
        row = topology.addResidue(residue.name, chain)
        for name, element in zip(residue.atom_names, residue.elements, strict=True):
            atoms.append(topology.addAtom(name, _element(element), row))
    for i, j in geometry.bonds.tolist():
        topology.addBond(atoms[i], atoms[j])
    return topology


def _element(symbol: str) -> app.Element:
    return app.Element.getBySymbol(symbol.capitalize())


def _force_field(residues: list[_Residue], generic: set[int]) -> app.ForceField:
    field = app.ForceField(*FORCE_FIELDS)
    field.loadFile(StringIO(_phosphate_templates()))
    chosen = {residues[i].template: residues[i] for i in sorted(generic)}
    if chosen:
        field.loadFile(StringIO(_generic_templates(chosen.values())))
    return field


@cache
def _phosphate_templates() -> str:
    """Nucleotides that begin with a phosphate, which Amber's library has not."""
    root = ElementTree.Element("ForceField")
    library = ElementTree.SubElement(root, "Residues")
    for kind, file, codes in (
        ("DNA", FORCE_FIELDS[1], DNA_CODES),
        ("RNA", FORCE_FIELDS[2], RNA_CODES),
    ):
        tree = ElementTree.parse(_DATA / file)
        inner = {r.attrib["name"]: r for r in tree.iterfind("Residues/Residue")}
        for code in codes.values():
            for name in (code, f"{code}3"):
                residue = inner[name]
                residue.attrib["name"] = f"{name}-phosphate"
                oxygen = {"name": "OP3", "type": f"{kind}-O2", "charge": "-0.7761"}
                residue.insert(0, ElementTree.Element("Atom", oxygen))
                bond = {"atomName1": "P", "atomName2": "OP3"}
                residue.append(ElementTree.Element("Bond", bond))
                for external in residue.findall("ExternalBond"):
                    if external.attrib["atomName"] == "P":
                        residue.remove(external)
                library.append(residue)
    return ElementTree.tostring(root, encoding="unicode")


def _generic_templates(residues: Iterable[_Residue]) -> str:
    """Residues of uncharged spheres, as OpenMM force field XML."""
    root = ElementTree.Element("ForceField")
    types = ElementTree.SubElement(root, "AtomTypes")
    library = ElementTree.SubElement(root, "Residues")
    nonbonded = ElementTree.SubElement(
        root, "NonbondedForce", coulomb14scale="0.8333333333333334", lj14scale="0.5"
    )
    ElementTree.SubElement(nonbonded, "UseAttributeFromResidue", name="charge")
    elements = set()
    for residue in residues:
        entry = ElementTree.SubElement(library, "Residue", name=residue.template)
        for name, element in zip(residue.atom_names, residue.elements, strict=True):
            elements.add(element)
            ElementTree.SubElement(
                entry, "Atom", name=name, type=f"generic-{element}", charge="0"
            )
        for first, second in residue.inner_bonds:
            ElementTree.SubElement(entry, "Bond", atomName1=first, atomName2=second)
        for name in residue.links:
            ElementTree.SubElement(entry, "ExternalBond", atomName=name)
    for element in sorted(elements):
        kind = f"generic-{element}"
        known = _element(element)
        mass = known.mass.value_in_unit(unit.dalton)
        ElementTree.SubElement(
            types,
            "Type",
            {"name": kind, "class": kind, "element": known.symbol, "mass": str(mass)},
        )
        sigma, epsilon = _LENNARD_JONES.get(element, _METAL)
        ElementTree.SubElement(
            nonbonded, "Atom", type=kind, sigma=str(sigma), epsilon=str(epsilon)
        )
    return ElementTree.tostring(root, encoding="unicode")


def _add_hydrogens(
    topology: app.Topology,
    positions: Float[ndarray, "a 3"],
    field: app.ForceField,
    residues: list[_Residue],
    generic: set[int],
    budget: Budget,
) -> tuple[app.Modeller, dict[app.topology.Residue, str]]:
    modeller = app.Modeller(topology, positions * unit.angstrom)
    rows = list(topology.residues())
    templates = {rows[i]: residues[i].template for i in generic}
    variants: list[list[tuple[str, str]] | None] = [None] * len(rows)
    for i, residue in enumerate(residues):
        if i in generic:
            variants[i] = []
        elif residue.has_phosphate:
            variants[i] = _hydrogens_after_phosphate(residue)
    state = random.getstate()
    # Modeller draws where hydrogens begin; equal structures shall end alike.
    random.seed(0)
    modeller.addHydrogens(
        field,
        variants=variants,
        residueTemplates=templates,
        platform=platform_of(budget),
    )
    random.setstate(state)
    rows = list(modeller.topology.residues())
    return modeller, {rows[i]: residues[i].template for i in generic}


def _hydrogens_after_phosphate(residue: _Residue) -> list[tuple[str, str]]:
    """OpenMM would give the first nucleotide of a chain a hydroxyl at O5'."""
    return [
        (name, parent)
        for name, parent, terminal in _hydrogen_table()[residue.name]
        if terminal is None or (terminal == "C" and residue.ends_chain)
    ]


@cache
def _hydrogen_table() -> dict[str, list[tuple[str, str, str | None]]]:
    table = {}
    for residue in (
        ElementTree.parse(_DATA / "hydrogens.xml").getroot().findall("Residue")
    ):
        table[residue.attrib["name"]] = [
            (h.attrib["name"], h.attrib["parent"], h.attrib.get("terminal"))
            for h in residue.findall("H")
        ]
    return table


def _assemble(
    system: openmm.System,
    modeller: app.Modeller,
    geometry: CovalentGeometry,
    residues: list[_Residue],
    generic: set[int],
) -> AmberModel:
    heavy, parents = _map_atoms(modeller.topology)
    is_generic = np.zeros(len(heavy), bool)
    for i in generic:
        is_generic[residues[i].atoms] = True
    for force in geometry_forces(select_terms(geometry, is_generic), heavy):
        system.addForce(force)
    positions = modeller.positions.value_in_unit(unit.angstrom)
    return AmberModel(
        system=system,
        topology=modeller.topology,
        positions=np.array([tuple(p) for p in positions]),
        heavy=heavy,
        parents=parents,
        is_generic=is_generic,
    )


def _map_atoms(topology: app.Topology) -> tuple[Int[ndarray, "a"], Int[ndarray, "p"]]:
    """Particles of the structure's atoms, and the particle each particle hangs on."""
    heavy = [a.index for a in topology.atoms() if a.element is not app.element.hydrogen]
    parents = np.arange(topology.getNumAtoms())
    for first, second in topology.bonds():
        for hydrogen, parent in ((first, second), (second, first)):
            if hydrogen.element is app.element.hydrogen:
                parents[hydrogen.index] = parent.index
    return np.array(heavy, np.int64), parents

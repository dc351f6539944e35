"""What of a job takes part: chains, covalent bonds, and the atoms bonds displace.

Before it lays out atoms, AlphaFold 3 cleans a skeleton of the job: the bonded atoms
of residues that have bonds, one stand-in atom of all others. Chains that lose their
last skeleton atom vanish, and with them their bonds. Later steps see what is left.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from af3_core.chemistry.component import HYDROGENS, Component
from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.residues import UNKNOWN_CODES
from af3_core.features.chains import Chain, chains_of
from af3_core.job import BondAtom, Job

Bond = tuple[BondAtom, BondAtom]
Residue = tuple[str, int]
"""Chain id and 1-based residue number."""


class ChemistryError(ValueError):
    """A chain, residue or bond that cannot be built; the message says which."""


@dataclass(frozen=True)
class Assembly:
    """The part of a job that is predicted."""

    chains: tuple[Chain, ...]
    dropped: tuple[Chain, ...]
    """Chains without any known residue, which AlphaFold 3 leaves out."""
    polymer_ligand_bonds: tuple[Bond, ...]
    ligand_ligand_bonds: tuple[Bond, ...]
    """Between residues; bonds within a residue are the component's."""
    carboxyl_ends: frozenset[Residue]
    """Residues within a chain that keep OXT because it is bonded."""
    keeps_free_sugars: bool
    """Sugars that are bonded to nothing keep O1."""


@dataclass(frozen=True)
class _Skeleton:
    chains: tuple[Chain, ...]
    atoms: dict[Residue, tuple[str, ...]]
    bonds: tuple[Bond, ...]

    def keep_atoms(self, is_kept: Callable[[Chain, int, str], bool]) -> "_Skeleton":
        """Drops atoms, then the chains and bonds that lost theirs."""
        atoms = {}
        for chain in self.chains:
            for residue_id in range(1, len(chain.codes) + 1):
                residue = chain.chain_id, residue_id
                atoms[residue] = tuple(
                    a for a in self.atoms[residue] if is_kept(chain, residue_id, a)
                )
        alive = {chain_id for (chain_id, _), names in atoms.items() if names}
        bonds = tuple(
            bond
            for bond in self.bonds
            if all(a.atom_name in atoms[a.chain_id, a.residue_id] for a in bond)
        )
        chains = tuple(c for c in self.chains if c.chain_id in alive)
        return replace(self, chains=chains, atoms=atoms, bonds=bonds)


def assemble(
    job: Job, components: Components, fix_standalone_glycans: bool = False
) -> Assembly:
    """Decides which chains and bonds of a job are predicted.

    Args:
        fix_standalone_glycans: sugars that are bonded to nothing keep O1, which those
            in training never had.

    Raises:
        ChemistryError: an unknown component or atom, or nothing is left to predict.
    """
    chains = chains_of(job)
    skeleton = _Skeleton(chains, _skeleton_atoms(chains, job, components), job.bonds)
    skeleton = skeleton.keep_atoms(lambda chain, *_: not is_unknown(chain))
    skeleton = skeleton.keep_atoms(_is_heavy_and_standard(components))
    is_kept = _is_not_leaving(skeleton, components, fix_standalone_glycans)
    skeleton = skeleton.keep_atoms(is_kept)
    if not skeleton.chains:
        raise ChemistryError("no chain has a known residue, nothing can be predicted")
    kept = {c.chain_id for c in skeleton.chains}
    bonds = [bond for bond in skeleton.bonds if _between_residues(bond)]
    polymers = {c.chain_id for c in skeleton.chains if c.is_polymer}
    num_polymers = [sum(atom.chain_id in polymers for atom in bond) for bond in bonds]
    return Assembly(
        chains=skeleton.chains,
        dropped=tuple(c for c in chains if c.chain_id not in kept),
        polymer_ligand_bonds=_select(bonds, num_polymers, 1),
        ligand_ligand_bonds=_select(bonds, num_polymers, 0),
        carboxyl_ends=frozenset(
            residue
            for residue, names in skeleton.atoms.items()
            if "OXT" in names and residue[0] in kept
        ),
        keeps_free_sugars=fix_standalone_glycans,
    )


def _select(bonds: list[Bond], counts: list[int], wanted: int) -> tuple[Bond, ...]:
    return tuple(b for b, n in zip(bonds, counts, strict=True) if n == wanted)


def _skeleton_atoms(
    chains: Iterable[Chain], job: Job, components: Components
) -> dict[Residue, tuple[str, ...]]:
    bonded: dict[Residue, list[str]] = {}
    for atom in (atom for bond in job.bonds for atom in bond):
        names = bonded.setdefault((atom.chain_id, atom.residue_id), [])
        if atom.atom_name not in names:
            names.append(atom.atom_name)
    atoms = {}
    for chain in chains:
        for residue_id, code in enumerate(chain.codes, start=1):
            residue = chain.chain_id, residue_id
            names = bonded.pop(residue, [])
            if chain.smiles is not None:
                atoms[residue] = tuple(names) or ("",)
                continue
            component = find_component(code, chain, residue_id, components)
            for name in names:
                if name not in component.atom_names:
                    raise ChemistryError(
                        f"residue {residue_id} of chain {chain.chain_id} is a {code}, "
                        f"which has no atom {name!r}; it has "
                        + ", ".join(component.atom_names)
                    )
            atoms[residue] = tuple(names) or (_stand_in_atom(component, components),)
    if bonded:
        (chain_id, residue_id), names = next(iter(bonded.items()))
        raise ChemistryError(
            f"atom {names[0]!r} is bonded, but there is no residue {residue_id} in "
            f"chain {chain_id}"
        )
    return atoms


def find_component(
    code: str, chain: Chain, residue_id: int, components: Components
) -> Component:
    """Looks up a residue's component; ChemistryError where it is unknown or empty."""
    if code not in components:
        raise ChemistryError(
            f"residue {residue_id} of chain {chain.chain_id}: no component {code!r} in "
            "the chemical component dictionary or the user's own components"
        )
    component = components[code]
    if not component.atom_names:
        raise ChemistryError(f"the component {code!r} has no atoms")
    return component


def _layout_component(component: Component, components: Components) -> Component:
    """The unknown amino acid is laid out as glycine, its smallest reading."""
    return components["GLY"] if component.code == "UNK" else component


def _stand_in_atom(component: Component, components: Components) -> str:
    first, *others = _layout_component(component, components).atom_names
    return others[0] if first == "O1" and others else first


def is_unknown(chain: Chain) -> bool:
    """Says whether the chain consists of one kind of unknown residue alone."""
    return len(set(chain.codes)) == 1 and chain.codes[0] in UNKNOWN_CODES


def _is_heavy_and_standard(
    components: Components,
) -> Callable[[Chain, int, str], bool]:
    def is_kept(chain: Chain, residue_id: int, name: str) -> bool:
        if chain.smiles is not None:
            return True
        component = components[chain.codes[residue_id - 1]]
        index = component.atom_names.index(name)
        is_heavy = component.elements[index] not in HYDROGENS
        return is_heavy and name in _layout_component(component, components).atom_names

    return is_kept


def _is_not_leaving(
    skeleton: _Skeleton, components: Components, keep_free: bool
) -> Callable[[Chain, int, str], bool]:
    """Glycans lose O1 unless it is bonded; `keep_free`: or no atom of them is."""
    bonds = _glycan_bonds(skeleton, components)
    bonded = {(a.chain_id, a.residue_id, a.atom_name) for b in bonds for a in b}
    bonded_residues = {(chain_id, residue_id) for chain_id, residue_id, _ in bonded}
    any_bonded_o1 = any(name == "O1" for *_, name in bonded)

    def is_kept(chain: Chain, residue_id: int, name: str) -> bool:
        if chain.smiles is not None:
            return True
        code = chain.codes[residue_id - 1]
        if name not in ("O1", "OXT", "OP3") or not components.is_glycan(code):
            return True
        if not any_bonded_o1 and not keep_free:
            return name != "O1"
        is_free = (chain.chain_id, residue_id) not in bonded_residues
        if keep_free and chain.kind == "ligand" and is_free:
            return True
        dropped = {"ligand": "O1", "protein": "OXT", "rna": "OP3", "dna": "OP3"}
        is_bonded_ligand_atom = (
            chain.kind == "ligand" and (chain.chain_id, residue_id, name) in bonded
        )
        return name != dropped[chain.kind] or is_bonded_ligand_atom

    return is_kept


def _glycan_bonds(skeleton: _Skeleton, components: Components) -> list[Bond]:
    """Bonds with a ligand of which one end is a glycan, at most one for each atom.

    Polymer–ligand bonds and ligand–ligand bonds are counted apart.
    """
    chains = {c.chain_id: c for c in skeleton.chains}
    seen: dict[int, set[BondAtom]] = {0: set(), 1: set()}
    kept = []
    for bond in skeleton.bonds:
        ends = [chains[atom.chain_id] for atom in bond]
        num_polymers = sum(chain.is_polymer for chain in ends)
        codes = [
            chain.codes[atom.residue_id - 1]
            for chain, atom in zip(ends, bond, strict=True)
        ]
        is_glycan = any(components.is_glycan(code) for code in codes)
        if num_polymers == 2 or not is_glycan or not _between_residues(bond):
            continue
        if not seen[num_polymers].intersection(bond):
            kept.append(bond)
        seen[num_polymers].update(bond)
    return kept


def _between_residues(bond: Bond) -> bool:
    first, second = bond
    return (first.chain_id, first.residue_id) != (second.chain_id, second.residue_id)


def layout_atoms(
    component: Component, components: Components
) -> tuple[tuple[str, str], ...]:
    """Returns names and elements of the heavy atoms of a residue, before linking."""
    source = _layout_component(component, components)
    return tuple((source.atom_names[i], source.elements[i]) for i in source.heavy_atoms)


def dropped_atoms(
    chain: Chain, residue_id: int, assembly: Assembly, components: Components
) -> frozenset[str]:
    """Returns the atoms a residue gives up when its chain and bonds are formed."""
    if chain.kind == "protein":
        is_end = residue_id == len(chain.codes)
        is_end |= (chain.chain_id, residue_id) in assembly.carboxyl_ends
        return frozenset() if is_end else frozenset({"OXT"})
    if chain.kind in ("rna", "dna"):
        return frozenset() if residue_id == 1 else frozenset({"OP3"})
    if chain.smiles is None and components.is_glycan(chain.codes[residue_id - 1]):
        bonds = (*assembly.polymer_ligand_bonds, *assembly.ligand_ligand_bonds)
        bonded = {
            atom.atom_name
            for bond in bonds
            for atom in bond
            if (atom.chain_id, atom.residue_id) == (chain.chain_id, residue_id)
        }
        if "O1" in bonded or (assembly.keeps_free_sugars and not bonded):
            return frozenset()
        return frozenset({"O1"})
    return frozenset()

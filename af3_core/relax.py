"""Relaxation: a predicted structure made to obey chemistry, and a report of it.

Three steps. Coordinates that are no structure are refused. Covalent geometry, hands
and clashes are mended on heavy atoms (`relax_geometry`). Then hydrogens are added and
Amber14 minimised (`relax_amber`). All atoms are held to the prediction by springs,
which are loosened where something is still wrong.
"""

import json
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import openmm
from jaxtyping import Float
from numpy import ndarray

from af3_core.clashes import clashing_pairs
from af3_core.covalent import (
    CovalentGeometry,
    count_deviations,
    covalent_geometry,
    deviating,
)
from af3_core.minimise import Deadline, add_restraint, minimise, potential_energy
from af3_core.relax_amber import AmberModel, build_model
from af3_core.relax_geometry import regularise
from af3_core.structure import Chemistry, Structure, chain_order, moved

RESTRAINT = 4184.0
"""kJ/mol/nm²; 10 kcal/mol/Å², as AlphaFold 2 restrained its predictions."""
LOOSENED = 0.1
"""What is left of the restraint where something is still wrong, in each round."""
ROUNDS = 4
BROKEN_BOND = 1.0
"""Å; a bond this far off was not predicted as a bond."""
MAX_BROKEN_FRACTION = 0.15
MAX_EXTENT = 5000.0
"""Å."""

Status = Literal["relaxed", "not_converged", "refused", "failed"]


@dataclass(frozen=True)
class Faults:
    """What is wrong with a structure."""

    clashes: int
    bonds: int
    angles: int
    chirality: int

    @property
    def is_none(self) -> bool:
        """True if nothing is wrong."""
        return not (self.clashes or self.bonds or self.angles or self.chirality)


@dataclass(frozen=True, eq=False)
class Relaxed:
    """Outcome of one relaxation; the columns of contract `relaxed`."""

    status: Status
    reason: str | None
    """One sentence where the status is not `relaxed` or something was left out."""
    positions: Float[ndarray, "a 3"] | None
    """Å; None if refused or failed."""
    before: Faults | None
    """None where coordinates are not finite."""
    after: Faults | None
    energy_before: float | None
    """kJ/mol, Amber14, hydrogens placed; None without a model."""
    energy_after: float | None
    rmsd: float | None
    """Å; all heavy atoms, not superposed."""
    seconds: float
    ligands: dict[str, str]
    """Treatment of every chain of ligands or ions, by chain id."""


def relax(
    structure: Structure, chemistry: Chemistry, *, max_seconds: float = 600.0
) -> Relaxed:
    """Relaxes a structure; whatever the coordinates, returns a status in time.

    Args:
        structure: heavy atoms.
        chemistry: components of its residues.
        max_seconds: no new minimisation starts, and running ones stop, after this.
    """
    began = time.monotonic()
    structure = moved(structure, structure.positions.astype(np.float64))
    refusal = _why_refuse_coordinates(structure)
    if refusal is not None:
        return _refused(refusal, None, began)
    geometry = covalent_geometry(structure, chemistry)
    before = find_faults(structure, geometry)
    refusal = _why_refuse_geometry(structure, geometry)
    if refusal is not None:
        return _refused(refusal, before, began)
    deadline = Deadline.after(max_seconds)
    try:
        mended = _mend(structure, geometry, deadline)
        model = build_model(mended, geometry, chemistry)
        particles = _minimise_amber(structure, model, geometry, deadline)
        energies = _energies(structure, mended, particles, model)
    except openmm.OpenMMException as error:
        reason = f"OpenMM gave up: {str(error).splitlines()[0]}"
        return _outcome("failed", reason, None, before, None, (None, None), began, {})
    final = moved(structure, particles[model.heavy])
    after = find_faults(final, geometry)
    status: Status = "relaxed" if after.is_none else "not_converged"
    reason = None if after.is_none else _describe(after, deadline)
    return _outcome(
        status,
        reason,
        (structure, final),
        before,
        after,
        energies,
        began,
        _treatments(structure, geometry),
    )


def find_faults(structure: Structure, geometry: CovalentGeometry) -> Faults:
    """Counts clashes, bonds, angles and stereocentres that are wrong."""
    off = count_deviations(structure.positions, geometry)
    clashes = len(clashing_pairs(structure, geometry))
    return Faults(clashes, off.bonds, off.angles, off.chirality)


def _why_refuse_coordinates(structure: Structure) -> str | None:
    if not structure.num_atoms:
        return "there are no atoms"
    finite = np.isfinite(structure.positions).all(axis=-1)
    if not finite.all():
        return f"{(~finite).sum()} atoms have coordinates that are not finite"
    extent = float(np.ptp(structure.positions, axis=0).max())
    if extent > MAX_EXTENT:
        return (
            f"atoms lie {extent:.0f} Å apart; a structure is at most {MAX_EXTENT:.0f}"
        )
    return None


def _why_refuse_geometry(
    structure: Structure, geometry: CovalentGeometry
) -> str | None:
    if not len(geometry.bonds):
        return None
    ends = structure.positions[geometry.bonds]
    found = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1)
    broken = float(np.mean(np.abs(found - geometry.lengths) > BROKEN_BOND))
    if broken <= MAX_BROKEN_FRACTION:
        return None
    return (
        f"{broken:.0%} of the bonds are off by more than {BROKEN_BOND:g} Å: "
        "these coordinates are not a structure (untrained weights give such)"
    )


def _restraints(
    structure: Structure, geometry: CovalentGeometry, held: Float[ndarray, "a"]
) -> Float[ndarray, "a"]:
    """Loosens the springs of atoms that take part in a fault, and their neighbours."""
    rows = deviating(structure.positions, geometry)
    wrong = np.zeros(structure.num_atoms, bool)
    for atoms in (*rows.values(), clashing_pairs(structure, geometry)):
        wrong[atoms.ravel()] = True
    bonds = geometry.bonds
    near = wrong.copy()
    near[bonds[wrong[bonds].any(axis=-1)].ravel()] = True
    return np.where(near, held * LOOSENED, held)


def _mend(
    structure: Structure, geometry: CovalentGeometry, deadline: Deadline
) -> Structure:
    """Puts covalent geometry and contacts right, on heavy atoms."""
    held = np.full(structure.num_atoms, RESTRAINT)
    found = structure
    for _ in range(ROUNDS):
        found = moved(structure, regularise(structure, geometry, held, deadline))
        if find_faults(found, geometry).is_none or deadline.has_passed:
            break
        held = _restraints(found, geometry, held)
    return found


def _minimise_amber(
    structure: Structure,
    model: AmberModel,
    geometry: CovalentGeometry,
    deadline: Deadline,
) -> Float[ndarray, "p 3"]:
    """Minimises all particles of the model, held to the prediction."""
    held = np.full(structure.num_atoms, RESTRAINT)
    positions = model.positions
    for _ in range(ROUNDS):
        if deadline.has_passed:
            break
        system = openmm.XmlSerializer.clone(model.system)
        add_restraint(system, model.heavy, structure.positions, held)
        positions = minimise(system, positions, deadline).positions
        found = moved(structure, positions[model.heavy])
        if find_faults(found, geometry).is_none:
            break
        held = _restraints(found, geometry, held)
    return positions


def _energies(
    structure: Structure,
    mended: Structure,
    final: Float[ndarray, "p 3"],
    model: AmberModel,
) -> tuple[float | None, float | None]:
    """Energies before and after; before, hydrogens follow their mended heavy atoms."""
    shift = np.zeros_like(model.positions)
    shift[model.heavy] = structure.positions - mended.positions
    before = potential_energy(model.system, model.positions + shift[model.parents])
    after = potential_energy(model.system, final)
    return (
        before if np.isfinite(before) else None,
        after if np.isfinite(after) else None,
    )


def _describe(faults: Faults, deadline: Deadline) -> str:
    parts = [f"{n} {name}" for name, n in vars(faults).items() if n]
    cause = "time was up" if deadline.has_passed else f"after {ROUNDS} rounds"
    return f"{cause} with faults left: {', '.join(parts)}"


def _treatments(structure: Structure, geometry: CovalentGeometry) -> dict[str, str]:
    """Says of every ligand chain how it was felt."""
    result = {}
    for chain_id in chain_order(structure):
        rows = structure.chain_id == chain_id
        if structure.kind[rows][0] != "ligand":
            continue
        names = set(structure.residue_name[rows].tolist())
        if rows.sum() == 1:
            result[chain_id] = "sphere, held in place"
        elif names & set(geometry.unknown_residues):
            result[chain_id] = "restrained body: no reference geometry"
        else:
            result[chain_id] = "geometry of its component, spheres without charge"
    return result


def _refused(reason: str, before: Faults | None, began: float) -> Relaxed:
    return _outcome("refused", reason, None, before, None, (None, None), began, {})


def _outcome(
    status: Status,
    reason: str | None,
    stages: tuple[Structure, Structure] | None,
    before: Faults | None,
    after: Faults | None,
    energies: tuple[float | None, float | None],
    began: float,
    ligands: dict[str, str],
) -> Relaxed:
    positions, rmsd = None, None
    if stages is not None:
        positions = stages[1].positions
        shift = positions - stages[0].positions
        rmsd = float(np.sqrt(np.mean(np.sum(shift**2, axis=-1))))
    return Relaxed(
        status=status,
        reason=reason,
        positions=positions,
        before=before,
        after=after,
        energy_before=energies[0],
        energy_after=energies[1],
        rmsd=rmsd,
        seconds=time.monotonic() - began,
        ligands=ligands,
    )


def relaxed_columns(relaxed: Relaxed) -> dict[str, object]:
    """The columns of `RELAXED` but for the key."""
    positions = relaxed.positions
    columns: dict[str, object] = {
        "status": relaxed.status,
        "reason": relaxed.reason,
        "positions": None if positions is None else positions.ravel().tolist(),
        "energy_before": relaxed.energy_before,
        "energy_after": relaxed.energy_after,
        "rmsd": relaxed.rmsd,
        "seconds": relaxed.seconds,
        "ligands": json.dumps(relaxed.ligands, sort_keys=True),
    }
    for stage, faults in (("before", relaxed.before), ("after", relaxed.after)):
        for column, field in _FAULT_COLUMNS.items():
            value = None if faults is None else getattr(faults, field)
            columns[f"{column}_{stage}"] = value
    return columns


_FAULT_COLUMNS = {
    "clashes": "clashes",
    "bond_violations": "bonds",
    "angle_violations": "angles",
    "chirality_errors": "chirality",
}

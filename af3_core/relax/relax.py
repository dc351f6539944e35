"""Relaxation: a predicted structure made to obey chemistry, and a report of it.

Three steps. Coordinates that are no structure are refused. Covalent geometry, hands
and clashes are mended on heavy atoms (`relax.geometry`). Then hydrogens are added and
Amber14 minimised (`relax.amber`). All atoms are held to the prediction by springs,
which are loosened where something is still wrong.
"""

import json
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import openmm
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from af3_core.chemistry.molecules import atomic_number
from af3_core.relax.amber import AmberModel, build_model
from af3_core.relax.geometry import chirality_force, regularise
from af3_core.relax.minimise import (
    RESTRAINT_GROUP,
    Budget,
    add_restraint,
    make_budget,
    minimise,
    potential_energy,
)
from af3_core.structures.covalent import (
    BROKEN_BOND,
    CovalentGeometry,
    covalent_geometry,
    fraction_broken,
)
from af3_core.structures.faults import Faults, faulty_atoms, find_faults
from af3_core.structures.structure import Chemistry, Structure, moved, residue_starts

RESTRAINT = 10_000.0
"""kJ/mol/nm², 24 kcal/mol/Å²; AlphaFold 2 took 10, which moves sound atoms more."""
LOOSENED = 0.1
"""What is left of the restraint where something is still wrong, in each round."""
LOOSENED_REACH = (2.0, 4.0, 6.0, 8.0)
"""Å; how far from a fault springs are loosened after each round."""
MAX_BROKEN_FRACTION = 0.15
MAX_EXTENT = 5000.0
"""Å."""

Status = Literal["relaxed", "not_converged", "refused", "failed"]


@dataclass(frozen=True, eq=False)
class Hydrogens:
    """The hydrogens that Amber's residues were given."""

    names: tuple[str, ...]
    parents: Int[ndarray, "h"]
    """Row of the heavy atom that each is bonded to."""
    positions: Float[ndarray, "h 3"]
    """Å."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """Outcome of one relaxation; the columns of contract `relaxed`."""

    status: Status
    reason: str | None
    """One sentence where the status is not `relaxed` or something was left out."""
    positions: Float[ndarray, "a 3"] | None
    """Å; None if refused or failed."""
    hydrogens: Hydrogens | None
    """None unless asked for."""
    before: Faults | None
    """None where coordinates are not finite."""
    after: Faults | None
    energy_before: float | None
    """kJ/mol, Amber14, hydrogens placed; None without a model."""
    energy_after: float | None
    rmsd: float | None
    """Å; all heavy atoms, not superposed."""
    seconds: float
    treatments: dict[str, str]
    """How ligands, ions and residues beyond Amber's were felt, by chain or residue."""


def relax(
    structure: Structure,
    chemistry: Chemistry,
    *,
    max_seconds: float | int = 600,
    keep_hydrogens: bool = False,
    platform: str | None = None,
    threads: int = 1,
) -> Relaxed:
    """Relaxes a structure; whatever the coordinates, returns a status in time.

    Args:
        structure: heavy atoms.
        chemistry: components of its residues.
        max_seconds: no new minimisation starts, and running ones stop, after this.
        keep_hydrogens: report the hydrogens that were added.
        platform: of OpenMM, such as CUDA; by default the fastest there is.
        threads: of the CPU platform; only one gives the same result every time.

    Raises:
        ValueError: OpenMM has no such platform here.
    """
    began = time.monotonic()
    budget = make_budget(max_seconds, platform, threads)
    structure = moved(structure, structure.positions.astype(np.float64))
    refusal = _why_refuse_atoms(structure)
    if refusal is not None:
        return _without_structure("refused", refusal, None, began)
    geometry = covalent_geometry(structure, chemistry)
    before = find_faults(structure, geometry)
    refusal = _why_refuse_geometry(structure, geometry)
    if refusal is not None:
        return _without_structure("refused", refusal, before, began)
    try:
        mended = _mend(structure, geometry, budget)
    except openmm.OpenMMException as error:
        reason = f"OpenMM gave up: {_first_line(error)}"
        return _without_structure("failed", reason, before, began)
    found = _with_force_field(structure, mended, geometry, chemistry, budget)
    after = find_faults(found.structure, geometry)
    shift = found.structure.positions - structure.positions
    return Relaxed(
        status="relaxed" if after.is_none else "not_converged",
        reason=found.reason if after.is_none else _describe(after, budget),
        positions=found.structure.positions,
        hydrogens=found.hydrogens if keep_hydrogens else None,
        before=before,
        after=after,
        energy_before=found.energy_before,
        energy_after=found.energy_after,
        rmsd=float(np.sqrt(np.mean(np.sum(shift**2, axis=-1)))),
        seconds=time.monotonic() - began,
        treatments=_treatments(structure, geometry, found.is_generic),
    )


def _without_structure(
    status: Status, reason: str, before: Faults | None, began: float
) -> Relaxed:
    return Relaxed(
        status=status,
        reason=reason,
        positions=None,
        hydrogens=None,
        before=before,
        after=None,
        energy_before=None,
        energy_after=None,
        rmsd=None,
        seconds=time.monotonic() - began,
        treatments={},
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _why_refuse_atoms(structure: Structure) -> str | None:
    if not structure.num_atoms:
        return "there are no atoms"
    unknown = {e for e in structure.element.tolist() if not atomic_number(str(e))}
    if unknown:
        return f"no element is called {', '.join(sorted(unknown))}"
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
    broken = fraction_broken(structure.positions, geometry)
    if broken <= MAX_BROKEN_FRACTION:
        return None
    return (
        f"{broken:.0%} of the bonds are off by more than {BROKEN_BOND:g} Å: "
        "these coordinates are not a structure (untrained weights give such)"
    )


def _loosened(
    structure: Structure,
    geometry: CovalentGeometry,
    held: Float[ndarray, "a"],
    reach: float,
) -> Float[ndarray, "a"]:
    """Loosens the springs of all atoms within reach of a fault, Å."""
    tree = KDTree(structure.positions[faulty_atoms(structure, geometry)])
    distance, _ = tree.query(structure.positions)
    return np.where(distance <= reach, held * LOOSENED, held)


def _mend(
    structure: Structure, geometry: CovalentGeometry, budget: Budget
) -> Structure:
    """Puts covalent geometry and contacts right, on heavy atoms."""
    held = np.full(structure.num_atoms, RESTRAINT)
    found = structure
    for reach in LOOSENED_REACH:
        positions = regularise(structure, geometry, held, found.positions, budget)
        found = moved(structure, positions)
        if find_faults(found, geometry).is_none or budget.is_spent:
            break
        held = _loosened(found, geometry, held, reach)
    return found


@dataclass(frozen=True, eq=False)
class _Found:
    """Where the second stage ended."""

    structure: Structure
    is_generic: Bool[ndarray, "a"]
    reason: str | None = None
    hydrogens: Hydrogens | None = None
    energy_before: float | None = None
    energy_after: float | None = None


def _with_force_field(
    structure: Structure,
    mended: Structure,
    geometry: CovalentGeometry,
    chemistry: Chemistry,
    budget: Budget,
) -> _Found:
    """Minimises with hydrogens; what the force field cannot do, the first stage did."""
    everything = np.ones(structure.num_atoms, bool)
    if budget.is_spent:
        return _Found(mended, everything, "no time was left for the force field")
    try:
        model = build_model(mended, geometry, chemistry, budget)
        particles = _minimise_amber(mended, model, geometry, budget)
        before, after = _energies(structure, mended, particles, model, budget)
    except (openmm.OpenMMException, ValueError) as error:
        reason = f"relaxed without a force field: {_first_line(error)}"
        return _Found(mended, everything, reason)
    final = moved(structure, particles[model.heavy])
    hydrogens = _hydrogens(model, particles)
    return _Found(final, model.is_generic, None, hydrogens, before, after)


def _minimise_amber(
    mended: Structure,
    model: AmberModel,
    geometry: CovalentGeometry,
    budget: Budget,
) -> Float[ndarray, "p 3"]:
    """Minimises all particles of the model, held to the mended prediction.

    Held to the prediction itself, centres that were turned over would turn back.
    """
    held = np.full(mended.num_atoms, RESTRAINT)
    positions = model.positions
    hands = chirality_force(model.heavy[geometry.centres], geometry.centre_signs)
    hands.setForceGroup(RESTRAINT_GROUP)
    for reach in LOOSENED_REACH:
        system = openmm.XmlSerializer.clone(model.system)
        system.addForce(openmm.XmlSerializer.clone(hands))
        add_restraint(system, model.heavy, mended.positions, held)
        positions = minimise(system, positions, budget).positions
        found = moved(mended, positions[model.heavy])
        if find_faults(found, geometry).is_none or budget.is_spent:
            break
        held = _loosened(found, geometry, held, reach)
    return positions


def _energies(
    structure: Structure,
    mended: Structure,
    final: Float[ndarray, "p 3"],
    model: AmberModel,
    budget: Budget,
) -> tuple[float | None, float | None]:
    """Energies before and after; before, hydrogens follow their mended heavy atoms."""
    shift = np.zeros_like(model.positions)
    shift[model.heavy] = structure.positions - mended.positions
    start = model.positions + shift[model.parents]
    before = potential_energy(model.system, start, budget)
    after = potential_energy(model.system, final, budget)
    return (
        before if np.isfinite(before) else None,
        after if np.isfinite(after) else None,
    )


def _hydrogens(model: AmberModel, particles: Float[ndarray, "p 3"]) -> Hydrogens:
    row = np.full(len(particles), -1)
    row[model.heavy] = np.arange(len(model.heavy))
    added = np.flatnonzero(row < 0)
    names = [atom.name for atom in model.topology.atoms()]
    return Hydrogens(
        names=tuple(names[i] for i in added),
        parents=row[model.parents[added]],
        positions=particles[added],
    )


def _describe(faults: Faults, budget: Budget) -> str:
    parts = [f"{n} {name}" for name, n in vars(faults).items() if n]
    cause = "time was up" if budget.is_spent else f"after {len(LOOSENED_REACH)} rounds"
    return f"{cause} with faults left: {', '.join(parts)}"


def _treatments(
    structure: Structure, geometry: CovalentGeometry, is_generic: Bool[ndarray, "a"]
) -> dict[str, str]:
    """Says of every residue beyond Amber's how it was felt; keys are CHAIN/NUMBER."""
    result = {}
    starts = residue_starts(structure)
    sizes = np.diff(np.append(starts, structure.num_atoms))
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        if not is_generic[start]:
            continue
        chain_id = str(structure.chain_id[start])
        residue_id = int(structure.residue_id[start])
        if size == 1:
            how = "sphere in place"
        elif (chain_id, residue_id) in geometry.bodies:
            how = "restrained body"
        else:
            how = "parametrised by its component"
        result[f"{chain_id}/{residue_id}"] = f"{structure.residue_name[start]}: {how}"
    return result


def relaxed_columns(relaxed: Relaxed) -> dict[str, Any]:
    """The columns of `RELAXED` but for the key."""
    positions = relaxed.positions
    columns: dict[str, Any] = {
        "status": relaxed.status,
        "reason": relaxed.reason,
        "positions": None if positions is None else positions.ravel(),
        "energy_before": relaxed.energy_before,
        "energy_after": relaxed.energy_after,
        "rmsd": relaxed.rmsd,
        "seconds": relaxed.seconds,
        "treatments": json.dumps(relaxed.treatments),
        "hydrogen_names": None,
        "hydrogen_parents": None,
        "hydrogen_positions": None,
    }
    if relaxed.hydrogens is not None:
        columns |= {
            "hydrogen_names": list(relaxed.hydrogens.names),
            "hydrogen_parents": relaxed.hydrogens.parents,
            "hydrogen_positions": relaxed.hydrogens.positions.ravel(),
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

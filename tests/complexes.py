"""Real complexes as if they had been predicted: errors that grow with distance."""

from functools import cache
from pathlib import Path

import numpy as np

from af3_core.af3_output import (
    best_output_names,
    format_confidences,
    format_ranking_scores,
    format_summary,
    ranking_name,
    summary_confidences,
)
from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.residue_letters import LETTER_OF_COMPONENT
from af3_core.contracts import PredictionRow
from af3_core.features.featurise import featurise
from af3_core.features.values import Features
from af3_core.job import Job, Polymer
from af3_core.scores.confidence import quantise_contact_probs, quantise_pae
from af3_core.structures.structure import Structure, structure_of
from tests.af3_core.output_examples import Example, mmcif_of
from tests.structures import entry

COMPLEXES = ("4zhl", "2beg", "1lcd")
"""Two proteins, five equal ones, protein with DNA."""
_CENTRES = {"protein": "CA", "dna": "C1'", "rna": "C1'"}


@cache
def predicted_complex(name: str) -> Example:
    """An entry's polymers, the residues that were seen, with made-up confidences."""
    known = entry(name)
    chains = _sequences(known)
    job = Job(
        name=name,
        seeds=(1,),
        entities=tuple(
            Polymer(
                *(kind, (chain_id,), sequence),
                unpaired_msa=None if kind == "dna" else "",
                paired_msa="" if kind == "protein" else None,
                templates=() if kind == "protein" else None,
            )
            for chain_id, (kind, sequence, _) in chains.items()
        ),
    )
    components = Components.load()
    features = featurise(job, components)
    structure = structure_of(features, _positions(features, known, chains))
    return _with_confidences(features, components, structure)


def _sequences(known: Structure) -> dict[str, tuple[str, str, list[int]]]:
    """Kind, letters and residue numbers of every polymer."""
    found = {}
    for chain_id in dict.fromkeys(known.chain_id.tolist()):
        rows = np.flatnonzero(known.chain_id == chain_id)
        kind = str(known.kind[rows[0]])
        if kind == "ligand":
            continue
        residues = dict(
            zip(
                known.residue_id[rows].tolist(),
                known.residue_name[rows].tolist(),
                strict=True,
            )
        )
        letters = "".join(LETTER_OF_COMPONENT[code] for code in residues.values())
        found[chain_id] = (kind, letters, list(residues))
    return found


def _positions(
    features: Features, known: Structure, chains: dict[str, tuple[str, str, list[int]]]
) -> np.ndarray:
    """Where the entry has each atom; what was not seen, beside its residue's centre."""
    keys = zip(
        known.chain_id.tolist(),
        known.residue_id.tolist(),
        known.atom_name.tolist(),
        strict=True,
    )
    places = dict(zip(keys, known.positions, strict=True))
    random = np.random.default_rng(5)
    empty = structure_of(features, np.zeros((len(features.atoms.atom_name), 3)))
    found = []
    for chain_id, number, atom in zip(
        empty.chain_id.tolist(),
        empty.residue_id.tolist(),
        empty.atom_name.tolist(),
        strict=True,
    ):
        kind, _, numbers = chains[chain_id]
        residue = numbers[number - 1]
        place = places.get((chain_id, residue, atom))
        if place is None:
            centre = places[chain_id, residue, _CENTRES[kind]]
            place = centre + random.normal(scale=1.5, size=3)
        found.append(place)
    return np.round(np.array(found), 3)


def _with_confidences(
    features: Features, components: Components, structure: Structure
) -> Example:
    random = np.random.default_rng(3)
    tokens = np.asarray(features.atoms.token_index)
    first = np.unique(tokens, return_index=True)[1]
    centres = structure.positions[first]
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    plddt = random.uniform(50, 97, features.num_tokens)[tokens]
    pae = np.clip(0.7 * distance * random.uniform(0.4, 1.6, distance.shape), 0, 31)
    square = random.uniform(0, 1, (len(features.chains.chain_id),) * 2)
    row = PredictionRow(
        job_id="0" * 16,
        seed=1,
        sample=0,
        positions=structure.positions.ravel(),
        atom_plddt=np.round(plddt, 2),
        pae=quantise_pae(pae).ravel(),
        contact_probs=quantise_contact_probs(1 / (1 + np.exp(distance - 8))).ravel(),
        ptm=0.7,
        iptm=0.6,
        ranking_score=0.62,
        has_clash=False,
        fraction_disordered=0.0,
        chain_ptm=square[0],
        chain_iptm=square[1],
        chain_pair_iptm=square.ravel(),
        chain_pair_actifptm=square.ravel(),
        chain_pair_pae_min=(31 * square).ravel(),
        chain_pair_pde_min=(31 * square).ravel(),
        chain_pair_pde_mean=(31 * square).ravel(),
        provenance="{}",
    )
    plddt = np.round(plddt, 2).astype(np.float32)
    return Example(features, components, structure, plddt, row)


def write_folder(name: str, folder: Path) -> Path:
    """Writes AF3's files of a complex; returns the folder of the job."""
    example, names = predicted_complex(name), best_output_names(name)
    summary = summary_confidences(example.row, example.features.chains.chain_id)
    files = {
        names.model: mmcif_of(example),
        names.confidences: format_confidences(example.row, example.features),
        names.summary: format_summary(summary),
        ranking_name(name): format_ranking_scores([(1, 0, 0.62)]),
    }
    job = folder / name
    job.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (job / file).write_text(text)
    return job

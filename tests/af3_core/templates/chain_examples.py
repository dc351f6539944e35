"""Chains and reference arrays for tests of MSA and template features."""

from pathlib import Path

import numpy as np

from af3_core.chemistry.dictionary import Components
from af3_core.features.assembly import assemble
from af3_core.features.chain_inputs import ChainInput, chain_inputs
from af3_core.features.tokens import tokenise
from af3_core.inputs.files import read_jobs
from af3_core.job import Template

CASES = Path(__file__).parents[2] / "data" / "cases"
CASE_NAMES = ("ubiquitin", "villin_gb1", "trna_crambin", "kitchen_sink")


def case_chains(name: str) -> tuple[ChainInput, ...]:
    """The chains of a reference case, read and tokenised."""
    (job,), _ = read_jobs(CASES / f"{name}.json")
    components = Components.load(job.user_ccd)
    return chain_inputs(job, tokenise(assemble(job, components), components))


def case_arrays(name: str) -> dict[str, np.ndarray]:
    """What AF3 v3.0.4 feeds its model for the case, padding cut off."""
    with np.load(CASES / f"{name}_msa_templates.npz") as arrays:
        return dict(arrays)


def polymer(
    letters: str,
    *,
    chain_id: str = "A",
    kind: str = "protein",
    unpaired: str = "",
    paired: str = "",
    templates: tuple[Template, ...] = (),
) -> ChainInput:
    """A chain of standard residues; a residue's letter serves as its name."""
    return ChainInput(
        chain_id=chain_id,
        kind=kind,
        letters=letters,
        token_columns=np.arange(len(letters)),
        token_residue_names=tuple(letters),
        unpaired_msa=unpaired,
        paired_msa=paired,
        templates=templates,
    )


def ligand(num_atoms: int, chain_id: str = "L") -> ChainInput:
    """A ligand of one component."""
    return ChainInput(
        chain_id, "ligand", "", np.arange(num_atoms), ("LIG",) * num_atoms
    )


def a3m(*rows: tuple[str, str]) -> str:
    """A3M text of (header, sequence) rows."""
    return "".join(f">{header}\n{sequence}\n" for header, sequence in rows)


def uniprot(species: str, number: int = 0) -> str:
    """A UniProt header of the given species."""
    return f"tr|A0A{number:06d}|A0A{number:06d}_{species}/1-9 made up"

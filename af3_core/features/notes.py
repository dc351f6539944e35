"""What a user should know of a job that runs: where it is read otherwise than it looks.

All of it is AlphaFold 3's way too, which says so in a log at most.
"""

from collections.abc import Iterator

import numpy as np

from af3_core.chemistry.component import Component
from af3_core.chemistry.conformers import fallback_positions
from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.residues import STANDARD_CODES
from af3_core.features.chains import Chain, chains_of
from af3_core.features.options import AS_PUBLISHED, FeatureOptions
from af3_core.inputs.template import count_residues_before
from af3_core.job import Job, Ligand, Polymer

_NUCLEIC_LETTERS = frozenset("ACGTUN")
_SHORTEST_SUSPECT = 12
_MOST_BONDS = 5


def job_notes(
    job: Job, components: Components, options: FeatureOptions = AS_PUBLISHED
) -> tuple[str, ...]:
    """Sentences about a job, none for most.

    Args:
        job: as it was read, before any search.
        components: the dictionary with the job's own components.
        options: what was chosen of features.
    """
    chains = chains_of(job)
    notes = [*_untold_bonds(job, chains), *_suspects(job)]
    notes += _component_notes(chains, components, options)
    if options.template_positions == "alphafold3":
        notes += _shifted_templates(job)
    return tuple(notes)


def _untold_bonds(job: Job, chains: tuple[Chain, ...]) -> Iterator[str]:
    polymers = {chain.chain_id for chain in chains if chain.is_polymer}
    untold = [
        "–".join(f"{a.chain_id} {a.residue_id} {a.atom_name}" for a in bond)
        for bond in job.bonds
        if all(atom.chain_id in polymers for atom in bond)
    ]
    if untold:
        more = len(untold) - _MOST_BONDS
        shown = ", ".join(untold[:_MOST_BONDS]) + (f" and {more} more" * (more > 0))
        yield (
            f"The network is not told of the bonds between residues of polymers"
            f" ({shown}): a ring or disulfide is predicted only if it would be without"
            " them"
        )


def _suspects(job: Job) -> Iterator[str]:
    for entity in job.entities:
        if (
            isinstance(entity, Polymer)
            and entity.kind == "protein"
            and len(entity.sequence) >= _SHORTEST_SUSPECT
            and _NUCLEIC_LETTERS.issuperset(entity.sequence)
        ):
            yield (
                f"Chain {', '.join(entity.ids)} is read as a protein, but its letters"
                " are those of a nucleic acid; in FASTA kind=rna or kind=dna says so"
            )


def _component_notes(
    chains: tuple[Chain, ...], components: Components, options: FeatureOptions
) -> Iterator[str]:
    holders: dict[str, list[str]] = {}
    for chain in chains:
        for code in dict.fromkeys(chain.codes):
            if chain.smiles is None and code not in STANDARD_CODES:
                holders.setdefault(code, []).append(chain.chain_id)
    for code, chain_ids in holders.items():
        component = components[code]
        where = f"{code} (chain {', '.join(chain_ids[:5])})"
        for sentence in _describe_fallback(component, options):
            yield f"{where}: {sentence}"


def _describe_fallback(component: Component, options: FeatureOptions) -> Iterator[str]:
    """Without ideal coordinates AlphaFold 3 lets RDKit embed nothing."""
    if len(component.heavy_atoms) < 2 or not np.isnan(component.ideal_positions).any():
        return
    cut_off = options.conformers.max_date
    _, source = fallback_positions(component, cut_off)
    revised, has_deposited = component.modified, component.deposited_positions
    missing = "it has no ideal coordinates (pdbx_model_Cartn_x_ideal, …)"
    if source == "deposited":
        yield f"{missing}; those of a deposited structure stand in"
        return
    if has_deposited is None or np.isnan(has_deposited).all() or revised is None:
        remedy = "write them into userCCD"
    else:
        remedy = (
            f"its deposited ones, revised {revised}, are used if"
            f" search.max_template_date is later than that; it is {cut_off}"
        )
    yield f"{missing}, so all its atoms are given to the network in one place; {remedy}"


def _shifted_templates(job: Job) -> Iterator[str]:
    for entity in job.entities:
        if isinstance(entity, Ligand):
            continue
        for number, template in enumerate(entity.templates or (), 1):
            shift = count_residues_before(template.mmcif)
            if shift:
                ids = ", ".join(entity.ids)
                yield (
                    f"Template {number} of chain {ids}: AlphaFold 3 counts what stands"
                    " before the protein in _atom_site, so every residue gets the atoms"
                    f" of the one {shift} before it; features.template_positions: own"
                    " mends that"
                )

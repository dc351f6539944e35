"""Featurisation: from a job to the arrays the model reads. AF3 SI 2.

    features = featurise(job, components)                           # once per job
    conformers = reference_positions(features, components, seed)    # once per seed

Nothing here imports JAX; `af3_core.model.batch.pad` makes the model's batch of both.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from af3_core.chemistry.conformers import LIMITS, ConformerLimits, draw_poses, embed_all
from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.residues import STANDARD_CODES, is_one_token
from af3_core.features.assembly import Assembly, assemble, is_unknown
from af3_core.features.chain_inputs import chain_inputs
from af3_core.features.chains import chains_of
from af3_core.features.frames import find_frames
from af3_core.features.msa import msa_features
from af3_core.features.options import AS_PUBLISHED, FeatureOptions
from af3_core.features.reference import (
    Residues,
    find_residues,
    place_conformers,
    reference_atoms,
)
from af3_core.features.templates import template_features
from af3_core.features.tokens import TokenTable, tokenise
from af3_core.features.values import AtomTable, ChainTable, Features, TokenFeatures
from af3_core.job import Job
from af3_core.recent import Recent

_PURINES = frozenset({"A", "G", "DA", "DG"})


def count_tokens(
    job: Job, components: Components, options: FeatureOptions = AS_PUBLISHED
) -> int:
    """Counts the tokens of a job without embedding anything.

    Plain polymers are counted without reading the component dictionary.

    Raises:
        ChemistryError: an unknown component or atom, or nothing to predict.
    """
    chains = chains_of(job)
    is_plain = not job.bonds and all(
        chain.is_polymer
        and all(is_one_token(code, chain.kind) for code in set(chain.codes))
        for chain in chains
    )
    num_residues = sum(len(c.codes) for c in chains if not is_unknown(c))
    if is_plain and num_residues:
        return num_residues
    assembly = assemble(job, components, options.fix_standalone_glycans)
    return tokenise(assembly, components).num_tokens


def featurise(
    job: Job,
    components: Components,
    options: FeatureOptions = AS_PUBLISHED,
    recent: Recent | None = None,
) -> Features:
    """Computes everything of a job that does not depend on a seed.

    Args:
        job: with MSAs and templates, which may be empty but not None.
        components: the dictionary with the job's own components.
        options: what may be chosen.
        recent: the chains of other jobs, so that none is read twice.

    Raises:
        ChemistryError: an unknown component or atom, or nothing to predict.
        ConformerError: RDKit takes too long for a ligand.
        ValueError: an MSA or template is missing or does not fit its chain.
    """
    assembly = assemble(job, components, options.fix_standalone_glycans)
    table = tokenise(assembly, components)
    tokens, chains, atoms = _tokens(table), _chains(table), _atoms(table)
    residues = find_residues(tokens, chains, atoms, components)
    centre_slot = _slots_of(table, table.centre_atom)
    inputs = chain_inputs(job, table)
    return Features(
        tokens=tokens,
        msa=msa_features(
            inputs, resolve_overlaps=options.resolve_msa_overlaps, recent=recent
        ),
        templates=template_features(
            inputs, positions=options.template_positions, recent=recent
        ),
        reference=reference_atoms(residues),
        atom_mask=table.slot_atoms >= 0,
        pseudo_beta_slot=_pseudo_beta_slots(table, components),
        centre_slot=centre_slot,
        frames_mask=find_frames(tokens, residues, centre_slot, options.conformers),
        polymer_ligand_bonds=_polymer_ligand_bonds(assembly, table),
        ligand_ligand_bonds=_ligand_ligand_bonds(assembly, table, residues),
        chains=chains,
        atoms=atoms,
        bonded_atoms=_bonded_atoms(assembly, table),
        dropped_chains=tuple(c.chain_id for c in assembly.dropped),
        user_ccd=job.user_ccd,
    )


@dataclass(frozen=True)
class Fallback:
    """A residue for which no conformer could be embedded."""

    chain_id: str
    residue_id: int
    """1-based."""
    code: str
    source: str
    """What stands in: ideal or deposited coordinates, or none."""

    def __str__(self) -> str:
        """The residue and what became of it, as a sentence."""
        where = f"chain {self.chain_id}, residue {self.residue_id} ({self.code})"
        if self.source == "none":
            return (
                f"RDKit finds no conformer of {where} and there are no coordinates:"
                " all its atoms are given to the network in one place, as AlphaFold 3"
                " does"
            )
        return f"RDKit finds no conformer of {where}; its {self.source} one stands in"


def reference_positions(
    features: Features,
    components: Components,
    seed: int,
    limits: ConformerLimits = LIMITS,
    *,
    threads: int = 1,
) -> Float32[np.ndarray, "n x 3"]:
    """Returns the positions of `embed_references`, Å."""
    return embed_references(features, components, seed, limits, threads=threads)[0]


def embed_references(
    features: Features,
    components: Components,
    seed: int,
    limits: ConformerLimits = LIMITS,
    recent: Recent | None = None,
    *,
    threads: int = 1,
) -> tuple[Float32[np.ndarray, "n x 3"], tuple[Fallback, ...]]:
    """Embeds the reference conformer of every residue and ligand. AF3 SI 2.8.

    Args:
        components: the same that the features were made with.
        seed: the model seed, 0 to 2³² − 1.
        limits: how hard conformers are looked for, and what may stand in.
        recent: the conformers of other jobs, so that none is embedded twice.
        threads: embeddings at a time; the result does not depend on it.

    Returns:
        Positions, Å, and the residues that RDKit could not embed.

    Raises:
        ConformerError: RDKit takes too long for one of them.
    """
    residues = find_residues(
        features.tokens, features.chains, features.atoms, components
    )
    poses = draw_poses(residues.references, seed)
    conformers = embed_all(residues.references, poses, limits, recent, threads=threads)
    fallbacks = tuple(
        _fallback(features, residues, residue, conformer.source)
        for residue, conformer in enumerate(conformers)
        if conformer.source != "ETKDGv3"
    )
    return place_conformers(residues, [c.positions for c in conformers]), fallbacks


def _fallback(
    features: Features, residues: Residues, residue: int, source: str
) -> Fallback:
    token = int(np.argmax(residues.of_token == residue))
    return Fallback(
        features.chains.chain_id[features.tokens.asym_id[token] - 1],
        int(features.tokens.residue_index[token]),
        residues.references[residue].component.code,
        source,
    )


def _tokens(table: TokenTable) -> TokenFeatures:
    chains = [table.chains[i] for i in table.chain_index]

    def numbers(values: list[int]) -> Int[np.ndarray, "n"]:
        return np.array(values, dtype=np.int32)

    def is_kind(kind: str) -> np.ndarray:
        return np.array([c.chain.kind == kind for c in chains], dtype=bool)

    return TokenFeatures(
        token_index=np.arange(1, table.num_tokens + 1, dtype=np.int32),
        residue_index=table.residue_id,
        residue_type=table.residue_type,
        asym_id=numbers([c.asym_id for c in chains]),
        entity_id=numbers([c.entity_id for c in chains]),
        sym_id=numbers([c.sym_id for c in chains]),
        is_protein=is_kind("protein"),
        is_rna=is_kind("rna"),
        is_dna=is_kind("dna"),
        is_ligand=is_kind("ligand"),
    )


def _chains(table: TokenTable) -> ChainTable:
    chains = [c.chain for c in table.chains]
    return ChainTable(
        chain_id=tuple(c.chain_id for c in chains),
        kind=tuple(c.kind for c in chains),
        mmcif_type=tuple(c.mmcif_type for c in chains),
        asym_id=tuple(c.asym_id for c in table.chains),
        entity_id=tuple(c.entity_id for c in table.chains),
        sym_id=tuple(c.sym_id for c in table.chains),
        entity_index=tuple(c.entity_index for c in chains),
        codes=tuple(c.codes for c in chains),
        sequence=tuple(c.sequence for c in chains),
        smiles=tuple(c.smiles for c in chains),
    )


def _atoms(table: TokenTable) -> AtomTable:
    token_index = np.full(len(table.atoms), -1, dtype=np.int32)
    slot = token_index.copy()
    token, column = np.nonzero(table.slot_atoms >= 0)
    held = table.slot_atoms[token, column]
    token_index[held], slot[held] = token, column
    codes = [c.chain.codes for c in table.chains]
    return AtomTable(
        chain_index=np.array([a.chain_index for a in table.atoms], dtype=np.int32),
        residue_id=np.array([a.residue_id for a in table.atoms], dtype=np.int32),
        residue_name=tuple(codes[a.chain_index][a.residue_id - 1] for a in table.atoms),
        atom_name=tuple(a.name for a in table.atoms),
        element=tuple(a.element for a in table.atoms),
        token_index=token_index,
        slot=slot,
    )


def _slots_of(table: TokenTable, atoms: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """Finds the slot of one atom per token; 0 where it has none."""
    return np.argmax(table.slot_atoms == atoms[:, None], axis=1).astype(np.int32)


def _pseudo_beta_slots(
    table: TokenTable, components: Components
) -> Int[np.ndarray, "n"]:
    """C-beta, C-alpha of glycine, C4 of purines, C2 of pyrimidines; else the first."""
    slots = np.zeros(table.num_tokens, dtype=np.int32)
    for token in np.flatnonzero(~table.is_split).tolist():
        code = table.residue_name[token]
        if table.chains[table.chain_index[token]].chain.kind == "protein":
            wanted = ("CB", "CA")
        else:
            base = components[code].parent or code
            wanted = ("C4" if base in _PURINES else "C2",)
        filled = np.flatnonzero(table.slot_atoms[token] >= 0).tolist()
        names = {table.atoms[table.slot_atoms[token, s]].name: s for s in filled}
        slots[token] = next((names[n] for n in wanted if n in names), filled[0])
    return slots


def _centre_tokens(table: TokenTable) -> dict[tuple[str, int, str], int]:
    """Finds tokens by chain id, residue number and name of the atom at the centre."""
    tokens = {}
    for token, centre in enumerate(table.centre_atom.tolist()):
        atom = table.atoms[centre]
        chain_id = table.chains[atom.chain_index].chain.chain_id
        tokens[chain_id, atom.residue_id, atom.name] = token
    return tokens


def _polymer_ligand_bonds(
    assembly: Assembly, table: TokenTable
) -> Int[np.ndarray, "e 2"]:
    """Bonds as pairs of tokens. The model sees them end at the residue's centre.

    A split residue is represented by its C-alpha or C1' too; it has no such bond if
    it lacks that atom.
    """
    tokens = _centre_tokens(table)
    kinds = {c.chain.chain_id: c.chain.kind for c in table.chains}
    centres = {"protein": "CA", "rna": "C1'", "dna": "C1'"}
    pairs = []
    for bond in assembly.polymer_ligand_bonds:
        ends = [
            (a.chain_id, a.residue_id, centres.get(kinds[a.chain_id], a.atom_name))
            for a in bond
        ]
        if all(end in tokens for end in ends):
            pairs.append([tokens[end] for end in ends])
    return np.array(pairs, dtype=np.int32).reshape(-1, 2)


def _ligand_ligand_bonds(
    assembly: Assembly, table: TokenTable, residues: Residues
) -> Int[np.ndarray, "e 2"]:
    """Bonds between ligands, then those within ligands and split residues.

    Atoms whose name begins with H count as hydrogens, mercury among them.
    """
    tokens = _centre_tokens(table)
    ends = [
        tuple((a.chain_id, a.residue_id, a.atom_name) for a in bond)
        for bond in assembly.ligand_ligand_bonds
    ]
    first_tokens = np.unique(residues.of_token, return_index=True)[1].tolist()
    for token, reference in zip(first_tokens, residues.references, strict=True):
        if table.residue_name[token] in STANDARD_CODES:
            continue
        chain_id = table.chains[table.chain_index[token]].chain.chain_id
        residue = chain_id, int(table.residue_id[token])
        for bond in reference.component.bonds:
            ends.append(((*residue, bond.atom_1), (*residue, bond.atom_2)))
    pairs = [
        [tokens[first], tokens[second]]
        for first, second in ends
        if first in tokens
        and second in tokens
        and not (first[2].startswith("H") or second[2].startswith("H"))
    ]
    return np.array(pairs, dtype=np.int32).reshape(-1, 2)


def _bonded_atoms(assembly: Assembly, table: TokenTable) -> Int[np.ndarray, "e 2"]:
    chain_ids = [c.chain.chain_id for c in table.chains]
    rows = {
        (chain_ids[a.chain_index], a.residue_id, a.name): row
        for row, a in enumerate(table.atoms)
    }
    pairs = [
        [rows[a.chain_id, a.residue_id, a.atom_name] for a in bond]
        for bond in (*assembly.polymer_ligand_bonds, *assembly.ligand_ligand_bonds)
    ]
    return np.array(pairs, dtype=np.int32).reshape(-1, 2)

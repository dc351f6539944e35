"""The tables that cross from one stage to the next, declared once.

A class is a table's columns and its rows, a `Contract` its name, key and a version that
grows whenever a column changes or its numbers would. Name and version travel in the
file's metadata, meaning and unit of a column in its field's.
"""

from typing import Annotated, Any

import pyarrow as pa

from af3_core.columns import (
    Bool,
    Bytes,
    Contract,
    Double,
    Float,
    Floats,
    Int,
    Int64,
    Ints,
    LargeText,
    Seed,
    Seeds,
    Shape,
    Text,
    Texts,
    UInt8s,
    UInt16s,
    column,
    row,
)

Regions = Annotated[
    list[dict[str, Any]],
    pa.list_(
        pa.struct(
            [
                ("start", pa.int64()),
                ("end", pa.int64()),
                ("row", pa.string()),
                ("score", pa.float32()),
                ("p_value", pa.float64()),
            ]
        )
    ),
]


@row
class JobRow:
    """A job of the plan."""

    job_id: Text = column("first 16 hex digits of the job's content digest")
    name: Text = column("unique label, safe as a file name")
    source: Text = column("input file as the user named it")
    num_tokens: Int = column("tokens before padding")
    seeds: Seeds = column("model seeds")
    json: Text = column("the whole job as AlphaFold 3 JSON")
    notes: Texts = column("where it is read otherwise than it looks")


JOBS = Contract(JobRow, "jobs", 2, ("job_id",))


@row
class ChainRow:
    """An entity of a job, and what has to be searched for it."""

    job_id: Text = column("first 16 hex digits of the job's content digest")
    entity_index: Int = column("0-based position among the job's entities")
    kind: Text = column("protein, rna, dna or ligand")
    chain_ids: Texts = column("one id per copy")
    sequence_id: Text | None = column("see search; null for ligands")
    sequence: Text | None = column("letters as searched; null for ligands")
    search_unpaired: Bool = column("no unpaired MSA was given")
    search_paired: Bool = column("no paired MSA was given")
    template_id: Text | None = column("template search; null if none")


CHAINS = Contract(ChainRow, "chains", 1, ("job_id", "entity_index"))


@row
class OutcomeRow:
    """What became of an item of a stage."""

    stage: Text = column("plan, search, templates, featurise, predict, …")
    batch_id: Text = column("the batch that did the work")
    item: Text = column("what the stage counts: a sequence, job or job.seed")
    job_id: Text | None = column("job the item belongs to, if one")
    status: Text = column("done, failed or skipped")
    seconds: Float = column("wall time of the item", "s")
    cause: Text | None = column("failure category; null when done")
    evidence: Text | None = column("what was seen; null when done")
    remedy: Text | None = column("what to do; null when done")


OUTCOMES = Contract(OutcomeRow, "outcomes", 1, ("stage", "batch_id", "item"))


@row
class FeatureRow:
    """An array of a job's features."""

    array: Text = column("path in Features, such as tokens.residue_type")
    dtype: Text = column("NumPy's name of the element type, or text")
    shape: Shape = column("unpadded shape")
    data: Bytes = column("little-endian, C order; text as JSON")


FEATURES = Contract(FeatureRow, "features", 2, ("array",))


@row
class PredictionRow:
    """A predicted sample, its a atoms and n tokens."""

    job_id: Text = column("first 16 hex digits of the job's content digest")
    seed: Seed = column("model seed")
    sample: Int = column("0-based diffusion sample of the seed")
    positions: Floats = column("a × 3, atoms of the job's layout", "Å")
    atom_plddt: Floats = column("a, 0–100")
    pae: UInt16s = column("n × n, C order", "0.1 Å")
    contact_probs: UInt8s = column("n × n, C order", "0.01")
    ptm: Float = column("0–1; NaN if no token has a frame")
    iptm: Float | None = column("0–1; null for a single chain")
    ranking_score: Float = column("AF3's ranking score")
    has_clash: Bool = column("AF3's clash criterion")
    fraction_disordered: Float = column("0–1; 0 without protein")
    chain_ptm: Floats = column("per chain")
    chain_iptm: Floats = column("per chain; NaN for a single chain")
    chain_pair_iptm: Floats = column("chains × chains, C order")
    chain_pair_actifptm: Floats = column("chains × chains")
    chain_pair_pae_min: Floats = column("chains × chains", "Å")
    chain_pair_pde_min: Floats = column("chains × chains", "Å")
    chain_pair_pde_mean: Floats = column("chains × chains", "Å")
    provenance: Text = column("JSON: weights, code, backend, device, digests")


PREDICTIONS = Contract(PredictionRow, "predictions", 1, ("job_id", "seed", "sample"))


@row
class ProvenanceRow:
    """What made the prediction of a (job, seed)."""

    job_id: Text = column("first 16 hex digits of the job's content digest")
    seed: Seed = column("model seed")
    weights: Text = column("SHA-256 of the checkpoint")
    network: Text = column("JSON: recycles, steps, samples, noise buckets")
    precision: Text = column("float32 or bfloat16")
    backends: Text = column("JSON: operation to what computed it")
    foldmill: Text = column("version of Foldmill")
    source: Text = column("digest of the code")
    jax: Text = column("version of JAX")
    device: Text = column("kind of device")
    driver: Text | None = column("version of the device's driver")
    rung: Text = column("how much memory was saved; see docs/failures.md")
    bucket: Int = column("tokens after padding")
    features: Text = column("digest of what the features were made from")
    search_profile: Text = column("E-value convention: paper or server")
    search_engines: Text = column("JSON: role to program")
    databases: Text = column("JSON: name to digest")


PROVENANCE = Contract(ProvenanceRow, "provenance", 1, ("job_id", "seed"))


@row
class TimingRow:
    """One phase of an item that a predict batch worked on."""

    batch_id: Text = column("the batch that did the work")
    process: Int = column("of the batch, counted from 0; a restart is a new one")
    item: Text = column("job.seed")
    phase: Text = column("load, compute or finish")
    start: Double = column("since the first began, pauses left out", "s")
    end: Double = column("since the first began, pauses left out", "s")
    bucket: Int = column("tokens after padding")
    num_tokens: Int = column("tokens before padding; -1 if never loaded")
    rung: Text = column("planned, or how memory was saved")
    failed: Bool = column("the item did not get through")
    compiled: Bool = column("the network was made ready in this phase")
    from_cache: Bool = column("compiled before, and read from disk")
    device: Text = column("kind of device")
    node: Text = column("host, and which of its devices")
    canary: Text = column("what the device showed before it was trusted")
    canary_seconds: Double = column("time of the canary's product of matrices", "s")


TIMINGS = Contract(
    TimingRow, "timings", 2, ("batch_id", "process", "item", "phase", "start")
)


@row
class RelaxedRow:
    """A sample after relaxation, its a heavy atoms and h hydrogens."""

    job_id: Text = column("first 16 hex digits of the job's content digest")
    seed: Seed = column("model seed")
    sample: Int = column("0-based diffusion sample of the seed")
    status: Text = column("relaxed, not_converged, refused or failed")
    reason: Text | None = column("one sentence where not relaxed")
    positions: Floats | None = column("a × 3; null if none", "Å")
    energy_before: Double | None = column("potential", "kJ/mol")
    energy_after: Double | None = column("potential", "kJ/mol")
    clashes_before: Int | None = column("heavy-atom clashes; see relax")
    clashes_after: Int | None = column("heavy-atom clashes; see relax")
    bond_violations_before: Int | None = column("bonds off by > 0.15 Å")
    bond_violations_after: Int | None = column("bonds off by > 0.15 Å")
    angle_violations_before: Int | None = column("angles off by > 18°")
    angle_violations_after: Int | None = column("angles off by > 18°")
    chirality_errors_before: Int | None = column("inverted stereocentres")
    chirality_errors_after: Int | None = column("inverted stereocentres")
    rmsd: Float | None = column("heavy atoms, before to after", "Å")
    seconds: Float = column("wall time", "s")
    treatments: Text = column("JSON: CHAIN/NUMBER of residues Amber lacks to treatment")
    hydrogen_names: Texts | None = column("h; null unless kept")
    hydrogen_parents: Ints | None = column("h, rows of atoms")
    hydrogen_positions: Floats | None = column("h × 3", "Å")


RELAXED = Contract(RelaxedRow, "relaxed", 1, ("job_id", "seed", "sample"))


@row
class SampleScoreRow:
    """A sample and all numbers that describe it."""

    job_id: Text = column("first 16 hex digits of the job's content digest")
    seed: Seed = column("model seed")
    sample: Int = column("0-based diffusion sample of the seed")
    name: Text = column("the job's label")
    num_tokens: Int = column("tokens before padding")
    num_chains: Int = column("chains, ligands and ions")
    ranking_score: Float = column("AF3's ranking score")
    ptm: Float = column("0–1")
    iptm: Float | None = column("0–1; null for a single chain")
    mean_plddt: Float = column("mean over atoms, 0–100")
    has_clash: Bool = column("AF3's clash criterion")
    fraction_disordered: Float = column("0–1; 0 without protein")
    clashes: Int = column("heavy-atom clashes of the prediction")
    bond_violations: Int = column("bonds off by > 0.15 Å")
    angle_violations: Int = column("angles off by > 18°")
    chirality_errors: Int = column("inverted stereocentres")
    ipsae: Float | None = column("highest of all interfaces")
    pdockq2: Float | None = column("highest of all interfaces")
    ilis: Float | None = column("highest of all interfaces")
    relax_status: Text | None = column("see relaxed; null if not asked for")
    relaxed_clashes: Int | None = column("clashes after relaxation")
    ligands_checked: Int = column("by PoseBusters; ions are not")
    ligands_valid: Int = column("pass every check; all stereocentres right")
    ligand_checks: Text = column("JSON: chain to what failed and why")
    reference: Text | None = column("what was compared with, if given")
    lddt: Float | None = column("to the reference, heavy atoms, 0–1")
    lddt_ca: Float | None = column("to the reference, C-alpha and C1', 0–1")
    tm_score: Float | None = column("to the reference, 0–1")
    rmsd: Float | None = column("C-alpha and C1', superposed", "Å")
    dockq: Float | None = column("mean over the reference's interfaces")
    ligand_rmsd: Float | None = column("mean, pockets superposed", "Å")
    reference_chains: Text | None = column("JSON: its chains to ours")
    chain_ids: Texts = column("chains in order of output")
    chain_plddt: Floats = column("mean over atoms, per chain")
    chain_ptm: Floats = column("per chain")
    chain_iptm: Floats = column("per chain; NaN for a single chain")


SAMPLE_SCORES = Contract(
    SampleScoreRow, "sample_scores", 1, ("job_id", "seed", "sample")
)


@row
class ScoreRow(SampleScoreRow):
    """A sample among all samples of its job."""

    rank: Int = column("1 is the best sample of the job")


SCORES = Contract(ScoreRow, "scores", 2, ("job_id", "seed", "sample"))


@row
class InterfaceRow:
    """Two chains of a sample that touch, or may."""

    job_id: Text = column("first 16 hex digits of the job's content digest")
    seed: Seed = column("model seed")
    sample: Int = column("0-based diffusion sample of the seed")
    chain_1: Text = column("chain id")
    chain_2: Text = column("chain id")
    iptm: Float = column("AF3's chain-pair ipTM, 0–1")
    actifptm: Float | None = column("ipTM of the tokens in contact, 0–1")
    pae_min: Float = column("lowest PAE from chain_1 to chain_2", "Å")
    ipsae: Float | None = column("from chain_1 to chain_2, polymers only")
    ipsae_max: Float | None = column("of both directions")
    ipsae_d0chn: Float | None = column("ipSAE scaled by chain lengths")
    ipsae_d0dom: Float | None = column("ipSAE scaled by good residues")
    pdockq: Float | None = column("0–0.742, polymers only")
    pdockq2: Float | None = column("0–1.31, polymers only")
    lis: Float = column("local interaction score, 0–1")
    clis: Float = column("LIS over contacts, 0–1")
    ilis: Float = column("geometric mean of LIS and cLIS")
    contacts: Int = column("residue or ligand-atom pairs within 5 Å")
    interface_plddt: Float | None = column("mean over residues in contact")
    interface_pae: Float | None = column("mean over contacts", "Å")
    buried_area: Float = column("of each chain in the other", "Å²")
    dockq: Float | None = column("to the reference, 0–1")
    fnat: Float | None = column("the reference's contacts found, 0–1")
    interface_rmsd: Float | None = column("backbone, superposed", "Å")
    ligand_rmsd: Float | None = column("shorter chain, longer superposed", "Å")


INTERFACES = Contract(
    InterfaceRow, "interfaces", 1, ("job_id", "seed", "sample", "chain_1", "chain_2")
)


@row
class ScreenChainRow:
    """A chain of a job of a screen."""

    job_id: Text = column("first 16 hex digits of the job's content digest")
    chain_id: Text = column("chain id")
    screen: Text = column("name of the screen")
    kind: Text = column("asked or background")
    partner: Text = column("what the chain is of: a chain, copies, a small complex")
    copy: Int = column("0; 1, 2, … for further partners of one label")
    role: Text = column("bait, prey or any")
    num_tokens: Int = column("of the partner")
    ligand: Text | None = column("smiles:CCO or ccd:ATP; null for polymers")
    first_campaign: Text | None = column("that took the pair for one of its best")
    first_by: Text | None = column("score that it was chosen by there")
    first_score: Float | None = column("what it scored there")
    first_rank: Int | None = column("1 is the best of that campaign")


SCREEN_CHAINS = Contract(ScreenChainRow, "screen_chains", 1, ("job_id", "chain_id"))


@row
class ScreenRow:
    """A pair of a screen, over all jobs in which it meets.

    Scores are means over jobs; of a job, those of the best pair of chains in its best
    sample.
    """

    screen: Text = column("name of the screen")
    partner_1: Text = column("first by the alphabet")
    partner_2: Text = column("second; equal to the first where copies of it meet")
    kind: Text = column("asked, background, or other: met in a pool by the way")
    role_1: Text = column("bait, prey or any")
    role_2: Text = column("likewise")
    tokens_1: Int = column("tokens of partner_1")
    tokens_2: Int = column("likewise")
    ligand: Text | None = column("smiles:CCO or ccd:ATP; null for polymers")
    num_jobs: Int = column("jobs in which the pair meets")
    job_id: Text = column("the one in which it scores best")
    name: Text = column("label of that job")
    seed: Seed = column("seed of its best sample")
    sample: Int = column("0-based diffusion sample of the seed")
    chain_1: Text = column("its chain of partner_1 at the interface")
    chain_2: Text = column("likewise")
    iptm: Float = column("chain-pair ipTM, 0–1")
    ipsae: Float | None = column("of the better direction, polymers only, 0–1")
    ilis: Float = column("geometric mean of LIS and cLIS")
    pdockq2: Float | None = column("0–1.31, polymers only")
    pae_min: Float = column("lowest PAE in either direction", "Å")
    interface_plddt: Float | None = column("mean over residues in contact")
    contacts: Float = column("residue or ligand-atom pairs within 5 Å")
    buried_area: Float = column("of each chain in the other", "Å²")
    dockq: Float | None = column("to the reference, 0–1")
    ligand_valid: Bool | None = column("all ligands of the job pass every check")
    iptm_max: Float = column("highest of all jobs")
    ipsae_max: Float | None = column("likewise")
    iptm_corrected: Float | None = column("size taken out, as the background has it")
    ipsae_corrected: Float | None = column("likewise")
    ilis_corrected: Float | None = column("likewise")
    iptm_above: Float | None = column("share of background at least as high")
    ipsae_above: Float | None = column("likewise")
    ilis_above: Float | None = column("likewise")
    background: Text | None = column("background (pairs added), or screen (its own)")
    background_pairs: Int = column("pairs it is compared with")
    first_campaign: Text | None = column("that took the pair for one of its best")
    first_by: Text | None = column("score that it was chosen by there")
    first_score: Float | None = column("what it scored there")
    first_rank: Int | None = column("1 is the best of that campaign")


SCREEN = Contract(ScreenRow, "screen", 1, ("screen", "partner_1", "partner_2"))


@row
class ShardHitRow:
    """A hit of a sequence in one part of a database."""

    name: Text = column("database sequence")
    description: Text = column("rest of its header; may be empty")
    score: Float = column("of the whole database sequence", "bit")
    e_value: Double = column("of the whole database sequence")
    regions: Regions = column("aligned regions, in order")
    num_hits: Int64 = column("hits in the shard, kept or not")


SHARD_HITS = Contract(ShardHitRow, "shard_hits", 1, ())


@row
class SurvivorRow:
    """A database sequence that HMMER's first filter may let through for a query."""

    place: Int = column("in the shard's file, from 0, in order")


SURVIVORS = Contract(SurvivorRow, "survivors", 1, ())


@row
class MsaHitRow:
    """An aligned region of a database, as it enters an alignment."""

    sequence_id: Text = column("16 hex digits: molecule type and sequence")
    database_digest: Text = column("16 hex digits of the database's SHA-256")
    rank: Int = column("1-based place in the alignment, best first")
    target: Text = column("name of the database sequence")
    description: Text = column("rest of its header; may be empty")
    start: Int = column("1-based first residue; after end on a reverse strand")
    end: Int = column("1-based last residue")
    row: LargeText = column("A3M; for RNA the bare subsequence")
    score: Float = column("of the whole database sequence", "bit")
    e_value: Double = column("of the whole database sequence")
    region_score: Float = column("of the aligned region", "bit")
    region_e_value: Double = column("of the region; 0 for RNA")
    engine: Text = column("tool and version that found it")
    profile: Text = column("E-value convention: paper or server")


MSA_HITS = Contract(
    MsaHitRow, "msa_hits", 1, ("sequence_id", "database_digest", "rank")
)


@row
class AlignmentRow:
    """A row of an alignment that a job was given."""

    sequence_id: Text = column("16 hex digits: molecule type and sequence")
    pairing: Text = column("unpaired (without repeats) or paired")
    rank: Int = column("1-based row of the alignment; 1 is the query")
    description: Text = column("header of the row")
    species: Text = column("UniProt's mnemonic; empty if unknown")
    row: LargeText = column("A3M")
    profile: Text = column("E-value convention: paper or server")


ALIGNMENTS = Contract(AlignmentRow, "alignments", 1, ("sequence_id", "pairing", "rank"))


@row
class TemplateRow:
    """A template of a sequence."""

    sequence_id: Text = column("16 hex digits: molecule type and sequence")
    rank: Int = column("1-based, best first")
    pdb_id: Text = column("lower case")
    chain_id: Text = column("author's chain id (auth_asym_id)")
    release_date: Text = column("ISO 8601")
    mmcif: LargeText = column("the chain with its coordinates")
    query_indices: Ints = column("0-based residues of the query")
    template_indices: Ints = column("residues they align with")
    engine: Text = column("tool and version that found it")


TEMPLATES = Contract(TemplateRow, "templates", 1, ("sequence_id", "rank"))


@row
class ImportedRow:
    """What another program found for a sequence, as AlphaFold 3 JSON has it."""

    kind: Text = column("protein or rna")
    sequence: Text = column("one-letter codes as they were searched")
    unpaired_msa: LargeText | None = column("A3M; null if nothing is known")
    paired_msa: LargeText | None = column("A3M; null if nothing is known")
    templates: LargeText | None = column("JSON; null if nothing is known")
    source: Text = column("the file it was read from")


IMPORTED = Contract(ImportedRow, "imported", 1, ("kind", "sequence"))


CONTRACTS: dict[str, Contract[Any]] = {
    c.name: c
    for c in (
        JOBS,
        CHAINS,
        OUTCOMES,
        FEATURES,
        PREDICTIONS,
        PROVENANCE,
        TIMINGS,
        RELAXED,
        SAMPLE_SCORES,
        SCORES,
        INTERFACES,
        SCREEN_CHAINS,
        SCREEN,
        SHARD_HITS,
        SURVIVORS,
        MSA_HITS,
        ALIGNMENTS,
        TEMPLATES,
        IMPORTED,
    )
}
"""Every contract by name."""

"""The tables that cross from one stage to the next, declared once.

A `Contract` is the exact schema of a Parquet file: column names, types, units and
keys, and a version that grows whenever a column changes or its numbers would. The
contract's name and version travel in the file's metadata, units in each field's.
"""

from dataclasses import dataclass

import pyarrow as pa


class ContractError(TypeError):
    """A table is not what its contract says. A developer has to mend it."""


@dataclass(frozen=True)
class Column:
    """One column. `unit` is "" where there is none to state."""

    name: str
    type: pa.DataType
    doc: str
    unit: str = ""
    nullable: bool = False


@dataclass(frozen=True)
class Contract:
    """The schema of one kind of table."""

    name: str
    version: int
    key: tuple[str, ...]
    """Columns whose values together name a row; no two rows share them."""
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema with name, version, key and units as metadata."""
        fields = [
            pa.field(
                c.name, c.type, c.nullable, metadata={"unit": c.unit, "doc": c.doc}
            )
            for c in self.columns
        ]
        return pa.schema(
            fields,
            metadata={
                "contract": self.name,
                "version": str(self.version),
                "key": ",".join(self.key),
            },
        )

    def table(self, rows: list[dict[str, object]]) -> pa.Table:
        """Makes a table from rows; a missing or extra column is an error."""
        names = {c.name for c in self.columns}
        for row in rows:
            if row.keys() != names:
                raise ContractError(
                    f"{self.name}: row has columns {sorted(row.keys() ^ names)} "
                    "too many or too few"
                )
        return pa.Table.from_pylist(rows, schema=self.schema)

    def check(self, table: pa.Table, *, where: str) -> pa.Table:
        """Returns the table if it fulfils the contract, else raises ContractError."""
        wanted = self.schema
        if not table.schema.equals(wanted, check_metadata=False):
            raise ContractError(
                f"{where}: found schema\n{table.schema.remove_metadata()}\n"
                f"wanted {self.name} version {self.version}\n"
                f"{wanted.remove_metadata()}"
            )
        metadata = table.schema.metadata or {}
        found = (metadata.get(b"contract"), metadata.get(b"version"))
        if found != (self.name.encode(), str(self.version).encode()):
            raise ContractError(
                f"{where}: holds {found}, wanted {self.name} version {self.version}"
            )
        for column in self.columns:
            if not column.nullable and table[column.name].null_count:
                raise ContractError(f"{where}: nulls in column {column.name}")
        if self.key and table.num_rows:
            keys = table.select(self.key)
            if keys.group_by(list(self.key)).aggregate([]).num_rows != keys.num_rows:
                raise ContractError(f"{where}: rows share the key {self.key}")
        return table


_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int32(), pa.float32(), pa.bool_()
_JOB = Column("job_id", _TEXT, "first 16 hex digits of the job's content digest")
_SEED = Column("seed", pa.uint32(), "model seed")
_SAMPLE = Column("sample", _INT, "0-based diffusion sample of the seed")
_SEQUENCE = Column("sequence_id", _TEXT, "16 hex digits: molecule type and sequence")

JOBS = Contract(
    "jobs",
    1,
    ("job_id",),
    (
        _JOB,
        Column("name", _TEXT, "unique label, safe as a file name"),
        Column("source", _TEXT, "input file as the user named it"),
        Column("num_tokens", _INT, "tokens before padding"),
        Column("seeds", pa.list_(pa.uint32()), "model seeds"),
        Column("json", _TEXT, "the whole job as AlphaFold 3 JSON"),
    ),
)

CHAINS = Contract(
    "chains",
    1,
    ("job_id", "entity_index"),
    (
        _JOB,
        Column("entity_index", _INT, "0-based position among the job's entities"),
        Column("kind", _TEXT, "protein, rna, dna or ligand"),
        Column("chain_ids", pa.list_(_TEXT), "one id per copy"),
        Column("sequence_id", _TEXT, "see search; null for ligands", nullable=True),
        Column(
            "sequence", _TEXT, "letters as searched; null for ligands", nullable=True
        ),
        Column("search_unpaired", _BOOL, "no unpaired MSA was given"),
        Column("search_paired", _BOOL, "no paired MSA was given"),
        Column("template_id", _TEXT, "template search; null if none", "", True),
    ),
)

OUTCOMES = Contract(
    "outcomes",
    1,
    ("stage", "batch_id", "item"),
    (
        Column("stage", _TEXT, "plan, search, templates, featurise, predict, …"),
        Column("batch_id", _TEXT, "the batch that did the work"),
        Column("item", _TEXT, "what the stage counts: a sequence, job or job.seed"),
        Column("job_id", _TEXT, "job the item belongs to, if one", nullable=True),
        Column("status", _TEXT, "done, failed or skipped"),
        Column("seconds", _FLOAT, "wall time of the item", "s"),
        Column("cause", _TEXT, "failure category; null when done", nullable=True),
        Column("evidence", _TEXT, "what was seen; null when done", nullable=True),
        Column("remedy", _TEXT, "what to do; null when done", nullable=True),
    ),
)

FEATURES = Contract(
    "features",
    1,
    ("array",),
    (
        Column("array", _TEXT, "path in Features, such as tokens.residue_type"),
        Column("dtype", _TEXT, "NumPy's name of the element type, or text"),
        Column("shape", pa.list_(pa.int64()), "unpadded shape"),
        Column("data", pa.large_binary(), "little-endian, C order; text as JSON"),
    ),
)

PREDICTIONS = Contract(
    "predictions",
    1,
    ("job_id", "seed", "sample"),
    (
        _JOB,
        _SEED,
        _SAMPLE,
        Column("positions", pa.list_(_FLOAT), "a × 3, atoms of the job's layout", "Å"),
        Column("atom_plddt", pa.list_(_FLOAT), "a, 0–100"),
        Column("pae", pa.list_(pa.uint16()), "n × n, C order", "0.1 Å"),
        Column("contact_probs", pa.list_(pa.uint8()), "n × n, C order", "0.01"),
        Column("ptm", _FLOAT, "0–1; NaN if no token has a frame"),
        Column("iptm", _FLOAT, "0–1; null for a single chain", nullable=True),
        Column("ranking_score", _FLOAT, "AF3's ranking score"),
        Column("has_clash", _BOOL, "AF3's clash criterion"),
        Column("fraction_disordered", _FLOAT, "0–1; 0 without protein"),
        Column("chain_ptm", pa.list_(_FLOAT), "per chain"),
        Column("chain_iptm", pa.list_(_FLOAT), "per chain; NaN for a single chain"),
        Column("chain_pair_iptm", pa.list_(_FLOAT), "chains × chains, C order"),
        Column("chain_pair_actifptm", pa.list_(_FLOAT), "chains × chains"),
        Column("chain_pair_pae_min", pa.list_(_FLOAT), "chains × chains", "Å"),
        Column("chain_pair_pde_min", pa.list_(_FLOAT), "chains × chains", "Å"),
        Column("chain_pair_pde_mean", pa.list_(_FLOAT), "chains × chains", "Å"),
        Column("provenance", _TEXT, "JSON: weights, code, backend, device, digests"),
    ),
)

PROVENANCE = Contract(
    "provenance",
    1,
    ("job_id", "seed"),
    (
        _JOB,
        _SEED,
        Column("weights", _TEXT, "SHA-256 of the checkpoint"),
        Column("network", _TEXT, "JSON: recycles, diffusion steps, samples"),
        Column("precision", _TEXT, "float32 or bfloat16"),
        Column("backends", _TEXT, "JSON: operation to what computed it"),
        Column("foldmill", _TEXT, "version"),
        Column("source", _TEXT, "digest of the code"),
        Column("jax", _TEXT, "version"),
        Column("device", _TEXT, "kind of device"),
        Column("driver", _TEXT, "of the device", nullable=True),
        Column("rung", _TEXT, "how much memory was saved; see docs/failures.md"),
        Column("bucket", _INT, "tokens after padding"),
        Column("features", _TEXT, "digest of what the features were made from"),
        Column("search_profile", _TEXT, "E-value convention: paper or server"),
        Column("search_engines", _TEXT, "JSON: role to program"),
        Column("databases", _TEXT, "JSON: name to digest"),
    ),
)

TIMINGS = Contract(
    "timings",
    2,
    ("batch_id", "process", "item", "phase", "start"),
    (
        Column("batch_id", _TEXT, "the batch that did the work"),
        Column("process", _INT, "of the batch, from 0, each begun anew"),
        Column("item", _TEXT, "job.seed"),
        Column("phase", _TEXT, "load, compute or finish"),
        Column("start", pa.float64(), "since the first began, pauses left out", "s"),
        Column("end", pa.float64(), "likewise", "s"),
        Column("bucket", _INT, "tokens after padding"),
        Column("num_tokens", _INT, "tokens before padding; -1 if never loaded"),
        Column("rung", _TEXT, "planned, or how memory was saved"),
        Column("failed", _BOOL, "the item did not get through"),
        Column("compiled", _BOOL, "the network was made ready in this phase"),
        Column("from_cache", _BOOL, "compiled before, and read from disk"),
        Column("device", _TEXT, "kind of device"),
        Column("node", _TEXT, "and which of its devices"),
        Column("canary", _TEXT, "what the device showed before it was trusted"),
        Column("canary_seconds", pa.float64(), "of its timed product", "s"),
    ),
)

RELAXED = Contract(
    "relaxed",
    1,
    ("job_id", "seed", "sample"),
    (
        _JOB,
        _SEED,
        _SAMPLE,
        Column("status", _TEXT, "relaxed, not_converged, refused or failed"),
        Column("reason", _TEXT, "one sentence where not relaxed", nullable=True),
        Column("positions", pa.list_(_FLOAT), "a × 3; null if none", "Å", True),
        Column("energy_before", pa.float64(), "potential", "kJ/mol", True),
        Column("energy_after", pa.float64(), "potential", "kJ/mol", True),
        Column("clashes_before", _INT, "heavy-atom clashes; see relax", "", True),
        Column("clashes_after", _INT, "likewise", "", True),
        Column("bond_violations_before", _INT, "bonds off by > 0.15 Å", "", True),
        Column("bond_violations_after", _INT, "likewise", "", True),
        Column("angle_violations_before", _INT, "angles off by > 18°", "", True),
        Column("angle_violations_after", _INT, "likewise", "", True),
        Column("chirality_errors_before", _INT, "inverted centres", "", True),
        Column("chirality_errors_after", _INT, "likewise", "", True),
        Column("rmsd", _FLOAT, "heavy atoms, before to after", "Å", True),
        Column("seconds", _FLOAT, "wall time", "s"),
        Column("treatments", _TEXT, "JSON: CHAIN/NUMBER of what is not Amber's to how"),
        Column("hydrogen_names", pa.list_(_TEXT), "h; null unless kept", "", True),
        Column("hydrogen_parents", pa.list_(_INT), "h, rows of atoms", "", True),
        Column("hydrogen_positions", pa.list_(_FLOAT), "h × 3", "Å", True),
    ),
)

SCORES = Contract(
    "scores",
    1,
    ("job_id", "seed", "sample"),
    (
        _JOB,
        _SEED,
        _SAMPLE,
        Column("name", _TEXT, "the job's label"),
        Column("rank", _INT, "1 is the best sample of the job"),
        Column("num_tokens", _INT, "tokens before padding"),
        Column("num_chains", _INT, "chains, ligands and ions"),
        Column("ranking_score", _FLOAT, "AF3's ranking score"),
        Column("ptm", _FLOAT, "0–1"),
        Column("iptm", _FLOAT, "0–1; null for a single chain", nullable=True),
        Column("mean_plddt", _FLOAT, "mean over atoms, 0–100"),
        Column("has_clash", _BOOL, "AF3's clash criterion"),
        Column("fraction_disordered", _FLOAT, "0–1; 0 without protein"),
        Column("clashes", _INT, "heavy-atom clashes of the prediction"),
        Column("bond_violations", _INT, "bonds off by > 0.15 Å"),
        Column("angle_violations", _INT, "angles off by > 18°"),
        Column("chirality_errors", _INT, "stereocentres of the wrong hand"),
        Column("ipsae", _FLOAT, "highest of all interfaces", "", True),
        Column("pdockq2", _FLOAT, "highest of all interfaces", "", True),
        Column("ilis", _FLOAT, "highest of all interfaces", "", True),
        Column("relax_status", _TEXT, "see relaxed; null if not asked for", "", True),
        Column("relaxed_clashes", _INT, "clashes after relaxation", "", True),
        Column("ligands_checked", _INT, "by PoseBusters; ions are not"),
        Column("ligands_valid", _INT, "pass every check, every hand right"),
        Column("ligand_checks", _TEXT, "JSON: chain to what failed and why"),
        Column("reference", _TEXT, "what was compared with, if given", "", True),
        Column("lddt", _FLOAT, "to the reference, heavy atoms, 0–1", "", True),
        Column("lddt_ca", _FLOAT, "likewise, C-alpha and C1'", "", True),
        Column("tm_score", _FLOAT, "to the reference, 0–1", "", True),
        Column("rmsd", _FLOAT, "C-alpha and C1', superposed", "Å", True),
        Column("dockq", _FLOAT, "mean over the reference's interfaces", "", True),
        Column("ligand_rmsd", _FLOAT, "mean, pockets superposed", "Å", True),
        Column("reference_chains", _TEXT, "JSON: its chains to ours", "", True),
        Column("chain_ids", pa.list_(_TEXT), "chains in order of output"),
        Column("chain_plddt", pa.list_(_FLOAT), "mean over atoms, per chain"),
        Column("chain_ptm", pa.list_(_FLOAT), "per chain"),
        Column("chain_iptm", pa.list_(_FLOAT), "per chain; NaN for a single chain"),
    ),
)

INTERFACES = Contract(
    "interfaces",
    1,
    ("job_id", "seed", "sample", "chain_1", "chain_2"),
    (
        _JOB,
        _SEED,
        _SAMPLE,
        Column("chain_1", _TEXT, "chain id"),
        Column("chain_2", _TEXT, "chain id"),
        Column("iptm", _FLOAT, "AF3's chain-pair ipTM, 0–1"),
        Column("actifptm", _FLOAT, "ipTM of what is in contact, 0–1", "", True),
        Column("pae_min", _FLOAT, "lowest PAE from chain_1 to chain_2", "Å"),
        Column("ipsae", _FLOAT, "from chain_1 to chain_2, polymers only", "", True),
        Column("ipsae_max", _FLOAT, "of both directions", "", True),
        Column("ipsae_d0chn", _FLOAT, "ipSAE scaled by chain lengths", "", True),
        Column("ipsae_d0dom", _FLOAT, "ipSAE scaled by good residues", "", True),
        Column("pdockq", _FLOAT, "0–0.742, polymers only", "", True),
        Column("pdockq2", _FLOAT, "0–1.31, polymers only", "", True),
        Column("lis", _FLOAT, "local interaction score, 0–1"),
        Column("clis", _FLOAT, "LIS over contacts, 0–1"),
        Column("ilis", _FLOAT, "geometric mean of LIS and cLIS"),
        Column("contacts", _INT, "residue or ligand-atom pairs within 5 Å"),
        Column("interface_plddt", _FLOAT, "of what is in contact", "", True),
        Column("interface_pae", _FLOAT, "mean over contacts", "Å", True),
        Column("buried_area", _FLOAT, "of each chain in the other", "Å²"),
        Column("dockq", _FLOAT, "to the reference, 0–1", "", True),
        Column("fnat", _FLOAT, "the reference's contacts found, 0–1", "", True),
        Column("interface_rmsd", _FLOAT, "backbone, superposed", "Å", True),
        Column("ligand_rmsd", _FLOAT, "shorter chain, longer superposed", "Å", True),
    ),
)

SHARD_HITS = Contract(
    "shard_hits",
    1,
    (),
    (
        Column("name", _TEXT, "database sequence"),
        Column("description", _TEXT, "rest of its header; may be empty"),
        Column("score", _FLOAT, "of the whole database sequence", "bit"),
        Column("e_value", pa.float64(), "of the whole database sequence"),
        Column(
            "regions",
            pa.list_(
                pa.struct(
                    [
                        ("start", pa.int64()),
                        ("end", pa.int64()),
                        ("row", pa.string()),
                        ("score", _FLOAT),
                        ("p_value", pa.float64()),
                    ]
                )
            ),
            "aligned regions, in order",
        ),
        Column("num_hits", pa.int64(), "hits in the shard, kept or not"),
    ),
)

MSA_HITS = Contract(
    "msa_hits",
    1,
    ("sequence_id", "database_digest", "rank"),
    (
        _SEQUENCE,
        Column("database_digest", _TEXT, "16 hex digits of the database's SHA-256"),
        Column("rank", _INT, "1-based place in the alignment, best first"),
        Column("target", _TEXT, "name of the database sequence"),
        Column("description", _TEXT, "rest of its header; may be empty"),
        Column("start", _INT, "1-based first residue; after end on a reverse strand"),
        Column("end", _INT, "1-based last residue"),
        Column("row", pa.large_string(), "A3M; for RNA the bare subsequence"),
        Column("score", _FLOAT, "of the whole database sequence", "bit"),
        Column("e_value", pa.float64(), "of the whole database sequence"),
        Column("region_score", _FLOAT, "of the aligned region", "bit"),
        Column("region_e_value", pa.float64(), "of the region; 0 for RNA"),
        Column("engine", _TEXT, "tool and version that found it"),
        Column("profile", _TEXT, "E-value convention: paper or server"),
    ),
)

ALIGNMENTS = Contract(
    "alignments",
    1,
    ("sequence_id", "pairing", "rank"),
    (
        _SEQUENCE,
        Column("pairing", _TEXT, "unpaired (without repeats) or paired"),
        Column("rank", _INT, "1-based row of the alignment; 1 is the query"),
        Column("description", _TEXT, "header of the row"),
        Column("species", _TEXT, "UniProt's mnemonic; empty if unknown"),
        Column("row", pa.large_string(), "A3M"),
        Column("profile", _TEXT, "E-value convention: paper or server"),
    ),
)

TEMPLATES = Contract(
    "templates",
    1,
    ("sequence_id", "rank"),
    (
        _SEQUENCE,
        Column("rank", _INT, "1-based, best first"),
        Column("pdb_id", _TEXT, "lower case"),
        Column("chain_id", _TEXT, "author's chain id (auth_asym_id)"),
        Column("release_date", _TEXT, "ISO 8601"),
        Column("mmcif", pa.large_string(), "the chain with its coordinates"),
        Column("query_indices", pa.list_(_INT), "0-based residues of the query"),
        Column("template_indices", pa.list_(_INT), "residues they align with"),
        Column("engine", _TEXT, "tool and version that found it"),
    ),
)

CONTRACTS = {
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
        SCORES,
        INTERFACES,
        SHARD_HITS,
        MSA_HITS,
        ALIGNMENTS,
        TEMPLATES,
    )
}
"""Every contract by name."""

"""Bytes and files per job, ours and in AlphaFold 3's layout, of the same predictions.

    python -m benchmarks.bench_sizes

Five samples of one seed. AlphaFold 3's layout is what `export.samples: all` writes:
model, confidences and summary of every sample, those of the best once more at the top,
ranking, terms of use and the input with its alignments. `5tgy` are samples of the real
weights, where they are at hand; errors of the others are made up with the same
roughness, so that they compress neither better nor worse.

Markdown goes to benchmarks/results/sizes.md.
"""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from jaxtyping import Float
from numpy import ndarray

from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.residue_letters import LETTER_OF_COMPONENT
from af3_core.contracts import (
    FEATURES,
    JOBS,
    PREDICTIONS,
    SCORES,
    JobRow,
    PredictionRow,
    ScoreRow,
)
from af3_core.features.featurise import featurise
from af3_core.features.values import Features
from af3_core.job import Job, Ligand, Polymer, write_job
from af3_core.scores.confidence import quantise_contact_probs, quantise_pae
from benchmarks.page import RESULTS, publish
from tests.af3_core.features.feature_examples import case, read_job
from tests.reference_data import reference_folder
from tests.workflow.synthetic_campaign import filled
from workflow.campaign import Campaign
from workflow.export import export_job
from workflow.settings import Settings
from workflow.step import read_job_row
from workflow.tables import write_table

HERE = Campaign()
"""The campaign in the current folder."""

PAGE = RESULTS / "sizes.md"
JOB_ID, SEED, NUM_SAMPLES = "0" * 16, 1, 5
LETTERS = "ACDEFGHIKLMNPQRSTVWY"
ROUGHNESS = 0.15
"""Å; of errors from one token to the next, as in samples of the real weights."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """What the model says of one sample."""

    positions: Float[ndarray, "a 3"]
    plddt: Float[ndarray, "a"]
    pae: Float[ndarray, "n n"]
    contact_probs: Float[ndarray, "n n"]


@dataclass(frozen=True)
class Sizes:
    """Bytes of one job's files, and how many there are."""

    name: str
    tokens: int
    atoms: int
    ours: int
    ours_files: int
    af3: int
    af3_files: int
    af3_compressed: int
    """With AF3's option to compress models and confidences."""
    features: int
    data: int
    """AF3's input with alignments."""


def make_up(features: Features, seed: int) -> Arrays:
    """A compact chain with errors that grow with distance."""
    random = np.random.default_rng(seed)
    n, tokens = features.num_tokens, np.asarray(features.atoms.token_index)
    steps = np.cumsum(random.normal(size=(n, 3)), axis=0)
    centres = 2.2 * (steps - steps.mean(axis=0))
    positions = centres[tokens] + random.normal(scale=1.5, size=(len(tokens), 3))
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    doubt = np.convolve(random.uniform(0.1, 0.6, n + 20), np.ones(21) / 21, "valid")
    pae = 0.8 + distance * (doubt[:, None] + doubt[None]) / 2
    pae += random.normal(scale=ROUGHNESS, size=(n, n))
    plddt = 95 - 60 * doubt[tokens] + random.normal(scale=1.5, size=len(tokens))
    return Arrays(
        positions=positions,
        plddt=np.clip(plddt, 0, 100),
        pae=np.clip(pae, 0.3, 31.6),
        contact_probs=1 / (1 + np.exp(distance - 8)),
    )


def real_job(folder: Path) -> tuple[Job, list[Arrays]]:
    """5TGY and its samples, as far as sizes go: protein, ligand, zinc."""
    found = dict(np.load(folder / "arrays.npz"))
    protein = found["chain_id"] == "P"
    numbers, first = np.unique(found["res_id"][protein], return_index=True)
    codes = found["res_name"][protein][first]
    ligands = tuple(dict.fromkeys(found["res_name"][~protein].tolist()))
    job = Job(
        name="5tgy",
        seeds=(SEED,),
        entities=(
            Polymer(
                *("protein", ("P",), "".join(LETTER_OF_COMPONENT[c] for c in codes)),
                unpaired_msa="",
                paired_msa="",
                templates=(),
            ),
            *(Ligand((chr(81 + i),), codes=(c,)) for i, c in enumerate(ligands)),
        ),
    )
    samples = [
        Arrays(
            positions=found[f"sample{i}.coords"],
            plddt=found[f"sample{i}.plddt"],
            pae=found[f"sample{i}.full_pae"],
            contact_probs=found[f"sample{i}.contact_probs"],
        )
        for i in range(NUM_SAMPLES)
    ]
    return job, samples


def protein_job(length: int) -> Job:
    """A protein of random sequence."""
    letters = np.random.default_rng(2).choice(list(LETTERS), length)
    chain = Polymer(
        *("protein", ("A",), "".join(letters)),
        unpaired_msa="",
        paired_msa="",
        templates=(),
    )
    return Job(name=f"protein_{length}", seeds=(SEED,), entities=(chain,))


def write_job_tables(job: Job, features: Features, samples: list[Arrays]) -> None:
    """Writes plan, features and predictions below the current folder."""
    row = JobRow(
        job_id=JOB_ID,
        name=job.name,
        source="x.json",
        num_tokens=features.num_tokens,
        seeds=[SEED],
        json=write_job(job),
        notes=[],
    )
    write_table(Path("results/plan/jobs.parquet"), JOBS, JOBS.table([row]))
    table = FEATURES.table(features.to_rows())
    write_table(HERE.features(JOB_ID), FEATURES, table)
    rows = [_prediction_row(features, i, sample) for i, sample in enumerate(samples)]
    path = HERE.prediction(f"{JOB_ID}.{SEED}")
    write_table(path, PREDICTIONS, PREDICTIONS.table(rows))


def _prediction_row(features: Features, sample: int, arrays: Arrays) -> PredictionRow:
    chains = len(features.chains.chain_id)
    pairs = np.random.default_rng(sample).uniform(0, 1, chains**2)
    facts = {"foldmill": "0.0.0", "weights": "0" * 64, "weights_origin": "untrained"}
    return PredictionRow(
        job_id=JOB_ID,
        seed=SEED,
        sample=sample,
        positions=arrays.positions.astype(np.float32).ravel(),
        atom_plddt=arrays.plddt.astype(np.float32),
        pae=quantise_pae(arrays.pae).ravel(),
        contact_probs=quantise_contact_probs(arrays.contact_probs).ravel(),
        ptm=0.7,
        iptm=0.6 if chains > 1 else None,
        ranking_score=0.7 - 0.01 * sample,
        has_clash=False,
        fraction_disordered=0.1,
        chain_ptm=pairs[:chains],
        chain_iptm=pairs[:chains],
        chain_pair_iptm=pairs,
        chain_pair_actifptm=pairs,
        chain_pair_pae_min=pairs,
        chain_pair_pde_min=pairs,
        chain_pair_pde_mean=pairs,
        provenance=json.dumps(facts),
    )


def measure(job: Job, samples: list[Arrays] | None = None) -> Sizes:
    """Writes a job in both ways and weighs the files."""
    features = featurise(job, Components.load(job.user_ccd))
    if samples is None:
        samples = [make_up(features, i) for i in range(NUM_SAMPLES)]
    settings = Settings.model_validate(
        {
            "inputs": ["inputs"],
            "search": {"databases": "none.tsv"},
            "model": {"checkpoint": "none.bin"},
            "export": {"samples": "all", "relaxed": False},
        }
    )
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            write_job_tables(job, features, samples)
            scores = [_score_row(job.name, i) for i in range(NUM_SAMPLES)]
            row = read_job_row(HERE, JOB_ID)
            export_job(HERE, row, scores, lambda item: [], settings)
            return _weigh(job.name, features)
        finally:
            os.chdir(before)


def _score_row(name: str, sample: int) -> ScoreRow:
    row = {
        "job_id": JOB_ID,
        "name": name,
        "seed": SEED,
        "sample": sample,
        "rank": sample + 1,
        "ranking_score": 0.7 - 0.01 * sample,
    }
    return SCORES.rows(filled(SCORES, [row]))[0]


def _weigh(name: str, features: Features) -> Sizes:
    folder = Path("results/alphafold3", name)
    files = [path for path in folder.rglob("*") if path.is_file()]
    sizes = {path: path.stat().st_size for path in files}
    data = folder / f"{name}_data.json"
    large = ("_model.cif", "_confidences.json")
    compress = zstandard.ZstdCompressor().compress
    compressed = sum(
        len(compress(path.read_bytes()))
        if path.name.endswith(large) and "summary" not in path.name
        else sizes[path]
        for path in files
        if path != data
    )
    return Sizes(
        name=name,
        tokens=features.num_tokens,
        atoms=len(features.atoms.atom_name),
        ours=HERE.prediction(f"{JOB_ID}.{SEED}").stat().st_size,
        ours_files=2,  # features, predictions
        af3=sum(sizes.values()) - sizes[data],
        af3_files=len(files),
        af3_compressed=compressed,
        features=HERE.features(JOB_ID).stat().st_size,
        data=sizes[data],
    )


def table(found: list[Sizes]) -> list[str]:
    """Markdown."""
    lines = [
        "| job | tokens | atoms | ours, kB per sample | AF3, kB per sample | "
        "AF3 compressed | ratio | ours, files | AF3, files | features, kB | "
        "AF3's input, kB |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for each in found:
        per_sample = [
            value / NUM_SAMPLES / 1000
            for value in (each.ours, each.af3, each.af3_compressed)
        ]
        ours, af3, compressed = (f"{value:,.0f}" for value in per_sample)
        lines.append(
            f"| {each.name} | {each.tokens:,} | {each.atoms:,} | {ours} | {af3} "
            f"| {compressed} | {each.af3 / each.ours:.0f}, "
            f"{each.af3_compressed / each.ours:.1f} | {each.ours_files} "
            f"| {each.af3_files} | {each.features / 1000:,.0f} "
            f"| {each.data / 1000:,.0f} |"
        )
    return lines


def main() -> None:
    """Weighs every case and writes the table."""
    found = [measure(read_job(case("villin_gb1"))), measure(protein_job(1000))]
    if (folder := reference_folder("real_5tgy")) is not None:
        found.append(measure(*real_job(folder)))
    notes = (
        "Five samples of one seed, what is written once (the best sample's copies, "
        "ranking, terms) shared among them; ratios are AF3's bytes to ours, as they "
        "are and with its option to compress. Ours is the predictions table, with "
        "everything that AF3's JSON has at its resolution."
    )
    text = "\n".join(["# Bytes and files per job", "", notes, "", *table(found)])
    publish(PAGE, text.splitlines())


if __name__ == "__main__":
    main()

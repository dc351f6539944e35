"""Embeddings and distogram, kept where they are asked for. Takes 90 s."""

import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml

from af3_core.contracts import PREDICTIONS
from af3_core.features.buckets import bucket_for
from af3_core.model.batch import pad
from af3_core.model.checkpoint import load_checkpoint
from af3_core.model.config import Runtime
from af3_core.model.model import Prediction, compile_predict
from tests.workflow.campaigns import (
    QUICK_COMPILE,
    TINY,
    job,
    make_campaign,
    protein,
    run_campaign,
)
from workflow.campaign import Campaign
from workflow.export import write_zip
from workflow.inference.worker import configure
from workflow.results.features_file import read_job_arrays
from workflow.results.trunk_files import is_trunk_file_current, write_trunk_file
from workflow.settings import check_settings
from workflow.tables import read_made_from, read_rows

HERE = Campaign()
"""The campaign in the current folder."""

pytestmark = pytest.mark.slow

INPUTS = {"one.json": job("one", protein("GSHMKNVTWYCDSEELLKS"), modelSeeds=[1, 2])}
NUM_TOKENS, BUCKET = 19, 48
KEPT = {"save_embeddings": True, "save_distogram": True}


def run(folder: Path, *options: str) -> None:
    result = run_campaign(folder, *options, environment=QUICK_COMPILE)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predicted without, and then run with everything kept."""
    folder = make_campaign(
        tmp_path_factory.mktemp("campaign") / "c",
        INPUTS,
        network=TINY,
        predict={"buckets": [BUCKET], "compilation_cache": None},
        relax={"samples": "none"},
    )
    run(folder, "--until", "predict")
    assert list(folder.glob("results/predictions/*"))
    assert not list(folder.rglob("*.npz"))
    path = folder / "config.yaml"
    settings = yaml.safe_load(path.read_text("utf-8"))
    settings["predict"] |= KEPT
    settings["export"] = {"samples": "all"}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    run(folder)
    return folder


@pytest.fixture
def items(campaign: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of all (job, seed), in their campaign."""
    monkeypatch.chdir(campaign)
    return sorted(path.stem for path in Path("results/predictions").iterdir())


def predict_again(item: str, num_tokens: int) -> Prediction:
    """What the network says of an item when it is padded to another size."""
    raw = yaml.safe_load(Path("config.yaml").read_text("utf-8"))
    checkpoint = load_checkpoint(Path("toy.bin.zst"))
    config = configure(checkpoint.config, check_settings(raw, source="x").model)
    runtime = Runtime("float32", return_embeddings=True, return_distogram=True)
    job_id, seed = item.split(".")
    features, positions = read_job_arrays(HERE.features(job_id), int(seed))
    return compile_predict(config, runtime)(
        checkpoint.params,
        pad(features, positions, num_tokens, msa_rows=8),
        jax.random.PRNGKey(int(seed)),
        np.int32(bucket_for(NUM_TOKENS)),
    )


def test_what_is_kept_is_what_the_network_returns_without_padding(
    items: list[str],
) -> None:
    expected = predict_again(items[1], NUM_TOKENS)
    embeddings = np.load(HERE.trunk_file("embeddings", items[1]))
    distogram = np.load(HERE.trunk_file("distogram", items[1]))
    assert sorted(embeddings) == ["pair_embeddings", "single_embeddings"]
    assert list(distogram) == ["distogram"]
    for kept, values in (
        (embeddings["single_embeddings"], expected.embeddings.single),
        (embeddings["pair_embeddings"], expected.embeddings.pair),
        (distogram["distogram"], expected.distogram.logits),
    ):
        assert kept.dtype == np.float16
        assert kept.shape == (NUM_TOKENS,) * (kept.ndim - 1) + values.shape[-1:]
        np.testing.assert_allclose(kept, values, rtol=1e-3, atol=2e-3)


def test_the_distogram_has_the_contacts_of_the_prediction(items: list[str]) -> None:
    for item in items:
        logits = np.load(HERE.trunk_file("distogram", item))["distogram"].astype(
            np.float32
        )
        tops = np.linspace(2.3125, 21.6875, 63)
        probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        contacts = probabilities[..., :-1][..., tops <= 8.001].sum(-1)
        (row, *_) = read_rows(Path(f"results/predictions/{item}.parquet"), PREDICTIONS)
        hundredths = row.contact_probs.reshape(contacts.shape)
        np.testing.assert_allclose(hundredths / 100, contacts, atol=6e-3)


def test_they_are_exported_under_the_names_of_alphafold3(items: list[str]) -> None:
    folder = Path("results/alphafold3/one")
    for item in items:
        seed = item.split(".")[1]
        for kind in ("embeddings", "distogram"):
            stem = f"seed-{seed}_{kind}"
            exported = folder / stem / f"one_{stem}.npz"
            assert exported.read_bytes() == HERE.trunk_file(kind, item).read_bytes()
    assert len(list(folder.rglob("*.npz"))) == 4


def test_a_zip_file_of_a_job_has_them_too(items: list[str], tmp_path: Path) -> None:
    path = HERE.trunk_file("distogram", items[0])
    write_zip(tmp_path / "one.zip", "one", [("a.txt", b"text"), ("b.npz", path)])
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.namelist() == ["one/a.txt", "one/b.npz"]
        assert archive.read("one/b.npz") == path.read_bytes()


def test_a_file_of_another_prediction_or_a_torn_one_is_not_current(
    items: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_from = read_made_from(Path(f"results/predictions/{items[0]}.parquet"))
    assert is_trunk_file_current(
        HERE.trunk_file("distogram", items[0]), made_from=made_from
    )
    monkeypatch.chdir(tmp_path)
    arrays = {"distogram": np.zeros((2, 2, 64), np.float16)}
    write_trunk_file(HERE.trunk_file("distogram", "x.1"), arrays, made_from="this")
    assert is_trunk_file_current(HERE.trunk_file("distogram", "x.1"), made_from="this")
    assert not is_trunk_file_current(
        HERE.trunk_file("distogram", "x.1"), made_from="that"
    )
    path = HERE.trunk_file("distogram", "x.1")
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_trunk_file_current(
        HERE.trunk_file("distogram", "x.1"), made_from="this"
    )
    assert not is_trunk_file_current(
        HERE.trunk_file("embeddings", "x.1"), made_from="this"
    )


def test_no_byte_of_a_file_can_change_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "x.1.npz"
    arrays = {"distogram": np.ones((2, 2, 8), np.float16)}
    write_trunk_file(path, arrays, made_from="this")
    assert np.array_equal(np.load(path)["distogram"], arrays["distogram"])
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert not is_trunk_file_current(path, made_from="this"), place

"""Screens from a few lines of YAML to their answer, with the smallest network."""

import os
from itertools import combinations
from pathlib import Path

import pytest

from af3_core.contracts import FEATURES, JOBS, PREDICTIONS, PROVENANCE, SCREEN
from tests.af3_core.inputs.screen_examples import make_folder, requests
from tests.workflow.campaigns import (
    NEVER_RUN,
    TINY,
    kill_when,
    make_campaign,
    run_campaign,
)
from workflow import digests
from workflow.campaign import Campaign
from workflow.cli import main
from workflow.engine.items import Item, items_from
from workflow.featurise import featurise_batch
from workflow.first_pass import FirstFeatures, take_over
from workflow.keys import read_keys
from workflow.plan import make_plan, write_plan
from workflow.planning.forecast import read_forecast
from workflow.results.features_file import read_features, read_job_arrays
from workflow.settings import read_settings
from workflow.sources import current_plan
from workflow.tables import read_rows, read_table

JOBS_PLACE = Path("results/plan/jobs.parquet")
NUM_JOBS = {
    "pulldown": 14,
    "all": 15,
    "alphapulldown": 6,
    "copies": 10,
    "regions": 6,
    "ligands": 5,
    "dna": 2,
    "details": 1,
    "server": 1,
    "pools": 1,
}
"""Of the ten requests of docs/screens.md, of the files in `screen_examples`."""
_DEFINE = "define:\n" + "".join(
    f"  {name}: {{protein: {sequence}, msa: none, templates: none}}\n"
    for name, sequence in {
        "alpha": "MKTAYIAKQRQISFVK",
        "beta": "GSSGSSGAYKDVEVTFYA",
        "gamma": "MLSDEDFKAVFGMTRS",
        "delta": "TTCCPSIVARSNFNVCRL",
        "epsilon": "MQIFVKTLTGKTITLE",
    }.items()
)
_POOLED = f"{_DEFINE}all_against_all: '*'\nmode: pooled\npools: {{tokens: 55}}\n"
_PULLDOWN = f"""{_DEFINE}pairs:
  bait: alpha
  prey: [beta, smiles:CCO, 'smiles:c1ccccc1']
background: 2
"""


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pooled screen and a pulldown, killed on the way and run to the end."""
    inputs = {"pooled.yaml": _POOLED, "pulldown.yaml": _PULLDOWN}
    folder = tmp_path_factory.mktemp("screens") / "campaign"
    relax = {"samples": "none"}
    make_campaign(folder, inputs, network=TINY, relax=relax)
    kill_when(folder, "results/predictions/*.parquet")
    done = run_campaign(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_plan_says_what_each_screen_comes_to(campaign: Path) -> None:
    forecast = read_forecast(campaign / "results/plan/forecast.json")
    pooled, pulldown = forecast.screens
    assert pooled.startswith("10 pairs of the screen pooled in")
    assert "GPU hours, one by one" in pooled
    assert pulldown == "all 3 complexes of the screen pulldown"


@pytest.mark.slow
def test_every_pair_of_a_pooled_screen_has_one_row(campaign: Path) -> None:
    rows = read_rows(campaign / "results/tables/screen.parquet", SCREEN)
    pooled = [row for row in rows if row.screen == "pooled"]
    names = ["alpha", "beta", "delta", "epsilon", "gamma"]
    found = [(row.partner_1, row.partner_2) for row in pooled]
    assert found == list(combinations(names, 2))
    jobs = read_table(campaign / "results/plan/jobs.parquet", JOBS)
    pools = [n for n in jobs["name"].to_pylist() if n.startswith("pooled_pool_")]
    assert 1 < len(pools) < 10
    assert sum(row.num_jobs for row in pooled) >= 10


@pytest.mark.slow
def test_a_pulldown_has_its_background_and_its_ligands(campaign: Path) -> None:
    rows = read_rows(campaign / "results/tables/screen.parquet", SCREEN)
    pulldown = [row for row in rows if row.screen == "pulldown"]
    kinds = [row.kind for row in pulldown]
    assert (kinds.count("asked"), kinds.count("background")) == (3, 2)
    ligands = {row.ligand for row in pulldown if row.kind == "asked"}
    assert ligands == {None, "smiles:CCO", "smiles:c1ccccc1"}
    by_ligand = {row.ligand: row for row in pulldown if row.kind == "asked"}
    assert by_ligand["smiles:CCO"].ligand_valid is not None
    assert by_ligand["smiles:CCO"].ipsae is None


@pytest.fixture(scope="module")
def second(campaign: Path) -> Path:
    """The best pairs of the first campaign, computed again with more; killed too."""
    folder = campaign.parent / "second"
    text = f"best: {{of: {campaign}, by: ipsae, share: 0.2}}\nseeds: 1-2\n"
    make_campaign(
        folder,
        {"again.yaml": text},
        network=TINY,
        relax={"samples": "none"},
        model={"num_recycles": 1, "num_diffusion_steps": 6},
    )
    kill_when(folder, "results/predictions/*.parquet")
    done = run_campaign(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_a_second_pass_takes_the_best_of_the_first_alone(
    campaign: Path, second: Path
) -> None:
    rows = read_rows(campaign / "results/tables/screen.parquet", SCREEN)
    asked = [r for r in rows if r.kind == "asked" and r.ipsae is not None]
    best = sorted(asked, key=lambda row: -row.ipsae)[: round(0.2 * len(asked))]
    again = read_rows(second / "results/tables/screen.parquet", SCREEN)
    pairs = {(row.partner_1, row.partner_2) for row in again}
    assert pairs == {(row.partner_1, row.partner_2) for row in best}
    jobs = read_rows(second / "results/plan/jobs.parquet", JOBS)
    assert {job.name for job in jobs} == {f"{a}__{b}" for a, b in pairs}
    assert all(list(job.seeds) == [1, 2] for job in jobs)


@pytest.mark.slow
def test_a_row_of_the_second_pass_names_both(campaign: Path, second: Path) -> None:
    rows = read_rows(second / "results/tables/screen.parquet", SCREEN)
    before = read_rows(campaign / "results/tables/screen.parquet", SCREEN)
    scores = {(r.partner_1, r.partner_2): r.ipsae for r in before}
    for row in rows:
        assert (row.first_campaign, row.first_by) == (str(campaign), "ipsae")
        assert row.first_score == scores[row.partner_1, row.partner_2]
    assert sorted(row.first_rank for row in rows) == list(range(1, len(rows) + 1))
    settings = [
        {r.network for r in read_rows(place, PROVENANCE)}
        for place in (
            folder / "results/tables/provenance.parquet"
            for folder in (campaign, second)
        )
    ]
    assert settings[0] != settings[1] and all(len(found) == 1 for found in settings)


@pytest.mark.slow
def test_a_second_pass_takes_what_the_first_has(
    campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pairs again with the settings of the first pass and a further seed."""
    folder = campaign.parent / "continued"
    text = "best: {of: ../../campaign, by: iptm, top: 20}\nseeds: 1-2\n"
    make_campaign(folder, {"again.yaml": text}, network=TINY)
    monkeypatch.chdir(folder)
    here = Campaign()
    write_plan(here, read_settings(Path("config.yaml")))
    keys = read_keys(here)
    items: list[Item] = []
    for name, batch in keys.plan.jobs.items():
        featurise_batch(here, name)
        found = keys.items("predict", batch)
        items += items_from(found, here.prediction, PREDICTIONS)
    take_over(here, items)
    before = {job.job_id for job in read_rows(campaign / JOBS_PLACE, JOBS)}
    jobs = {job.job_id for job in read_rows(JOBS_PLACE, JOBS)}
    both = before & jobs
    assert len(both) >= 2 and len(jobs) > len(both)
    assert {item.name for item in items if item.is_done} == {f"{j}.1" for j in both}
    for job_id in both:
        place = Path(f"results/predictions/{job_id}.1.parquet")
        assert place.read_bytes() == (campaign / place).read_bytes()
        place = Path(f"results/features/{job_id}.parquet")
        rows = [read_features(path).to_rows() for path in (place, campaign / place)]
        assert rows[0] == rows[1]
        for seed in (1, 2):
            read_job_arrays(place, seed)
    first = FirstFeatures(here, keys, jobs)
    features = keys.items("featurise", next(iter(keys.plan.jobs.values())))
    known = {
        job_id
        for job_id, key in features.items()
        if first.find(Item(job_id, job_id, Path(), FEATURES, key)) is not None
    }
    assert known == both & features.keys()


@pytest.mark.slow
def test_the_best_pairs_are_shown_by_any_score(campaign: Path, capsys) -> None:
    assert main(["results", "-d", str(campaign), "--by", "iptm", "--csv"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.startswith("screen,partner_1,partner_2") and len(lines) == 13
    assert main(["results", "-d", str(campaign), "--top", "3", "--by", "pae_min"]) == 0
    assert "alpha" in capsys.readouterr().out
    assert main(["results", "-d", str(campaign), "--by", "name"]) == 2
    assert "iptm" in capsys.readouterr().err


def test_each_chain_of_a_screen_is_searched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 pairs of 25 chains: 25 sequences, whatever they meet."""
    letters = "ACDEFGHIKLMNPQRSTVWY"
    records = "".join(
        f"  p{n}: {letters[n % 20]}{letters[n // 20]}{letters}\n" for n in range(25)
    )
    text = f"define:\n{records}all_against_all: '*'\n"
    folder = make_campaign(tmp_path / "c", {"all.yaml": text}, network=NEVER_RUN)
    monkeypatch.chdir(folder)
    made = make_plan(Campaign(), read_settings(Path("config.yaml")), None)
    assert len(made.jobs) == 300
    searched = [item for batch in made.plan.search.values() for item in batch.items]
    databases = {batch.database for batch in made.plan.search.values()}
    assert len(set(searched)) == 25
    assert len(searched) == 25 * len(databases)


@pytest.mark.parametrize("name", sorted(requests()))
def test_every_request_of_the_page_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = make_campaign(tmp_path / "c", {}, network=NEVER_RUN)
    make_folder(folder)
    (folder / "screen.yaml").write_text(requests()[name], encoding="utf-8")
    config = (folder / "config.yaml").read_text(encoding="utf-8")
    config = config.replace("- inputs", "- screen.yaml")
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    monkeypatch.chdir(folder)
    made = make_plan(Campaign(), read_settings(Path("config.yaml")), None)
    assert made.refusals == []
    assert len(made.jobs) == NUM_JOBS[name]
    [sentence] = made.forecast.screens
    assert "screen" in sentence


def test_a_plan_stays_when_folders_are_made_beside_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_campaign(tmp_path / "c", {"s.yaml": _PULLDOWN}, network=NEVER_RUN)
    for path in (*folder.iterdir(), *(folder / "inputs").iterdir()):
        os.utime(path, ns=(0, 0))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(digests, "_SETTLED_NS", 0)
    settings = read_settings(Path("config.yaml"))
    write_plan(Campaign(), settings)
    (folder / "logs").mkdir()
    monkeypatch.setattr("workflow.plan.make_plan", None)
    assert current_plan(Campaign(), settings).jobs

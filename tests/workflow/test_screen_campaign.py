"""Screens from a few lines of YAML to their answer, with the smallest network."""

from itertools import combinations
from pathlib import Path

import pytest

from af3_core.contracts import JOBS, SCREEN
from tests.workflow.campaigns import TINY, make_campaign, run_campaign
from workflow.cli import main
from workflow.planning.forecast import read_forecast
from workflow.tables import read_rows, read_table

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
    """A pooled screen and a pulldown, run to the end."""
    inputs = {"pooled.yaml": _POOLED, "pulldown.yaml": _PULLDOWN}
    folder = tmp_path_factory.mktemp("screens") / "campaign"
    relax = {"samples": "none"}
    make_campaign(folder, inputs, network=TINY, relax=relax)
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


@pytest.mark.slow
def test_the_best_pairs_are_shown_by_any_score(campaign: Path, capsys) -> None:
    assert main(["results", "-d", str(campaign), "--by", "iptm", "--csv"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.startswith("screen,partner_1,partner_2") and len(lines) == 13
    assert main(["results", "-d", str(campaign), "--top", "3", "--by", "pae_min"]) == 0
    assert "alpha" in capsys.readouterr().out
    assert main(["results", "-d", str(campaign), "--by", "name"]) == 2
    assert "iptm" in capsys.readouterr().err

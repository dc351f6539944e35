"""Ranks by the score that the user chose, and the references they gave."""

import gzip
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from af3_core.contracts import SAMPLE_SCORES, SampleScoreRow
from af3_core.job import InputError
from tests.workflow.synthetic_campaign import filled
from workflow.campaign import Campaign
from workflow.plan import make_plan
from workflow.results.known_structures import read_reference
from workflow.results.ranking import rank_rows
from workflow.settings import check_settings

TEMPLATE = Path(__file__).parents[2] / "data" / "structures" / "4cup.cif"


def row(sample: int, ranking_score: float, ipsae: float | None) -> SampleScoreRow:
    """A sample of which only what ranks are made of is of interest."""
    table = filled(
        SAMPLE_SCORES,
        [
            {
                "job_id": "a",
                "seed": 1,
                "sample": sample,
                "ranking_score": ranking_score,
                "ipsae": ipsae,
            }
        ],
    )
    return SAMPLE_SCORES.rows(table)[0]


ROWS = [row(0, 0.3, 0.9), row(1, 0.8, 0.2), row(2, 0.5, None), row(3, 0.9, None)]


@pytest.mark.parametrize(
    ("by", "order"), [("ranking_score", [3, 1, 2, 0]), ("ipsae", [0, 1, 3, 2])]
)
def test_the_chosen_score_ranks(by: str, order: list[int]) -> None:
    ranked = sorted(rank_rows(ROWS, by), key=lambda r: r.rank)
    assert [r.sample for r in ranked] == order
    assert [r.rank for r in ranked] == [1, 2, 3, 4]


def test_jobs_are_ranked_apart() -> None:
    others = [replace(r, job_id="b") for r in ROWS]
    ranks = [r.rank for r in rank_rows(ROWS + others, "ipsae")]
    assert sorted(ranks) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_references_are_found_by_the_name_of_the_job(tmp_path: Path) -> None:
    shutil.copy(TEMPLATE, tmp_path / "one.cif")
    (tmp_path / "two.cif.gz").write_bytes(gzip.compress(TEMPLATE.read_bytes()))
    one, two = (read_reference(tmp_path, n) for n in ("one", "two"))
    assert one is not None and two is not None
    assert (one.name, two.name) == ("one.cif", "two.cif.gz")
    assert one.structure.num_atoms == two.structure.num_atoms
    assert read_reference(tmp_path, "three") is None
    assert read_reference(None, "one") is None


def test_a_broken_reference_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "one.pdb").write_text("no structure")
    with pytest.raises(InputError, match=r"one\.pdb.*mmCIF or PDB"):
        read_reference(tmp_path, "one")


def test_a_folder_of_references_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = check_settings(
        {
            "inputs": [str(tmp_path)],
            "search": {"databases": "databases.tsv"},
            "model": {"checkpoint": "weights.bin.zst"},
            "score": {"references": str(tmp_path / "nowhere")},
        },
        source="config",
    )
    with pytest.raises(InputError, match=r"score\.references.*nowhere.*folder"):
        make_plan(Campaign(), settings, None)

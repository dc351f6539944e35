"""Figures of chosen jobs of a campaign."""

import pytest
from PIL import Image

from tests.workflow.synthetic_campaign import THREE_JOBS, write_campaign
from workflow.figures import draw_campaign, main, write_figures
from workflow.report.jobs import read_job_list


def test_a_job_gets_three_figures(tmp_path) -> None:
    write_campaign(tmp_path / "results", THREE_JOBS)
    paths = write_figures(tmp_path / "results", ("trimer",), tmp_path / "figures")
    assert [path.name for path in paths] == [
        "trimer_plddt.png",
        "trimer_pae.png",
        "trimer_msa.png",
    ]
    assert all(Image.open(path).width == 1050 for path in paths)


def test_a_campaign_gets_one_figure_of_its_scores(tmp_path) -> None:
    write_campaign(tmp_path / "results", THREE_JOBS)
    (path,) = write_figures(tmp_path / "results", (), tmp_path / "figures")
    picture = Image.open(path)
    assert path.name == "scores.png" and picture.width == 1050
    shown = draw_campaign(read_job_list(tmp_path / "results")).axes
    labels = [axes.get_xlabel() for axes in shown]
    assert labels == ["Ranking score (n = 3)", "ipTM (n = 2)", "pLDDT (n = 3)"]


def test_a_campaign_without_predictions_has_no_figure(tmp_path) -> None:
    write_campaign(tmp_path, ())
    with pytest.raises(ValueError, match="nothing was predicted"):
        write_figures(tmp_path, (), tmp_path / "figures")


def test_an_unknown_job_is_named_and_nothing_written(
    tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_campaign(tmp_path, THREE_JOBS)
    arguments = ["--results", str(tmp_path), "--out", str(tmp_path / "figures")]
    assert main([*arguments, "--jobs", "nonesuch"]) == 2
    assert "nonesuch" in capsys.readouterr().err
    assert not (tmp_path / "figures").exists()

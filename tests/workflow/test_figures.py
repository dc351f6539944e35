"""Figures of chosen jobs of a campaign."""

import pytest
from PIL import Image

from tests.workflow.synthetic_campaign import THREE_JOBS, write_campaign
from workflow.figures import main, write_figures


def test_a_job_gets_three_figures(tmp_path) -> None:
    write_campaign(tmp_path / "results", THREE_JOBS)
    paths = write_figures(tmp_path / "results", ("trimer",), tmp_path / "figures")
    assert [path.name for path in paths] == [
        "trimer_plddt.png",
        "trimer_pae.png",
        "trimer_msa.png",
    ]
    assert all(Image.open(path).width == 1050 for path in paths)


def test_an_unknown_job_is_named_and_nothing_written(
    tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_campaign(tmp_path, THREE_JOBS)
    arguments = ["--results", str(tmp_path), "--out", str(tmp_path / "figures")]
    assert main([*arguments, "--jobs", "nonesuch"]) == 2
    assert "nonesuch" in capsys.readouterr().err
    assert not (tmp_path / "figures").exists()

"""A new campaign's folder holds the user's answers and nothing of the demo."""

from pathlib import Path

import pytest
import yaml

from af3_core.job import InputError
from workflow.init import Answers, init_campaign
from workflow.installation import MANUAL
from workflow.settings import check_settings


def settings(folder: Path) -> dict:
    return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))


def test_answers_are_in_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    inputs = (tmp_path / "mine" / "proteome.fasta", tmp_path / "other.json")
    weights, databases = Path("/data/af3.bin.zst"), Path("/data/databases.tsv")
    answers = Answers(inputs, databases, weights, Path("/shared/store"), "slurm")
    init_campaign(tmp_path / "mine", answers)
    found = check_settings(settings(tmp_path / "mine"), source="config.yaml")
    assert found.inputs == (Path("proteome.fasta"), tmp_path / "other.json")
    assert found.search.databases == databases
    assert found.search.store == Path("/shared/store")
    assert found.model.checkpoint == weights
    assert (tmp_path / "mine" / "slurm" / "config.yaml").is_file()


def test_nothing_of_the_demo_is_left(tmp_path: Path) -> None:
    init_campaign(tmp_path / "mine", Answers())
    text = (tmp_path / "mine" / "config.yaml").read_text(encoding="utf-8")
    values = [line for line in text.splitlines() if not line.strip().startswith("#")]
    assert "demo" not in text
    assert not [line for line in values if "tests/" in line or "float32" in line]
    found = check_settings(settings(tmp_path / "mine"), source="config.yaml")
    assert found.score.references is None


def test_every_setting_keeps_its_explanation(tmp_path: Path) -> None:
    init_campaign(tmp_path / "mine", Answers())
    text = (tmp_path / "mine" / "config.yaml").read_text(encoding="utf-8")
    manual = MANUAL.read_text(encoding="utf-8").partition("\n\n")[2]
    for line in manual.splitlines():
        if line.strip().startswith("#"):
            assert line in text


@pytest.mark.parametrize("name", ["a b", "ä: #", "it's", '"', "x\n- y", "*", "&a"])
def test_a_path_with_any_letters_comes_through(tmp_path: Path, name: str) -> None:
    init_campaign(tmp_path / "mine", Answers((tmp_path / name,), tmp_path / name))
    found = settings(tmp_path / "mine")
    assert found["inputs"] == [str(tmp_path / name)]
    assert found["search"]["databases"] == str(tmp_path / name)


def test_a_campaign_that_is_there_is_left_alone(tmp_path: Path) -> None:
    init_campaign(tmp_path, Answers())
    with pytest.raises(InputError, match="a campaign's already"):
        init_campaign(tmp_path, Answers())


def test_an_unknown_profile_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lsf, slurm"):
        init_campaign(tmp_path / "mine", Answers(profile="slrum"))
    assert not (tmp_path / "mine" / "config.yaml").exists()

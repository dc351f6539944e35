"""Backends that are wrong or cannot be loaded, on a device that is in order.

A GPU is not at hand: what it would measure is made up, from the backend that the
dispatch really chooses for an A100.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from af3_core.job import InputError
from af3_core.model.canary import TOLERANCES, Measurement
from af3_core.model.config import Runtime
from benchmarks.shapes import af3_shapes, spec_for
from kernels import Device, backends_used, demoted, record_choices
from workflow import predict
from workflow.campaign import Campaign
from workflow.engine.failures import DeviceError
from workflow.inference.canary import find_culprit
from workflow.inference.worker import Worker
from workflow.settings import Settings, check_settings
from workflow.tables import read_json

DISPATCH = sys.modules["kernels.dispatch"]
ATTENTION = spec_for(af3_shapes(512)[0], Device("cuda", (8, 0)))
RIGHT = dict.fromkeys(TOLERANCES["bfloat16"], 1e-6)

type Measure = Callable[[Runtime], Measurement]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever is demoted is back afterwards."""
    monkeypatch.setattr(DISPATCH, "_DEMOTED", {})
    DISPATCH._choose_automatically.cache_clear()
    yield
    DISPATCH._choose_automatically.cache_clear()


def settings_for(folder: Path, attention: str) -> Settings:
    raw = {
        "inputs": [],
        "search": {"databases": "databases.tsv", "store": str(folder / "store")},
        "model": {"checkpoint": "af3.bin"},
        "predict": {"attention": attention},
    }
    return check_settings(raw, source="test")


def measuring(attention: str, off: dict[str, float], error: str = "") -> Measure:
    """A device on which these backends are off by so much, or cannot be loaded."""

    def measure(runtime: Runtime) -> Measurement:
        DISPATCH.dispatch(ATTENTION, attention)
        chosen = DISPATCH.choose_backend(ATTENTION, attention)
        if error and chosen in off:
            raise RuntimeError(error)
        return Measurement(RIGHT | {"attention": off.get(chosen, 1e-6)}, 0.01)

    return measure


@pytest.fixture
def trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Measure], str]:
    """Tries a device; the verdict."""

    def try_device(attention: str, measure: Measure) -> str:
        monkeypatch.setattr(predict, "measure", measure)
        settings = settings_for(tmp_path, attention)
        worker = Worker(Campaign(tmp_path), None, None, Runtime(), settings, 256)  # type: ignore[arg-type]
        return predict.trust_device(worker, settings, "key").verdict

    return try_device


@pytest.mark.parametrize("error", ["", "INTERNAL: ptxas exited with non-zero error"])
def test_under_auto_a_wrong_backend_gives_way_to_the_next(
    trust, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = trust("auto", measuring("auto", {"triton": 0.3}, error))
    assert verdict.startswith("right")
    assert demoted().keys() == {"triton"}
    assert "backend triton is not used from now on" in capsys.readouterr().err


def test_one_after_the_other_until_one_is_right(trust) -> None:
    trust("auto", measuring("auto", {"triton": 0.3, "cudnn": 0.2}))
    assert list(demoted()) == ["triton", "cudnn"]


def test_a_device_on_which_all_are_wrong_is_refused(trust, tmp_path: Path) -> None:
    wrong = dict.fromkeys(("triton", "cudnn", "xla"), 0.3)
    with pytest.raises(DeviceError, match="attention is off by 3.0e-01"):
        trust("auto", measuring("auto", wrong))
    records = (tmp_path / "store/canary/refused").glob("*.json")
    assert all("wrong numbers" in read_json(r)["refused"] for r in records)


@pytest.mark.parametrize("error", ["", "INTERNAL: ptxas exited with non-zero error"])
def test_a_backend_that_the_campaign_names_stops_it_with_the_reason(
    trust, error: str
) -> None:
    with pytest.raises(InputError, match=r"predict\.attention.*'?triton") as stopped:
        trust("triton", measuring("triton", {"triton": 0.3}, error))
    assert ("ptxas" if error else "off by 3.0e-01") in str(stopped.value)
    assert not demoted()


def test_what_the_device_itself_computes_wrong_is_laid_to_no_backend() -> None:
    with record_choices() as choices:
        DISPATCH.dispatch(ATTENTION, "auto")
    assert backends_used(choices) == {"attention": ["triton"]}
    assert find_culprit(choices, "product") is None
    assert find_culprit(choices, "attention_float32") == "triton"
    assert find_culprit(choices, "pair_update") == "triton"

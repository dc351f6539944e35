"""Timelines of a batch, as drawn from its recorded timings."""

from pathlib import Path

import pytest

from af3_core.contracts import TIMINGS
from af3_core.job import InputError
from workflow.campaign import Campaign
from workflow.cli import main
from workflow.tables import write_table
from workflow.timeline import device_idle, read_times

HERE = Campaign()
"""The campaign in the current folder."""


def write_timings(
    batch: str, *spans: tuple[str, float, float], last_process_from: int = 99
) -> None:
    rows = [
        {
            "batch_id": batch,
            "process": int(number >= last_process_from),
            "item": f"job.{number}",
            "phase": phase,
            "start": start,
            "end": end,
            "bucket": 256,
            "num_tokens": 200,
            "rung": "planned",
            "failed": False,
            "compiled": False,
            "from_cache": False,
            "device": "toy",
            "node": "node1:0",
            "canary": "right: off by 1.0e-06 at most",
            "canary_seconds": 0.0015,
        }
        for number, (phase, start, end) in enumerate(spans)
    ]
    write_table(HERE.timings(batch), TIMINGS, TIMINGS.table(rows))


def test_idle_is_what_no_computation_covers() -> None:
    assert device_idle([(1.0, 2.0), (2.5, 5.0)]) == pytest.approx(0.125)
    assert device_idle([]) == 0.0


def test_a_batch_is_drawn_and_its_idle_time_told(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write_timings("b1", ("load", 0, 1), ("compute", 1, 2), ("compute", 3, 5))
    assert main(["timeline"]) == 0
    assert "device idle between items 25.0%" in capsys.readouterr().out
    assert (HERE.results / "timeline.svg").read_text(encoding="utf-8").count(
        "<path"
    ) > 3


def test_processes_are_counted_and_their_devices_vouched_for(
    tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    write_timings("b1", ("compute", 1, 2), ("compute", 3, 5), last_process_from=1)
    assert main(["timeline"]) == 0
    said = capsys.readouterr().out
    assert "2 processes, 2 items" in said
    assert "canary node1:0: right: off by 1.0e-06 at most; 1.50 ms" in said
    (times,) = read_times(HERE)
    assert times.begins == [3.0]


def test_a_batch_that_never_ran_is_refused_by_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_timings("b1", ("compute", 1, 2))
    with pytest.raises(InputError, match="b2"):
        read_times(HERE, ["b2"])


def test_pictures_are_drawn_as_their_ending_says(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_timings("b1", ("compute", 1, 2))
    assert main(["timeline", "b1", "--out", "picture.png"]) == 0
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")

"""What cannot run is one row that names its record; all else is planned."""

import gzip
import os
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.workflow.campaigns import (
    NEVER_RUN,
    job,
    make_campaign,
    protein,
)
from workflow.campaign import Campaign
from workflow.plan import make_plan, write_plan
from workflow.settings import Settings, read_settings

BAD = {
    "digit": b">{} x\nMKTAYI1KQR\n",
    "gap": b">{}\nMKT-AYI\n",
    "inner_stop": b">{}\nMKT*AYI\n",
    "no_sequence": b">{}\n",
    "no_name": b">\nMKTAYI\n",
    "no_letter_in_its_name": b">%% {}\nMKTAYI\n",
    "name_taken": b">p0007\nMKTAYI\n",
    "name_taken_but_for_case": b">P0008\nMKTAYI\n",
    "unknown_kind": b">{} kind=peptide\nMKTAYI\n",
    "t_in_rna": b">{} kind=rna\nGGCUT\n",
    "unknown_residues_alone": b">{}\nXXXXXX\n",
    "not_utf8": b">{}\nMKT\xe4AYI\n",
    "too_large": b">{}\n" + b"MK" * 2600 + b"\n",
    "empty_chain": b">{}\nMKTAYI::MKTAYI\n",
}
HERE = Campaign()


def planned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The rows of what was refused, once the campaign in a folder is planned."""
    monkeypatch.chdir(folder)
    write_plan(HERE, settings_of(folder))
    return pq.read_table(folder / "results/plan/outcomes.parquet").to_pylist()


def settings_of(folder: Path) -> Settings:
    return read_settings(folder / "config.yaml")


def test_forty_bad_records_leave_the_rest_of_a_proteome_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, records, wrong = random.Random(4), [], {}
    for number in range(2000):
        letters = "".join(draw.choices("ACDEFGHIKLMNPQRSTVWY", k=30))
        records.append(f">p{number:04} protein {number}\n{letters}\n".encode())
    kinds = (list(BAD) * 3)[:40]
    for place, kind in zip(draw.sample(range(20, 2000), 40), kinds, strict=True):
        records[place] = BAD[kind].replace(b"{}", f"{kind}_{place}".encode())
        wrong[place + 1] = kind
    folder = make_campaign(
        tmp_path / "c", {"proteome.fasta": b"".join(records)}, network=NEVER_RUN
    )
    rows = planned(folder, monkeypatch)
    jobs = pq.read_table(folder / "results/plan/jobs.parquet")
    assert (jobs.num_rows, len(rows), len(set(wrong.values()))) == (1960, 40, 14)
    lines = b"".join(records).split(b"\n")
    for row in rows:
        place, item = str(row["item"]).split("#record ")
        number, line = item.split(" ")[0].strip(","), item.rpartition("line ")[2]
        assert place.endswith("inputs/proteome.fasta") and int(number) in wrong
        assert lines[int(line) - 1].startswith(b">")
        assert "allowed:" in str(row["evidence"]) and row["remedy"]
        if (
            b"{}" in BAD[kind := wrong[int(number)]].split(b"\n")[0]
            and "%%" not in item
        ):
            assert f"({kind}_" in item


def test_all_that_is_wrong_with_a_job_is_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = job("..", protein("M1"), modelSeeds=[-1])
    folder = make_campaign(tmp_path / "c", {"a.json": text}, network=NEVER_RUN)
    [row] = planned(folder, monkeypatch)
    assert row["item"].endswith("inputs/a.json")
    for field in ("name", "modelSeeds[0]", "sequences[0].protein.sequence"):
        assert f": {field}: got" in row["evidence"]


def test_names_are_said_as_they_stand_in_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {f"{n}.json": job(f"{n}-syn", protein("MKV")) for n in "αβ"}
    folder = make_campaign(tmp_path / "c", inputs, network=NEVER_RUN)
    [row] = planned(folder, monkeypatch)
    assert "'β-syn'" in row["evidence"] and "α-syn of inputs/α.json" in row["evidence"]


def test_links_that_loop_and_names_that_are_no_text_cost_no_other_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = job("good", protein("MKV"))
    folder = make_campaign(tmp_path / "c", {"good.json": good}, network=NEVER_RUN)
    (folder / "inputs" / "loop.json").symlink_to("loop.json")
    with open(os.fsencode(folder) + b"/inputs/caf\xe9.fasta", "wb") as file:
        file.write(b">a\nMKV\n")
    rows = planned(folder, monkeypatch)
    items = sorted(row["item"].rpartition("/")[2] for row in rows)
    assert items == ["caf\\xe9.fasta", "loop.json"]
    assert pq.read_table(folder / "results/plan/jobs.parquet").num_rows == 1


def test_files_that_are_not_read_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fasta = b">one\nMKV\n"
    inputs = {
        **{"a.fasta.gz": gzip.compress(fasta), "b.fas": fasta.replace(b"one", b"two")},
        **{"c.txt": fasta.replace(b"one", b"three"), "d.txt": b"notes", "e.pdb": b""},
    }
    folder = make_campaign(tmp_path / "c", inputs, network=NEVER_RUN)
    monkeypatch.chdir(folder)
    plan = make_plan(HERE, settings_of(folder), None)
    assert sorted(planned.name for planned in plan.jobs) == ["one", "three", "two"]
    assert plan.forecast.ignored == {"inputs/*.pdb": 1, "inputs/*.txt": 1}


def test_notes_on_jobs_stand_in_the_plan_and_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = job(
        "ring",
        protein("GCALLWGC"),
        bondedAtomPairs=[[["A", 2, "SG"], ["A", 8, "SG"]]],
    )
    folder = make_campaign(tmp_path / "c", {"ring.json": ring}, network=NEVER_RUN)
    assert planned(folder, monkeypatch) == []
    [row] = pq.read_table(folder / "results/plan/jobs.parquet").to_pylist()
    assert "A 2 SG–A 8 SG" in row["notes"][0]


@pytest.mark.parametrize(
    ("predict", "seeds", "refused"),
    [
        ({}, {"f": [1], "s": [7], "j": [3, 4]}, []),
        ({"seeds": [5, 6]}, {"f": [5, 6], "s": [7], "j": [3, 4]}, []),
        ({"num_seeds": 3}, {"f": [1, 2, 3], "s": [7, 8, 9]}, ["j"]),
    ],
)
def test_seeds_are_those_of_the_input_or_of_the_settings(
    predict: dict[str, object],
    seeds: dict[str, list[int]],
    refused: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs = {
        "f.fasta": ">f\nMKV\n",
        "s.csv": "name,chains,seeds\ns,MKV,7\n",
        "j.json": job("j", protein("MKV"), modelSeeds=[3, 4]),
    }
    folder = make_campaign(tmp_path / "c", inputs, network=NEVER_RUN, predict=predict)
    rows = planned(folder, monkeypatch)
    jobs = pq.read_table(folder / "results/plan/jobs.parquet").to_pylist()
    assert {row["name"]: row["seeds"] for row in jobs} == seeds
    assert [Path(row["item"]).stem for row in rows] == refused

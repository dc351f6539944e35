"""What other programs found is taken up under a label and used for equal sequences."""

import gzip
import json
import shutil
from pathlib import Path

import pytest
import yaml

from af3_core.inputs.files import read_jobs
from af3_core.job import InputError, Job, Ligand, Polymer
from tests.workflow.campaigns import NEVER_RUN, ROOT, job, make_campaign, protein
from workflow.campaign import Campaign
from workflow.imports import import_folder, with_imported
from workflow.plan import make_plan
from workflow.settings import check_settings
from workflow.store.entries import Store

SEARCHED = ROOT / "tests/data/search_jobs"
"""Jobs before (`NAME.json`) and after (`NAME_data.json`) AlphaFold 3's own search."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def read(path: Path) -> Job:
    (found,), errors = read_jobs(path)
    assert not errors
    return found


def evidence(asked: Job) -> list[tuple[object, ...]]:
    return [
        (e.unpaired_msa, e.paired_msa, e.templates)
        for e in asked.entities
        if isinstance(e, Polymer)
    ]


@pytest.mark.parametrize("name", ["adenylate_kinase", "trna_crambin", "villin_gb1"])
def test_alphafold3_results_fill_the_job_they_are_of(store: Store, name: str) -> None:
    import_folder(SEARCHED / f"{name}_data.json", store, "af3")
    filled = with_imported(read(SEARCHED / f"{name}.json"), store, ["af3"])
    assert evidence(filled) == evidence(read(SEARCHED / f"{name}_data.json"))


def test_a_tree_of_results_is_searched_and_compressed_files_are_read(
    store: Store, tmp_path: Path
) -> None:
    tree = tmp_path / "af3_output"
    (tree / "a").mkdir(parents=True)
    shutil.copy(SEARCHED / "villin_gb1_data.json", tree / "a/a_data.json")
    content = (SEARCHED / "adenylate_kinase_data.json").read_bytes()
    (tree / "b_data.json.gz").write_bytes(gzip.compress(content))
    found = import_folder(tree, store, "old")
    assert (found.sequences, found.problems) == (3, ())


def test_other_sequences_and_other_labels_stay_as_they_are(
    store: Store, tmp_path: Path
) -> None:
    import_folder(SEARCHED / "villin_gb1_data.json", store, "af3")
    other = read(SEARCHED / "adenylate_kinase.json")
    assert with_imported(other, store, ["af3"]) == other
    same = read(SEARCHED / "villin_gb1.json")
    assert with_imported(same, store, ["colabfold"]) == same
    assert with_imported(same, store, []) == same


def test_what_a_job_brings_along_stays(store: Store, tmp_path: Path) -> None:
    import_folder(SEARCHED / "villin_gb1_data.json", store, "af3")
    (sequence, *_) = [
        e.sequence
        for e in read(SEARCHED / "villin_gb1.json").entities
        if not isinstance(e, Ligand)
    ]
    path = tmp_path / "own.json"
    path.write_text(job("own", protein(sequence)))
    assert with_imported(read(path), store, ["af3"]) == read(path)


def test_an_a3m_of_one_chain_is_its_unpaired_alignment(
    store: Store, tmp_path: Path
) -> None:
    text = "#6\t1\n>101\nMKVLAA\n>hit\nMK-LAgA\n"
    (tmp_path / "msas").mkdir()
    (tmp_path / "msas/x.a3m").write_text(text)
    import_folder(tmp_path / "msas", store, "colabfold")
    path = tmp_path / "x.json"
    sequences = [{"protein": {"id": "A", "sequence": "MKVLAA"}}]
    path.write_text(
        json.dumps(
            {
                "name": "x",
                "modelSeeds": [1],
                "sequences": sequences,
                "dialect": "alphafold3",
                "version": 4,
            }
        )
    )
    (filled,) = evidence(with_imported(read(path), store, ["colabfold"]))
    assert filled == (text, "", None)


def test_what_cannot_be_read_is_named_and_the_rest_is_taken(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "complex.a3m").write_text("#30,40\t1,1\n>101\t102\nMKV\n")
    (folder / "wrong.a3m").write_text(">q\nMKV\n>hit\nMKVL\n")
    (folder / "torn_data.json").write_text("{")
    (folder / "latin.a3m").write_bytes(b">q\nMKV\n>h\xe9\nMKV\n")
    shutil.copy(SEARCHED / "villin_gb1_data.json", folder)
    found = import_folder(folder, store, "mine")
    assert found.sequences == 2
    named = {Path(problem.file).name for problem in found.problems}
    assert named == {"complex.a3m", "wrong.a3m", "torn_data.json", "latin.a3m"}


def test_pickles_are_not_read(store: Store, tmp_path: Path) -> None:
    (tmp_path / "P12345.pkl").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    (problem,) = import_folder(tmp_path, store, "pulldown").problems
    assert "pickles run" in problem.allowed


@pytest.mark.parametrize("name", ["none", "empty"])
def test_a_folder_with_nothing_is_refused(
    store: Store, tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        import_folder(tmp_path / name, store, "x")


def test_a_campaign_that_names_the_label_searches_nothing(tmp_path: Path) -> None:
    text = (SEARCHED / "villin_gb1.json").read_text("utf-8")
    folder = make_campaign(tmp_path / "c", {"v.json": text}, network=NEVER_RUN)
    raw = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    store = Store(folder / "store")

    def searches(labels: list[str]) -> int:
        raw["search"] |= {"store": str(store.folder), "imported": labels}
        raw["inputs"] = [str(folder / "inputs")]
        raw["model"]["checkpoint"] = str(folder / "toy.bin.zst")
        settings = check_settings(raw, source="config.yaml")
        return len(make_plan(Campaign(folder), settings, None).plan.search)

    assert searches([]) == searches(["af3"]) > 0
    import_folder(SEARCHED / "villin_gb1_data.json", store, "af3")
    assert searches(["af3"]) == 0
    assert searches([]) > 0

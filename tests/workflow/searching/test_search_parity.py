import json
from pathlib import Path

import pytest

from tests.search_parity import main
from tests.workflow.searching.search_examples import JOBS, MANIFEST, job_files


@pytest.mark.parametrize("shards", [0, 5])
@pytest.mark.parametrize("job", JOBS)
def test_a_search_equals_the_official_one(job: str, shards: int) -> None:
    files = [str(path) for path in job_files(job)]
    options = ["--databases", str(MANIFEST.parent), "--shards", str(shards)]
    assert main([*files, *options]) == 0


@pytest.mark.parametrize("job", JOBS)
def test_it_does_when_databases_are_filtered_ahead(job: str) -> None:
    """As with a GPU: by `best_segments` for all queries, here on the processor."""
    files = [str(path) for path in job_files(job)]
    options = ["--databases", str(MANIFEST.parent), "--shards", "2"]
    assert main([*files, *options, "--filter", "cpu"]) == 0


def test_a_difference_is_shown_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job, data = job_files("villin_gb1")
    changed = json.loads(data.read_text())
    chain = changed["sequences"][1]["protein"]
    chain["pairedMsa"] = chain["pairedMsa"].replace("ECOLI", "HUMAN", 1)
    chain["templates"][0]["templateIndices"][3] += 1
    path = tmp_path / "data.json"
    path.write_text(json.dumps(changed))
    assert main([str(job), str(path), "--databases", str(MANIFEST.parent)]) == 1
    printed = capsys.readouterr().out
    assert "C protein paired MSA: differs" in printed
    assert "template 1, templateIndices: place 3" in printed
    assert "2 differences" in printed

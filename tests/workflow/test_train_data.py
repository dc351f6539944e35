"""Example sets: paths relative to the file, sizes, and what cannot be learnt."""

import json
from pathlib import Path

import pytest

from af3_core.job import InputError
from workflow.train_data import (
    Bucket,
    ExampleSet,
    Known,
    find_bucket,
    make_features,
    read_example_set,
    read_structures,
)

ROOT = Path(__file__).parents[2]
EXAMPLES = ExampleSet(
    model=Path("network.json"), learn=(), buckets=(Bucket(tokens=64),)
)


def test_paths_are_relative_to_the_file() -> None:
    examples = read_example_set(ROOT / "config/demo/training.json")
    assert all(path.is_file() for path in (examples.model, *examples.learn))


def test_a_misspelt_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "training.json"
    text = {"model": "network.json", "learn": [], "buckets": [], "bucket": []}
    file.write_text(json.dumps(text))
    with pytest.raises(InputError, match="bucket"):
        read_example_set(file)


def test_a_job_goes_into_the_smallest_bucket_that_holds_its_atoms() -> None:
    buckets = [
        Bucket(tokens=80, windows=52),
        Bucket(tokens=80, windows=20),
        Bucket(tokens=64, windows=16),
    ]
    assert find_bucket(buckets, 60, 16 * 32) == buckets[2]
    assert find_bucket(buckets, 60, 16 * 32 + 1) == buckets[1]
    with pytest.raises(ValueError, match="no bucket holds 81 tokens"):
        find_bucket(buckets, 81, 100)


def test_a_share_of_what_is_not_learnt_is_named() -> None:
    examples = read_example_set(ROOT / "config/demo/training.json")
    assert len(read_structures(examples)) > len(examples.learn)
    misspelt = examples.model_copy(update={"shares": {"crambim": 2}})
    with pytest.raises(InputError, match="crambim.*one of crambin, hiv_capsid"):
        read_structures(misspelt)


def test_what_is_no_structure_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="letter: structure: .*no coordinates"):
        make_features(tmp_path, EXAMPLES, [Known("letter", "Dear reader,", True)])

"""What is compared with AlphaFold 3's features, and how."""

import json
from pathlib import Path

import numpy as np

from af3_core.msa import encode, parse_a3m
from benchmarks import bench_start


def test_the_job_has_two_chains_with_deep_alignments(tmp_path: Path) -> None:
    bench_start.write_job(path := tmp_path / "job.json")
    chains = [entry["protein"] for entry in json.loads(path.read_text())["sequences"]]
    assert sum(len(chain["sequence"]) for chain in chains) == 201
    for chain in chains:
        encoded = encode(parse_a3m(chain["unpairedMsa"]).sequences, "protein")
        assert encoded.rows.shape == (16_384, len(chain["sequence"]))
        assert encoded.deletions.max() == 3


def test_arrays_that_differ_are_named(tmp_path: Path) -> None:
    whole, part = np.arange(3), np.float32([1, 2])
    np.savez(tmp_path / "a.npz", msa=whole, ref_pos=part, own=whole)
    np.savez(tmp_path / "b.npz", msa=whole, ref_pos=part * np.float32(1 + 1e-6))
    np.savez(tmp_path / "c.npz", msa=whole + 1, ref_pos=part * 2)
    compare = bench_start.compare_arrays
    same = compare(tmp_path / "a.npz", tmp_path / "b.npz")
    assert same == "Of the 2 arrays that both make, 2 are equal."
    different = compare(tmp_path / "a.npz", tmp_path / "c.npz")
    assert different.endswith("0 are equal; these are not: msa, ref_pos.")

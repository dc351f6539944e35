"""The whole network, compiled for cards that are not here."""

import json
import subprocess
import sys

import pytest

from benchmarks.gpu_compile import (
    ALPHAFOLD3_GB,
    COMPILER,
    GOAL_GB,
    RESULTS,
    cards,
    table,
)
from tests.kernels.lowering import KERNELS

FIELDS = {
    "tokens",
    "argument_gb",
    "output_gb",
    "temporary_gb",
    "total_gb",
    "bytes_moved_tb",
    "kernel_calls",
}


@pytest.mark.matrix
@pytest.mark.skipif(
    not COMPILER.is_dir(), reason="XLA's compiler for GPUs is absent: run `make dev`"
)
@pytest.mark.parametrize("card", cards())
def test_the_published_network_compiles_with_our_kernels(card) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_compile", "--card", card]
    options = ["--tokens", "256", "--keep-nothing"]
    result = subprocess.run([*command, *options], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    row = json.loads(result.stdout)
    assert row.keys() >= FIELDS
    assert row["calls_of"].keys() == set(KERNELS)
    assert row["total_gb"] < 2.0


def test_a_card_is_described_by_its_compute_capability() -> None:
    found = {name: card.capability for name, card in cards().items()}
    assert found == {
        "a100": (8, 0),
        "h100": (9, 0),
        "l4": (8, 9),
        "rtx_pro_6000": (12, 0),
    }


FILTER = """
from benchmarks.gpu_compile import cards, compile_for, start
start()
import numpy as np
from kernels.segments import pack_sequences
from kernels.segments_triton import kernel_arrays, make_tables, pack_words, sweep
from kernels import Device
rng = np.random.default_rng(0)
profiles = [np.zeros((29, m), np.int8) for m in (90, 351, 200)]
targets = pack_sequences([np.zeros(n, np.uint8) for n in (300, 20, 5)])
(tables,) = make_tables(profiles)
arrays = kernel_arrays(tables, *pack_words(targets))
for card in cards().values():
    device = Device("cuda", card.capability)
    names, values = zip(*sorted(arrays.items()))
    def call(*xs):
        return sweep(dict(zip(names, xs)), tables.layout, 3, device)
    compiled = compile_for(card, call, *values)
    print(card.name, "triton_kernel_call_ffi" in compiled.as_text())
"""


@pytest.mark.skipif(
    not COMPILER.is_dir(), reason="XLA's compiler for GPUs is absent: run `make setup`"
)
@pytest.mark.slow
def test_xla_compiles_the_search_for_every_card() -> None:
    result = subprocess.run(
        [sys.executable, "-c", FILTER], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [
        word for card in cards() for word in (card, "True")
    ]


def kept() -> list[dict]:
    lines = (RESULTS / "gpu_compile.jsonl").read_text().splitlines()
    return list(map(json.loads, lines))


def test_the_page_of_results_is_made_of_its_rows() -> None:
    assert (RESULTS / "gpu_compile.md").read_text() == table(kept())


def test_the_table_says_what_became_of_memory_and_traffic() -> None:
    rows = {
        (row["tokens"], row["code"]): row
        for row in kept()
        if (row["card"], row["dtype"]) == ("h100", "bfloat16")
    }
    for num_tokens, goal in GOAL_GB.items():
        assert rows[num_tokens, "now"]["total_gb"] <= goal
    for num_tokens, peak in ALPHAFOLD3_GB.items():
        assert rows[num_tokens, "now"]["total_gb"] < peak
    before, now = (rows[1024, code]["bytes_moved_tb"] for code in ("before", "now"))
    assert now <= 0.6 * before

"""The whole network, compiled for cards that are not here."""

import json
import subprocess
import sys

import pytest

from benchmarks.gpu_compile import ALPHAFOLD3_GB, COMPILER, RESULTS, cards, table

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
    not COMPILER.is_dir(), reason="XLA's compiler for GPUs is absent: run `make setup`"
)
@pytest.mark.parametrize("card", cards())
def test_the_published_network_compiles_with_our_kernels(card) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_compile", "--card", card]
    options = ["--tokens", "256", "--keep-nothing"]
    result = subprocess.run([*command, *options], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    row = json.loads(result.stdout)
    assert row.keys() >= FIELDS
    kernels = {"flash_attention", "gated_transition", "project_edges", "update_edges"}
    assert row["calls_of"].keys() == kernels
    assert row["total_gb"] < 2.0


def test_a_card_is_described_by_its_compute_capability() -> None:
    found = {name: card.capability for name, card in cards().items()}
    assert found == {"a100": (8, 0), "h100": (9, 0), "rtx_pro_6000": (12, 0)}


def kept() -> list[dict]:
    lines = (RESULTS / "gpu_compile.jsonl").read_text().splitlines()
    return list(map(json.loads, lines))


def test_the_page_of_results_is_made_of_its_rows() -> None:
    assert (RESULTS / "gpu_compile.md").read_text() == table(kept())


@pytest.mark.parametrize("num_tokens", ALPHAFOLD3_GB)
def test_the_table_says_what_became_of_memory(num_tokens) -> None:
    totals = {
        row["code"]: row["total_gb"]
        for row in kept()
        if (row["card"], row["tokens"]) == ("h100", num_tokens)
    }
    assert totals["now"] < totals["before"]
    assert totals["now"] < ALPHAFOLD3_GB[num_tokens]

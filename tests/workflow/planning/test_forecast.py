"""What a plan is said to take, added up by hand for a few jobs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workflow.campaigns import ROOT
from tests.workflow.planning.test_batching import COSTS, SETTINGS, TARGETS, planned
from workflow.databases.manifest import Database, Shard
from workflow.planning.batching import PlannedJob, plan_batches
from workflow.planning.costs import Costs
from workflow.planning.forecast import (
    CELLS_PER_SECOND,
    Forecast,
    files_exported,
    forecast,
    with_costs,
)
from workflow.planning.forecast_view import describe
from workflow.planning.memory import device_memory_gb
from workflow.settings import Settings, check_settings

DEVICE = Costs("toy", COSTS, "published")
DATABASES = [
    Database(
        *("uniref90", "unpaired", "jackhmmer", "", "", "", 1.0, None, ""),
        shards=(Shard(Path("x"), "", 1, 1, residues=1_000_000_000),),
    )
]


def cost_of(jobs: list[PlannedJob], settings: Settings = SETTINGS) -> Forecast:
    plan = plan_batches(jobs, TARGETS, settings, COSTS)
    return forecast(plan, jobs, [], DATABASES, DEVICE, settings)


JOBS = [planned("one", "M" * 100, seeds=(1, 2)), planned("two", "MK" * 50, "M" * 100)]


def test_a_sequence_is_searched_once_in_every_database() -> None:
    cost = cost_of(JOBS)
    seconds = 200 * 1e9 / CELLS_PER_SECOND["protein"]
    assert cost.num_sequences == 2
    assert cost.search_hours == {"uniref90": pytest.approx(seconds / 3600)}
    assert cost.files_in_store == 2 * (1 + 1) + 2


def test_device_time_is_items_starts_and_a_compilation_for_each_bucket() -> None:
    cost = cost_of(JOBS[:1])
    (row,) = cost.buckets
    seconds = COSTS.compile + COSTS.start + 2 * COSTS.seconds(row.bucket)
    assert cost.device_hours == pytest.approx(seconds / 3600)
    assert cost.num_items == row.items == 2


def test_embeddings_and_distogram_take_room_for_every_pair_of_tokens() -> None:
    kept = SETTINGS.predict.model_copy(
        update={"save_embeddings": True, "save_distogram": True}
    )
    more = cost_of(JOBS, SETTINGS.model_copy(update={"predict": kept}))
    less, pairs = cost_of(JOBS), 2 * 100**2 + 200**2
    assert more.disk_gb - less.disk_gb == pytest.approx(2 * (128 + 64) * pairs / 1e9)
    assert more.files_at_rest - less.files_at_rest == 2 * 3


def test_other_costs_change_times_and_nothing_else() -> None:
    cost = cost_of(JOBS)
    plan = plan_batches(JOBS, TARGETS, SETTINGS, COSTS)
    faster = Costs("fast", replace(COSTS, constant=0, cubic=1e-9), "measured")
    again = with_costs(cost, plan, [100, 100, 200], faster, SETTINGS)
    assert again.device_hours < cost.device_hours and again.costs.device == "fast"
    assert again.files_at_rest == cost.files_at_rest


def test_two_files_are_left_of_every_job_with_one_seed_and_some_of_its_batch() -> None:
    jobs = [planned(f"job{n}", "MK" * (50 + n)) for n in range(40)]
    more = [planned(f"more{n}", "MR" * (50 + n)) for n in range(40)]
    search = SETTINGS.search.model_copy(update={"batch_size": 200})
    settings = SETTINGS.model_copy(update={"search": search})
    few, many = cost_of(jobs, settings), cost_of(jobs + more, settings)
    assert many.files_at_rest - few.files_at_rest == pytest.approx(2 * 40, abs=30)


def test_memory_is_what_the_compiler_plans() -> None:
    lines = (ROOT / "benchmarks/results/gpu_compile.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    planned = {
        row["tokens"]: row["total_gb"]
        for row in rows
        if (row["card"], row["dtype"], row["code"]) == ("h100", "bfloat16", "now")
    }
    assert {256, 1024, 2048, 5120, 8192} == set(planned)
    for tokens, gigabytes in planned.items():
        assert device_memory_gb(tokens) == pytest.approx(gigabytes, rel=0.02)
    sizes = [device_memory_gb(tokens) for tokens in range(64, 12_000, 64)]
    assert sizes == sorted(sizes)
    assert device_memory_gb(16_384) == pytest.approx(4 * planned[8192], rel=0.02)


@pytest.mark.parametrize(
    ("export", "files"),
    [
        ({"samples": "none"}, 0),
        ({"samples": "best"}, 6),
        ({"samples": "all"}, 6 + 3 * 5),
        ({"samples": "all", "zip": True}, 1),
    ],
)
def test_exported_files_are_those_of_the_setting(export: dict, files: int) -> None:
    raw: dict[str, object] = SETTINGS.model_dump(mode="json")
    settings: Settings = check_settings({**raw, "export": export}, source="test")
    assert files_exported(settings, 1, 1) == files


def test_what_alphafold_3_leaves_out_is_told() -> None:
    lines = describe(cost_of([planned("one", "MKV", "XXX")]))
    assert any("leaves out: one: B" in line for line in lines)

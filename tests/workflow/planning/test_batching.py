"""Batches: content decides their names, and what was planned stays planned."""

from dataclasses import replace

from af3_core.job import Job, Polymer
from workflow.batches import Plan
from workflow.planning.batching import (
    PlannedJob,
    SearchTarget,
    count_cluster_jobs,
    plan_batches,
    plan_job,
)
from workflow.planning.buckets import CostModel
from workflow.settings import Settings, check_settings

TARGETS = [
    SearchTarget("uniref90", "protein", "unpaired"),
    SearchTarget("uniprot", "protein", "paired"),
    SearchTarget("rfam", "rna", "rna"),
]
COSTS = CostModel(constant=5, quadratic=0, cubic=1e-8, compile=90, start=60)
SETTINGS = check_settings(
    {
        "inputs": ["inputs"],
        "search": {"databases": "databases.tsv", "batch_size": 2},
        "model": {"checkpoint": "af3.bin.zst"},
    },
    source="test",
)


def planned(name: str, *sequences: str, seeds: tuple[int, ...] = (1,)) -> PlannedJob:
    entities = tuple(
        Polymer("protein", (f"{letter}",), sequence)
        for letter, sequence in zip("ABCDEF", sequences, strict=False)
    )
    job = Job(name, seeds, entities)
    return plan_job("x.json", job, lambda job: sum(map(len, sequences)), 5120)


def plan_of(
    jobs: list[PlannedJob],
    before: Plan | None = None,
    settings: Settings = SETTINGS,
) -> Plan:
    return plan_batches(jobs, TARGETS, settings, COSTS, before=before)


def test_a_sequence_is_searched_once_however_many_jobs_hold_it() -> None:
    plan = plan_of([planned("one", "MKV", "GGG"), planned("two", "MKV")])
    searched = [
        i for b in plan.search.values() if b.database == "uniref90" for i in b.items
    ]
    assert len(searched) == len(set(searched)) == 2


def test_databases_are_filtered_for_batches_of_their_search() -> None:
    jobs = [planned("one", "MKV", "GGG"), planned("two", "MKVA")]
    ahead = [replace(TARGETS[0], is_filtered=True), *TARGETS[1:]]
    plan = plan_batches(jobs, ahead, SETTINGS, COSTS)
    without = plan_of(jobs)
    assert plan.search == without.search and not without.filter
    assert plan.filter == {
        n: batch for n, batch in plan.search.items() if batch.database == "uniref90"
    }
    assert count_cluster_jobs(plan) == count_cluster_jobs(without) + len(plan.filter)


def test_a_batch_that_was_filtered_is_searched_as_it_was() -> None:
    ahead = [replace(TARGETS[0], is_filtered=True), *TARGETS[1:]]
    first = plan_batches([planned("one", "MKV")], ahead, SETTINGS, COSTS)
    jobs = [planned("one", "MKV"), planned("two", "GGG")]
    begun = Plan(filter=first.filter)
    plan = plan_batches(jobs, ahead, SETTINGS, COSTS, before=begun)
    assert first.filter.items() <= plan.filter.items() <= plan.search.items()


def test_the_same_inputs_always_give_the_same_batches() -> None:
    jobs = [planned("one", "MKV"), planned("two", "GGG", "MKVA")]
    assert plan_of(jobs) == plan_of(jobs)


def test_an_added_job_leaves_every_earlier_batch_as_it_was() -> None:
    jobs = [planned("one", "MKV"), planned("two", "GGGA")]
    before = plan_of(jobs)
    after = plan_of([planned("new", "MKKKK"), *jobs], before)
    for stage in ("search", "templates", "jobs"):
        old, new = getattr(before, stage), getattr(after, stage)
        assert {name: new[name] for name in old} == old
    assert len(after.jobs) == len(before.jobs) + 1


def test_a_removed_job_leaves_the_batches_of_others_as_they_were() -> None:
    jobs = [planned(f"job{i}", "M" * (i + 10)) for i in range(4)]
    before = plan_of(jobs)
    after = plan_of(jobs[:2], before)
    wanted = {item for job in jobs[:2] for item in job.items}
    for name, batch in after.jobs.items():
        assert batch.members == before.jobs[name].members
        assert set(batch.items) == set(before.jobs[name].items) & wanted
    assert {i for b in after.jobs.values() for i in b.items} == wanted


def test_a_job_that_is_put_back_finds_its_batch() -> None:
    jobs = [planned(f"job{i}", "M" * (i + 10)) for i in range(4)]
    before = plan_of(jobs)
    assert plan_of(jobs, plan_of(jobs[1:], before)) == before


def test_a_job_needs_the_searches_of_its_own_chains_only() -> None:
    jobs = [planned(f"job{i}", "M" * (10 + i)) for i in range(6)]
    plan = plan_of(jobs, settings=_one_item_per_batch())
    for batch in plan.jobs.values():
        needed = [plan.search[n] for n in batch.needs if n in plan.search]
        assert {b.database for b in needed} == {"uniref90", "uniprot"}
        assert all(b.longest <= batch.longest for b in needed)


def test_given_alignments_are_not_searched() -> None:
    given = Polymer(
        "protein", ("A",), "MKV", unpaired_msa="", paired_msa="", templates=()
    )
    job = plan_job("x.json", Job("given", (1,), (given,)), lambda job: 3, 5120)
    plan = plan_of([job])
    assert not plan.search and not plan.templates
    assert len(plan.jobs) == 1


def test_a_template_search_waits_for_the_unpaired_alignment() -> None:
    plan = plan_of([planned("one", "MKV")])
    (templates,) = plan.templates.values()
    assert [plan.search[name].database for name in templates.needs] == ["uniref90"]


def test_every_seed_is_an_item_and_none_is_in_two_batches() -> None:
    plan = plan_of([planned("one", "MKV", seeds=(1, 2, 3)), planned("two", "GG")])
    items = [item for batch in plan.jobs.values() for item in batch.items]
    assert len(items) == len(set(items)) == 4


def test_batches_grow_where_there_would_be_too_many_cluster_jobs() -> None:
    jobs = [planned(f"job{i}", "MK" * (10 + i)) for i in range(40)]
    small = _one_item_per_batch()
    few = small.model_copy(
        update={"plan": small.plan.model_copy(update={"max_cluster_jobs": 60})}
    )
    assert count_cluster_jobs(plan_of(jobs, settings=small)) > 200
    assert count_cluster_jobs(plan_of(jobs, settings=few)) <= 60


BARE = Polymer("protein", ("A",), "MKV", unpaired_msa="", paired_msa="")


def depths(num_bare: int) -> set[tuple[int, int]]:
    """Padded depths of batches and their items, with two jobs that have alignments."""
    deep = replace(BARE, unpaired_msa=">x\nMKV\n" * 99)
    entities = {f"bare{n}": BARE for n in range(num_bare)} | {"deep": deep}
    jobs = [
        plan_job("x.json", Job(name, (1,), (entity,)), lambda job: 2000, 5120)
        for name, entity in entities.items()
    ]
    batches = plan_of([*jobs, planned("searched", "MKV" * 660)]).jobs.values()
    return {
        (rows, sum(len(b.items) for b in batches if b.msa_rows == rows))
        for rows in (b.msa_rows for b in batches)
    }


def test_many_jobs_without_alignments_are_padded_to_few_rows() -> None:
    assert depths(200) == {(16, 200), (16_384, 2)}


def test_a_few_jobs_without_alignments_are_not_worth_a_compilation() -> None:
    assert depths(5) == {(16_384, 7)}


def test_a_batch_knows_how_long_it_takes() -> None:
    (batch,) = plan_of([planned("one", "M" * 100)]).jobs.values()
    assert batch.seconds == COSTS.compile + COSTS.start + COSTS.seconds(batch.bucket)


def test_a_plan_keeps_no_alignments() -> None:
    given = Polymer("protein", ("A",), "MKV", unpaired_msa=">x\nMKV\n" * 999)
    job = plan_job("x.json", Job("given", (1,), (given,)), lambda job: 3, 5120)
    assert job.job.entities[0].unpaired_msa is None
    assert not job.needs[0].search_unpaired and not job.needs[0].polymer.unpaired_msa


def test_chains_that_alphafold_3_leaves_out_are_named() -> None:
    assert planned("one", "MKV", "XXX").dropped_chains == ("B",)


def _one_item_per_batch() -> Settings:
    predict = SETTINGS.predict.model_copy(update={"batch_minutes": 1})
    search = SETTINGS.search.model_copy(update={"batch_size": 1})
    return SETTINGS.model_copy(update={"predict": predict, "search": search})

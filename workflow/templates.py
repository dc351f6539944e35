"""Finds templates for the protein sequences of a batch.

    python -m workflow.templates --batch ID --threads N

Results go to the search store; the batch's outcomes say that they are there.
"""

from collections.abc import Sequence
from functools import partial

from workflow.campaign import Campaign
from workflow.engine.items import (
    Task,
    Together,
    outcome,
    work_together,
)
from workflow.keys import read_keys
from workflow.needs import ChainNeeds, chain_needs
from workflow.searching.again import with_searches
from workflow.searching.evidence import (
    max_template_date,
    template_databases,
    template_query,
)
from workflow.searching.search_keys import TemplateQuery, templates_key
from workflow.searching.template_search import search_templates
from workflow.settings import digest_of
from workflow.step import (
    job_of,
    parse_step,
    read_jobs_with_templates,
    run_step,
)
from workflow.store.entries import Store
from workflow.survey import commit_batch


def main(argv: list[str] | None = None) -> int:
    """Finds the templates of one batch."""
    arguments = parse_step("templates", __doc__, argv)
    return run_step(lambda: find_batch(Campaign(), arguments.batch, arguments.threads))


def find_batch(campaign: Campaign, batch: str, threads: int) -> None:
    """Finds what the store lacks and writes the batch's outcomes."""
    keys = read_keys(campaign)
    search, planned = keys.settings.search, keys.plan.batch("templates", batch)
    needs = _needs_of(campaign, set(planned.items))
    databases, store = template_databases(search), Store(search.store)
    if databases is None:
        rows = [outcome("templates", batch, name) for name in needs]
        commit_batch(campaign, keys, "templates", batch, rows)
        return
    max_date = max_template_date(search)
    made_from = digest_of(databases.digest, search.max_template_date)
    tasks = {name: Task(name, None, made_from) for name in needs}
    queries: dict[str, TemplateQuery] = {}

    def prepare(task: Task) -> TemplateQuery:
        if task.name not in queries:
            need = needs[task.name]
            queries[task.name] = with_searches(
                partial(template_query, need, search), [need], search, threads=threads
            )
        return queries[task.name]

    def is_done(task: Task) -> bool:
        key = templates_key(prepare(task), databases, max_date)
        return store.get(key) is not None

    def find(chunk: Sequence[Task], together: Together) -> None:
        for task in chunk:
            with together.guard(task):
                prepare(task)
        search_templates(
            {task.name: queries[task.name] for task in chunk if task.name in queries},
            databases,
            store,
            max_date=max_date,
            threads=threads,
            on_result=lambda name: together.done(tasks[name]),
            guard=lambda name: together.guard(tasks[name]),
        )

    found = work_together(
        campaign, "templates", batch, list(tasks.values()), is_done, find
    )
    commit_batch(campaign, keys, "templates", batch, found)


def _needs_of(campaign: Campaign, template_ids: set[str]) -> dict[str, ChainNeeds]:
    """For each template search, one chain that wants it."""
    return {
        need.template_id: need
        for row in read_jobs_with_templates(campaign, template_ids)
        for need in chain_needs(job_of(row))
        if need.template_id in template_ids
    }


if __name__ == "__main__":
    raise SystemExit(main())

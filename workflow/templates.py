"""Finds templates for the protein sequences of a batch.

    python -m workflow.templates --batch ID --threads N

Results go to the search store; the batch's outcomes say that they are there.
"""

import time

from workflow.campaign import Campaign
from workflow.engine.items import Progress, commit_outcomes, outcome
from workflow.needs import ChainNeeds, chain_needs
from workflow.searching.evidence import (
    max_template_date,
    template_databases,
    template_query,
)
from workflow.searching.template_search import search_templates
from workflow.step import (
    Row,
    job_of,
    parse_step,
    read_jobs_with_templates,
    read_plan,
    read_planned_settings,
    run_step,
)
from workflow.store.entries import Store


def main(argv: list[str] | None = None) -> int:
    """Finds the templates of one batch."""
    arguments = parse_step("templates", __doc__, argv)
    return run_step(lambda: find_batch(Campaign(), arguments.batch, arguments.threads))


def find_batch(campaign: Campaign, batch: str, threads: int) -> None:
    """Finds what the store lacks and writes the batch's outcomes."""
    search = read_planned_settings(campaign).search
    planned = read_plan(campaign).templates[batch]
    needs = _needs_of(campaign, set(planned.items))
    databases = template_databases(search)
    progress = Progress(campaign, "templates", batch, len(needs))
    rows: list[Row] = []
    last = time.monotonic()

    def note(name: str) -> None:
        nonlocal last
        now = time.monotonic()
        rows.append(outcome("templates", batch, name, seconds=now - last))
        last = now
        progress.advance()

    if databases is None:
        for name in needs:
            note(name)
    else:
        search_templates(
            {name: template_query(need, search) for name, need in needs.items()},
            databases,
            Store(search.store),
            max_date=max_template_date(search),
            threads=threads,
            on_result=note,
        )
    commit_outcomes(campaign, "templates", batch, rows)


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

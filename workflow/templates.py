"""Finds templates for the protein sequences of a batch.

    python -m workflow.templates --batch ID --threads N

Results go to the search store; the batch's outcomes say that they are there.
"""

import time

from workflow.evidence import databases_of
from workflow.failures import ITEM_ERRORS, classify
from workflow.items import Progress, commit_outcomes, outcome
from workflow.needs import ChainNeeds, chain_needs
from workflow.step import (
    Row,
    job_of,
    parse_step,
    read_all_jobs,
    read_plan,
    read_planned_settings,
    run_step,
)
from workflow.store import Store
from workflow.template_searching import find_templates


def main(argv: list[str] | None = None) -> int:
    """Finds the templates of one batch."""
    arguments = parse_step("templates", __doc__, argv)
    return run_step(lambda: find_batch(arguments.batch))


def find_batch(batch: str) -> None:
    """Finds what the store lacks and writes the batch's outcomes."""
    settings, planned = read_planned_settings(), read_plan().templates[batch]
    needs = _needs_of(set(planned.items))
    databases, store = databases_of(settings.search), Store(settings.search.store)
    progress = Progress("templates", batch, len(needs))
    rows: list[Row] = []
    for name, need in needs.items():
        began, failure = time.monotonic(), None
        try:
            find_templates(need.polymer, databases, settings.search, store)
        except ITEM_ERRORS as error:
            failure = classify(error)
        seconds = time.monotonic() - began
        rows.append(outcome("templates", batch, name, seconds=seconds, failure=failure))
        progress.advance()
    commit_outcomes("templates", batch, rows)


def _needs_of(template_ids: set[str]) -> dict[str, ChainNeeds]:
    """For each template search, one chain that wants it."""
    return {
        need.template_id: need
        for row in read_all_jobs()
        for need in chain_needs(job_of(row))
        if need.template_id in template_ids
    }


if __name__ == "__main__":
    raise SystemExit(main())

"""What the jobs of a screen are for, as a plan notes it: whose each chain is."""

from collections.abc import Iterable

from af3_core.contracts import ScreenChainRow
from af3_core.job import Job


def chain_rows(jobs: Iterable[tuple[str, Job]]) -> list[ScreenChainRow]:
    """Which partner every chain is of, for jobs (by id) that belong to a screen."""
    return [
        ScreenChainRow(
            job_id=job_id,
            chain_id=chain.chain_id,
            screen=job.place.screen,
            kind=job.place.kind,
            partner=chain.partner,
            copy=chain.copy,
            role=chain.role,
            num_tokens=chain.num_tokens,
            ligand=chain.ligand,
            first_campaign=first.campaign if first else None,
            first_by=first.by if first else None,
            first_score=first.score if first else None,
            first_rank=first.rank if first else None,
        )
        for job_id, job in jobs
        if job.place is not None
        for first in [job.place.first]
        for chain in job.place.chains
    ]

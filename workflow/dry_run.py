"""What a run would do: its jobs by stage, and what is made again and why.

The jobs are those that Snakemake lists when it is asked for a dry run, so what is shown
is what would be submitted, whatever profile and options say.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from workflow.campaign import Campaign
from workflow.settings import Settings
from workflow.sources import current_plan
from workflow.stages import STAGES
from workflow.survey import survey

_BLOCK = re.compile(r"^(?:local)?rule (\w+):\n((?: .*\n)*)", re.MULTILINE)
_DEVICES = ("gres", "gpu", "gpus", "devices")
"""Resources that ask for a GPU: Slurm's, other schedulers', and ours on one machine."""


@dataclass(frozen=True)
class DryJob:
    """One job that would run."""

    rule: str
    threads: int
    resources: dict[str, str]

    @property
    def memory_gb(self) -> float | None:
        """Memory that it asks for."""
        return self._number("mem_mb", 1000)

    @property
    def hours(self) -> float | None:
        """Time that it asks for."""
        return self._number("runtime", 60)

    @property
    def device(self) -> str:
        """What it asks for of GPUs; "" if none."""
        asked = [self.resources.get(name, "0") for name in _DEVICES]
        return next((value for value in asked if value != "0"), "")

    def _number(self, name: str, unit: float) -> float | None:
        value = self.resources.get(name)
        return float(value) / unit if value and value.isdigit() else None


def read_dry_jobs(text: str) -> list[DryJob]:
    """The jobs that Snakemake lists in a dry run, in its order."""
    return [_job(rule, block) for rule, block in _BLOCK.findall(text) if rule != "all"]


def _job(rule: str, block: str) -> DryJob:
    lines = (line.strip().partition(": ") for line in block.splitlines())
    facts = {name: value for name, _, value in lines}
    given = facts.get("resources", "").split(", ")
    resources = dict(part.split("=", 1) for part in given if "=" in part)
    threads = facts.get("threads", "1")
    return DryJob(rule, int(threads) if threads.isdigit() else 1, resources)


def print_dry_run(
    text: str, campaign: Campaign, settings: Settings, console: Console
) -> None:
    """Shows the jobs of a dry run, and what of them is made again.

    Args:
        text: Snakemake's output.
        campaign: in the current folder.
        settings: of the campaign.
        console: where to.
    """
    jobs = read_dry_jobs(text)
    if not jobs:
        console.print("Nothing would run: all results are there and up to date.")
        return
    console.print(_table(jobs))
    for line in describe_made_again(campaign, settings):
        console.print(line, soft_wrap=True)
    console.print("This is what would run. Nothing was started or changed.")


def describe_made_again(campaign: Campaign, settings: Settings) -> Iterator[str]:
    """What lies there but is made again, and why, in sentences."""
    seen = survey(campaign, current_plan(campaign, settings), settings)
    for line in seen.lines():
        yield f"Made again: {line}"
    for path in seen.damaged:
        yield f"Damaged: {path}"
    for name in seen.orphans:
        yield f"Removed: what was exported of {name} before"


def _table(jobs: Sequence[DryJob]) -> Table:
    table = Table(title="Jobs that would run", title_justify="left", box=SIMPLE)
    table.add_column("stage")
    headings = ("jobs", "partition", "memory, GB", "hours", "threads", "GPU")
    for heading in headings:
        table.add_column(heading, justify="right")
    order = {stage.name: number for number, stage in enumerate(STAGES)}
    by_rule: dict[str, list[DryJob]] = {}
    for job in sorted(jobs, key=lambda job: order.get(job.rule, len(order))):
        by_rule.setdefault(job.rule, []).append(job)
    for rule, those in by_rule.items():
        partitions = Counter(job.resources.get("slurm_partition", "") for job in those)
        table.add_row(
            rule.replace("_", " "),
            str(len(those)),
            ", ".join(filter(None, partitions)) or "–",
            _range([job.memory_gb for job in those], 1),
            _range([job.hours for job in those], 1),
            _range([job.threads for job in those], 0),
            ", ".join(sorted({job.device for job in those if job.device})) or "–",
        )
    return table


def _range(values: Sequence[float | None], digits: int) -> str:
    """The least and the most, or one of them where they are shown alike."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    ends = dict.fromkeys(f"{end:.{digits}f}" for end in (min(known), max(known)))
    return "–".join(ends)

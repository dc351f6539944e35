"""Writes figures as PNG, 300 dots per inch, for papers.

    python -m workflow.figures --jobs NAME [NAME …] --out figures
    python -m workflow.figures --out figures

makes `NAME_plddt.png`, `NAME_pae.png` and `NAME_msa.png` of these jobs' best samples;
without jobs, `scores.png` with the distributions of the best samples' scores.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from af3_core.figures import draw_distributions, draw_msa, draw_pae, draw_plddt
from workflow.report.details import token_means
from workflow.report.jobs import JobList, ListedJob, choose_jobs, read_job_list
from workflow.report.layout import read_layout
from workflow.report.samples import best_sample, read_prediction
from workflow.tables import replacing

_CAMPAIGN_SCORES = {
    "ranking_score": "Ranking score",
    "iptm": "ipTM",
    "mean_plddt": "pLDDT",
    "ipsae": "ipSAE",
    "dockq": "DockQ",
    "lddt": "lDDT",
}
_WHY = ": results/tables/failures.parquet says why"


def main(argv: list[str] | None = None) -> int:
    """Command line of the figures."""
    parser = argparse.ArgumentParser(prog="workflow.figures", description=__doc__)
    parser.add_argument("--jobs", nargs="+", default=[], help="names or ids")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, default=Path("figures"))
    options = parser.parse_args(argv)
    try:
        paths = write_figures(options.results, tuple(options.jobs), options.out)
    except ValueError as error:
        print(f"figures: {error}", file=sys.stderr)
        return 2
    print("\n".join(map(str, paths)))
    return 0


def write_figures(results: Path, jobs: tuple[str, ...], out: Path) -> list[Path]:
    """Writes the figures of these jobs, or the campaign's, and returns their paths.

    Raises:
        ValueError: a job is not in the campaign, or nothing was predicted.
    """
    campaign = read_job_list(results)
    if not jobs:
        return [_save(draw_campaign(campaign), out / "scores.png")]
    return [
        _save(figure, out / f"{job.name}_{kind}.png")
        for job in choose_jobs(campaign, jobs).rows
        for kind, figure in draw_job(results, job).items()
    ]


def _save(figure: Figure, path: Path) -> Path:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
    return path


def draw_campaign(campaign: JobList) -> Figure:
    """Distributions of those scores that any job has.

    Raises:
        ValueError: nothing was predicted.
    """
    best = [row.best for row in campaign.rows if row.best is not None]
    if not best:
        raise ValueError(f"nothing was predicted{_WHY}")
    scores = {
        label: np.array([np.nan if row[key] is None else row[key] for row in best])
        for key, label in _CAMPAIGN_SCORES.items()
        if any(row[key] is not None for row in best)
    }
    return draw_distributions(scores, {"pLDDT": 100.0})


def draw_job(results: Path, job: ListedJob) -> dict[str, Figure]:
    """The figures of a job's best sample by kind."""
    prediction = read_prediction(results, best_sample(job))
    if prediction is None:
        raise ValueError(f"nothing was predicted of {job.name}{_WHY}")
    layout = read_layout(results / "features" / f"{job.job_id}.parquet")
    placed = layout.token_index >= 0
    token_index = layout.token_index[placed]
    _, first = np.unique(token_index, return_index=True)
    chain_id = layout.structure.chain_id[placed][first]
    plddt = token_means(prediction.atom_plddt[placed], token_index)
    return {
        "plddt": draw_plddt(plddt, chain_id),
        "pae": draw_pae(prediction.pae / 10.0, chain_id),
        "msa": draw_msa(layout.msa_rows, chain_id),
    }


if __name__ == "__main__":
    sys.exit(main())

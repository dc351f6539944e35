"""Writes figures of chosen jobs as PNG, 300 dots per inch, for papers.

    python -m workflow.figures --jobs NAME [NAME …] --out figures

makes `NAME_plddt.png`, `NAME_pae.png` and `NAME_msa.png` of the best sample.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from af3_core.figures import draw_msa, draw_pae, draw_plddt
from workflow.report.details import token_means
from workflow.report.jobs import JobRow, choose_jobs, read_campaign
from workflow.report.layout import read_layout
from workflow.report.samples import best_sample, read_prediction
from workflow.tables import replacing


def main(argv: list[str] | None = None) -> int:
    """Command line of the figures."""
    parser = argparse.ArgumentParser(prog="workflow.figures", description=__doc__)
    parser.add_argument("--jobs", nargs="+", required=True, help="names or ids")
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
    """Writes the figures of these jobs and returns their paths.

    Raises:
        ValueError: a job is not in the campaign, or nothing was predicted of it.
    """
    paths = []
    for job in choose_jobs(read_campaign(results), jobs).rows:
        for kind, figure in draw_job(results, job).items():
            path = out / f"{job.name}_{kind}.png"
            with replacing(path) as temporary:
                figure.savefig(temporary, format="png")
            paths.append(path)
    return paths


def draw_job(results: Path, job: JobRow) -> dict[str, Figure]:
    """The figures of a job's best sample by kind."""
    prediction = read_prediction(results, best_sample(job))
    if prediction is None:
        raise ValueError(f"nothing was predicted of {job.name}")
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

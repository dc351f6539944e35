"""Writes a campaign as custom content of MultiQC, for those who collect reports there.

`foldmill_scores_mqc.json` is a table of every job's best sample,
`foldmill_outcomes_mqc.json` bars of what became of the items of each stage. `multiqc`
finds both by their names.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from af3_core.contracts import OUTCOMES, SCORES, OutcomeRow, ScoreRow
from workflow.campaign import Campaign
from workflow.stages import STAGES
from workflow.tables import read_rows, replacing

_SCORES = {
    "num_tokens": {"title": "Tokens", "format": "{:,.0f}", "scale": "Greys"},
    "ranking_score": {"title": "Ranking", "max": 1, "scale": "RdYlGn"},
    "ptm": {"title": "pTM", "min": 0, "max": 1, "scale": "RdYlGn"},
    "iptm": {"title": "ipTM", "min": 0, "max": 1, "scale": "RdYlGn"},
    "mean_plddt": {"title": "pLDDT", "min": 0, "max": 100, "scale": "RdYlGn"},
    "ipsae": {"title": "ipSAE", "min": 0, "max": 1, "scale": "RdYlGn"},
}
"""Columns of the table, as MultiQC draws them."""
_STATUSES = {
    "done": {"name": "done", "color": "#5ab45a"},
    "failed": {"name": "failed", "color": "#d0453e"},
    "skipped": {"name": "skipped: an earlier stage failed", "color": "#b8b8b8"},
}


def write_multiqc(campaign: Campaign, folder: Path) -> list[Path]:
    """Writes both files; returns their paths."""
    scores = read_rows(campaign.tables / "scores.parquet", SCORES)
    outcomes = read_rows(campaign.tables / "outcomes.parquet", OUTCOMES)
    sections = {"scores": _score_section(scores), "outcomes": _bars(outcomes)}
    paths = []
    for name, section in sections.items():
        path = folder / f"foldmill_{name}_mqc.json"
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(section, indent=1), encoding="utf-8")
        paths.append(path)
    return paths


def _score_section(rows: Iterable[ScoreRow]) -> dict[str, Any]:
    docs = {column.name: column.doc for column in SCORES.columns}
    best = [row for row in rows if row.rank == 1]
    data = {row.name: {key: getattr(row, key) for key in _SCORES} for row in best}
    return {
        **_head("scores", "best sample of every job", "table"),
        "pconfig": {"id": "foldmill_scores_table", "title": "Foldmill: scores"},
        "headers": {
            key: {"description": docs[key], **shown} for key, shown in _SCORES.items()
        },
        # A cell that is left out is empty.
        "data": {name: _known(cells) for name, cells in data.items()},
    }


def _known(cells: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in cells.items() if value is not None}


def _bars(rows: Iterable[OutcomeRow]) -> dict[str, Any]:
    stages = ("plan", *(stage.name for stage in STAGES))
    counts = {stage: dict.fromkeys(_STATUSES, 0) for stage in stages}
    for row in rows:
        counts[row.stage][row.status] += 1
    some = {stage: found for stage, found in counts.items() if any(found.values())}
    return {
        **_head("outcomes", "what became of the items of each stage", "bargraph"),
        "pconfig": {
            "id": "foldmill_outcomes_plot",
            "title": "Foldmill: outcomes",
            "ylab": "items",
        },
        "categories": _STATUSES,
        "data": some,
    }


def _head(name: str, what: str, plot: str) -> dict[str, Any]:
    return {
        "id": f"foldmill_{name}",
        "section_name": f"Foldmill: {name}",
        "description": f"AlphaFold 3 predictions: {what}.",
        "plot_type": plot,
    }

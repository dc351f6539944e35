"""Says when numbers should not be pooled: they come from different engines.

Scores of two campaigns, or of one that was continued with other weights, databases or
search programs, look alike and are not: confidences shift with each of these. What made
every prediction is in `results/tables/provenance.parquet`.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from af3_core.contracts import PREDICTIONS, PROVENANCE, ProvenanceRow
from workflow.campaign import Campaign, split_item
from workflow.engine.items import Item
from workflow.tables import read_columns, read_rows

COMPARABLE = {
    "weights": "weights",
    "network": "settings of the network",
    "precision": "precisions",
    "backends": "kernel backends",
    "foldmill": "versions of Foldmill",
    "search_profile": "search profiles",
}
"""Columns that have to agree before numbers are pooled, in words."""
_GIVEN = "input"


def provenance_of(items: Iterable[Item]) -> pa.Table:
    """What made the predictions of items that are done, as rows of the contract."""
    rows = []
    for item in items:
        if item.is_done:
            job_id, seed = split_item(item.name)
            rows.append(ProvenanceRow(job_id=job_id, seed=seed, **_columns(item.path)))
    return PROVENANCE.table(rows)


def _facts(path: Path) -> dict[str, Any]:
    """What made a prediction, from its file."""
    column = read_columns(path, PREDICTIONS, ["provenance"])
    return json.loads(column["provenance"][0].as_py())


def _columns(path: Path) -> dict[str, Any]:
    facts = _facts(path)
    network = (
        # Not how many recycles were computed: with a tolerance that differs by item.
        *("max_recycles", "recycle_tolerance"),
        *("num_diffusion_steps", "num_samples", "noise_buckets"),
    )
    same = ("weights", "precision", "foldmill", "source", "jax", "device", "driver")
    search = facts["search"]
    return {
        **{name: facts[name] for name in (*same, "rung", "bucket", "features")},
        "network": json.dumps({name: facts[name] for name in network}),
        "backends": json.dumps(facts["backends"], sort_keys=True),
        "search_profile": facts["search_profile"],
        "search_engines": json.dumps(search["engines"], sort_keys=True),
        "databases": json.dumps(search["databases"], sort_keys=True),
    }


_CAUTIONS = {
    "foldmill": (
        "These are numbers of Foldmill's demo network, which has memorised a few"
        " molecules. Of any other they mean nothing, however high: see its model card."
    ),
    "untrained": "The network is untrained: these structures and numbers mean nothing.",
}
"""By whose weights they are: what has to be said beside numbers."""


def caution(campaign: Campaign, items: Iterable[str]) -> str:
    """What has to be said beside scores of these `job.seed`; "" if nothing."""
    for path in map(campaign.prediction, items):
        if path.is_file():
            return _CAUTIONS.get(_facts(path)["weights_origin"], "")
    return ""


def mixtures(*campaigns: Campaign) -> list[str]:
    """One sentence for everything in which predictions of the campaigns differ that
    makes their numbers incomparable; none if all may be pooled."""
    rows: list[ProvenanceRow] = []
    for campaign in campaigns:
        path = campaign.tables / "provenance.parquet"
        rows += read_rows(path, PROVENANCE) if path.is_file() else []
    return mixtures_of(rows)


def mixtures_of(rows: Sequence[ProvenanceRow]) -> list[str]:
    """The same for rows of the provenance table."""
    sentences = []
    for column, words in COMPARABLE.items():
        counts = Counter(str(getattr(row, column)) for row in rows)
        sentences += _sentence(words, counts)
    # A job without RNA has no RNA search: only what both have is compared.
    for column, words in (
        ("search_engines", "search engines for {} alignments"),
        ("databases", "releases of database {}"),
    ):
        found: dict[str, Counter[str]] = {}
        for row in rows:
            for name, value in json.loads(getattr(row, column)).items():
                if value != _GIVEN:
                    found.setdefault(name, Counter())[value] += 1
        for name, counts in sorted(found.items()):
            sentences += _sentence(words.format(name), counts)
    return sentences


def _sentence(words: str, counts: Counter[str]) -> list[str]:
    if len(counts) < 2:
        return []
    shown = ", ".join(
        f"{value if len(value) <= 60 else value[:12] + '…'} ({count} predictions)"
        for value, count in counts.most_common(4)
    )
    return [f"{len(counts)} different {words}: {shown}"]

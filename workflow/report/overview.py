"""The table of all jobs as the page reads it: columns, and what each one means."""

from typing import Any

import pyarrow as pa

from af3_core.columns import Column, Contract
from af3_core.contracts import INTERFACES, RELAXED, SCORES
from workflow.report.jobs import JobList, ListedJob, failures_by_cause

_LABELS = {
    "ranking_score": "Ranking score",
    "ptm": "pTM",
    "iptm": "ipTM",
    "mean_plddt": "pLDDT",
    "num_chains": "Chains",
    "has_clash": "AF3 clash",
    "fraction_disordered": "Disordered",
    "relax_status": "Relaxation",
    "relaxed_clashes": "Clashes, relaxed",
    "chain_1": "Chain 1",
    "chain_2": "Chain 2",
    "pae_min": "PAE, lowest",
    "rmsd": "RMSD",
    "ligand_rmsd": "Ligand RMSD",
    "ipsae": "ipSAE",
    "ipsae_max": "ipSAE, highest",
    "ipsae_d0chn": "ipSAE, d0 chain",
    "ipsae_d0dom": "ipSAE, d0 domain",
    "clis": "cLIS",
    "interface_plddt": "pLDDT",
    "interface_pae": "PAE",
    "interface_rmsd": "iRMSD",
    "fnat": "Fnat",
    "ligands_valid": "Ligands valid",
    "pdockq": "pDockQ",
    "pdockq2": "pDockQ2",
    "lis": "LIS",
    "ilis": "iLIS",
    "actifptm": "actifpTM",
    "lddt": "lDDT",
    "lddt_ca": "lDDT-Cα",
    "tm_score": "TM-score",
    "dockq": "DockQ",
    "seconds": "Time",
}

_DIGITS = {
    "mean_plddt": 1,
    "pae_min": 1,
    "energy_before": 0,
    "energy_after": 0,
    "seconds": 1,
}

_OF_A_SAMPLE = (
    *("rank", "seed", "sample", "ranking_score", "iptm", "ptm", "mean_plddt"),
    *("clashes", "lddt", "dockq", "relax_status"),
)
_OF_AN_INTERFACE = (
    *("chain_1", "chain_2", "iptm", "ipsae", "pae_min", "lis"),
    *("contacts", "buried_area", "dockq"),
)
"""What the tables of a job show at once; a button shows the rest."""
_OF_THE_ROW = ("job_id", "seed", "sample", "name", "rank", "num_tokens")
_ALWAYS_SHOWN = frozenset(
    {"ranking_score", "iptm", "ptm", "mean_plddt", "clashes", "relax_status"}
)


def describe(
    campaign: JobList, detailed: set[str], unreadable: dict[str, str]
) -> dict[str, object]:
    """Everything the page shows besides the details of single jobs.

    Args:
        detailed: ids of the jobs whose details are inside.
        unreadable: why details could not be read, by job id.
    """
    rows = campaign.rows
    fields = [describe_column(c) for c in SCORES.columns if _fits_a_cell(c)]
    return {
        "fields": [
            {**field, "shown": field["key"] in _ALWAYS_SHOWN} for field in fields
        ],
        "labels": {
            "scores": _choose(SCORES, _OF_A_SAMPLE),
            "interfaces": _choose(INTERFACES, _OF_AN_INTERFACE),
            "relaxed": [describe_column(c) for c in RELAXED.columns],
        },
        "job_id": [row.job_id for row in rows],
        "name": [row.name for row in rows],
        "source": [row.source for row in rows],
        "status": [row.status for row in rows],
        "num_tokens": [row.num_tokens for row in rows],
        "detailed": [row.job_id in detailed for row in rows],
        "unreadable": {
            index: unreadable[row.job_id]
            for index, row in enumerate(rows)
            if row.job_id in unreadable
        },
        "scores": {
            field["key"]: [_score(row, field["key"]) for row in rows]
            for field in fields
        },
        "problem": [_problem(row) for row in rows],
        "failures": {
            index: [list(vars(failure).values()) for failure in row.failures]
            for index, row in enumerate(rows)
            if row.failures
        },
        "causes": [
            (problem_label(stage, cause), number)
            for stage, cause, number in failures_by_cause(campaign)
        ],
    }


def _choose(contract: Contract[Any], first: tuple[str, ...]) -> list[dict[str, Any]]:
    """Columns of a table that fit a cell: those that are shown at once come first."""
    columns = {column.name: column for column in contract.columns}
    chosen = [describe_column(columns[name]) | {"shown": True} for name in first]
    rest = (c for c in contract.columns if _is_short(c) and c.name not in first)
    hidden = [describe_column(column) | {"shown": False} for column in rest]
    return chosen + hidden


def _is_short(column: Column) -> bool:
    """Lists per chain and JSON are for queries."""
    return not (pa.types.is_list(column.type) or column.doc.startswith("JSON"))


def _fits_a_cell(column: Column) -> bool:
    return _is_short(column) and column.name not in _OF_THE_ROW


def describe_column(column: Column) -> dict[str, Any]:
    """How a column of a contract is labelled and its values are written."""
    kind, digits = "text", 0
    if pa.types.is_boolean(column.type):
        kind = "flag"
    elif pa.types.is_integer(column.type):
        kind = "number"
    elif pa.types.is_floating(column.type):
        kind, digits = "number", _DIGITS.get(column.name, 2)
    return {
        "key": column.name,
        "label": _LABELS.get(column.name, column.name.replace("_", " ").capitalize()),
        "kind": kind,
        "digits": digits,
        "unit": column.unit,
        "doc": column.doc,
    }


def _problem(row: ListedJob) -> str | None:
    """The first failure in two words; the details have all."""
    if not row.failures:
        return None
    return problem_label(row.failures[0].stage, row.failures[0].cause)


def problem_label(stage: str, cause: str) -> str:
    """How a kind of failure is written in the table and its filter."""
    return f"{stage}: {cause.replace('_', ' ') or 'failed'}"


def _score(row: ListedJob, key: str) -> object:
    value = row.best[key] if row.best else None
    return round(value, 6) if isinstance(value, float) else value

"""The best pairs of another campaign, to be computed again with other settings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from af3_core.columns import Contract, ContractError
from af3_core.contracts import JOBS, SCREEN, SCREEN_CHAINS
from af3_core.inputs.alphafold3 import read_alphafold3
from af3_core.inputs.entities import Links
from af3_core.inputs.entry import Entry, parse_json
from af3_core.inputs.text import note_read
from af3_core.job import FirstPass, Job, Ligand, Polymer, ScreenChain, ScreenPlace

LOWER_IS_BETTER = frozenset({"pae_min"})
_CAMPAIGN = "the folder of a campaign whose screen has results"


def best_first(table: pa.Table, by: str) -> pa.Table:
    """Rows of `screen` sorted by a column of numbers, the best first, nulls last."""
    values = table[by].cast(pa.float64()).to_numpy(zero_copy_only=False)
    if by in LOWER_IS_BETTER or by.endswith("_above"):
        values = -values
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")
    return table.take(pa.array(order))


def read_best(
    of: Entry, by: Entry, number: Mapping[str, Any], links: Links
) -> Iterator[tuple[Job, int]]:
    """Jobs of the best pairs, and their tokens, the best first.

    A pair that was read out of a pool becomes a job of its own; any other is computed
    as it was. Names stay.

    Args:
        of: the campaign's folder, from where the screen lies.
        by: the score.
        number: `top` or `share`.
        links: where the screen lies.

    Raises:
        InputError: there are no results, or no such score.
    """
    folder = links.folder / str(of.value)
    pairs = _read(of, folder / "results/tables/screen.parquet", SCREEN)
    pairs = pairs.filter(pc.field("kind") == "asked")
    column = str(by.value)
    numbers = [f.name for f in pairs.schema if pa.types.is_floating(f.type)]
    if column not in numbers:
        raise by.refuse(f"one of {', '.join(numbers)}")
    pairs = pairs.filter(pc.field(column).is_valid())
    if not pairs.num_rows:
        raise of.refuse(f"{_CAMPAIGN} by {column}")
    most = number.get("top") or max(1, round(number["share"] * pairs.num_rows))
    rows = best_first(pairs, column).slice(0, most).to_pylist()
    wanted = pa.array({row["job_id"] for row in rows}, pa.string())
    jobs = _by_job(of, folder / "results/plan/jobs.parquet", JOBS, wanted)
    chains = _by_job(
        of, folder / "results/plan/screen_chains.parquet", SCREEN_CHAINS, wanted
    )
    seen: set[str] = set()
    for rank, row in enumerate(rows, 1):
        first = FirstPass(str(of.value), column, float(row[column]), rank)
        [stored] = jobs[row["job_id"]]
        job = _parse(stored, folder)
        found = [_chain(one) for one in chains[row["job_id"]]]
        name = job.name
        if name.startswith(f"{row['screen']}_pool_"):
            partners = (row["partner_1"], row["partner_2"])
            found = [chain for chain in found if chain.partner in partners]
            job = _keep(job, {chain.chain_id for chain in found})
            name = "__".join(partners)
        place = ScreenPlace(row["screen"], "asked", tuple(found), first)
        if name not in seen:
            seen.add(name)
            partners = {(c.partner, c.copy): c.num_tokens for c in found}
            tokens = sum(partners.values())
            yield replace(job, name=name, record=name, place=place), tokens


def _read(entry: Entry, path: Path, contract: Contract[Any]) -> pa.Table:
    note_read(path)
    try:
        return contract.check(pq.ParquetFile(path).read(), where=str(path))
    except (OSError, pa.ArrowException, ContractError) as error:
        raise entry.refuse(f"{_CAMPAIGN} ({path}: {error})") from error


def _by_job(
    entry: Entry, path: Path, contract: Contract[Any], wanted: pa.Array
) -> dict[str, list[dict[str, Any]]]:
    table = _read(entry, path, contract).filter(pc.field("job_id").isin(wanted))
    found: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        found.setdefault(row["job_id"], []).append(row)
    return found


def _parse(stored: Mapping[str, Any], folder: Path) -> Job:
    document = parse_json(stored["json"], stored["source"])
    whole = Entry(stored["source"], "", document, "a job")
    return read_alphafold3(whole, Links(folder))


def _chain(row: Mapping[str, Any]) -> ScreenChain:
    names = ("chain_id", "partner", "copy", "role", "num_tokens", "ligand")
    return ScreenChain(*(row[name] for name in names))


def _keep(job: Job, ids: set[str]) -> Job:
    """The job with some of its chains only."""
    entities: list[Polymer | Ligand] = []
    for entity in job.entities:
        kept: Sequence[str] = [name for name in entity.ids if name in ids]
        if kept:
            entities.append(replace(entity, ids=tuple(kept)))
    bonds = tuple(b for b in job.bonds if all(end.chain_id in ids for end in b))
    return replace(job, entities=tuple(entities), bonds=bonds)

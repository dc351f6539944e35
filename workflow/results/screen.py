"""The answer of a screen: one row per pair, over all jobs in which it meets."""

import duckdb
import numpy as np
import pyarrow as pa
from jaxtyping import Float
from numpy import ndarray

from af3_core.contracts import SCREEN, SCREEN_CHAINS
from af3_core.scores.background import FEWEST_PAIRS, calibrate

CORRECTED = ("iptm", "ipsae", "ilis")
"""Scores that are compared with the background."""

# A pair has two rows of `interfaces` for each pair of its chains, one per direction;
# the first by the alphabet comes first in both.
_PAIRS = """
WITH best AS (
    SELECT job_id, seed, sample, name,
           CASE WHEN ligands_checked > 0 THEN ligands_valid = ligands_checked END
               AS ligand_valid
    FROM scores WHERE rank = 1
),
sides AS (
    SELECT i.*, a.screen, a.partner AS partner_1, b.partner AS partner_2,
           a.role AS role_1, b.role AS role_2,
           a.num_tokens AS tokens_1, b.num_tokens AS tokens_2,
           coalesce(a.ligand, b.ligand) AS ligand,
           CASE WHEN a.kind = 'background' THEN 'background'
                WHEN a.role = b.role AND a.role <> 'any' THEN 'other'
                ELSE 'asked' END AS kind,
           a.first_campaign, a.first_by, a.first_score, a.first_rank,
           best.name, best.ligand_valid
    FROM interfaces i
    JOIN best USING (job_id, seed, sample)
    JOIN chains a ON a.job_id = i.job_id AND a.chain_id = i.chain_1
    JOIN chains b ON b.job_id = i.job_id AND b.chain_id = i.chain_2
    WHERE (a.partner <> b.partner OR a.copy <> b.copy) AND a.screen = b.screen
),
directed AS (
    SELECT * REPLACE (least(partner_1, partner_2) AS partner_1,
                      greatest(partner_1, partner_2) AS partner_2,
                      CASE WHEN is_turned THEN role_2 ELSE role_1 END AS role_1,
                      CASE WHEN is_turned THEN role_1 ELSE role_2 END AS role_2,
                      CASE WHEN is_turned THEN tokens_2 ELSE tokens_1 END AS tokens_1,
                      CASE WHEN is_turned THEN tokens_1 ELSE tokens_2 END AS tokens_2,
                      CASE WHEN is_turned THEN chain_2 ELSE chain_1 END AS chain_1,
                      CASE WHEN is_turned THEN chain_1 ELSE chain_2 END AS chain_2)
    FROM (
        SELECT *, partner_1 > partner_2
                  OR (partner_1 = partner_2 AND chain_1 > chain_2) AS is_turned
        FROM sides
    )
),
per_job AS (
    SELECT screen, partner_1, partner_2, job_id,
           any_value(name) AS name, any_value(seed) AS seed,
           any_value(sample) AS sample, any_value(ligand_valid) AS ligand_valid,
           any_value(kind) AS kind,
           any_value(role_1) AS role_1, any_value(role_2) AS role_2,
           any_value(tokens_1) AS tokens_1, any_value(tokens_2) AS tokens_2,
           any_value(ligand) AS ligand,
           any_value(first_campaign) AS first_campaign, any_value(first_by) AS first_by,
           any_value(first_score) AS first_score, min(first_rank) AS first_rank,
           arg_max(chain_1, (coalesce(ipsae_max, iptm), iptm, -pae_min)) AS chain_1,
           arg_max(chain_2, (coalesce(ipsae_max, iptm), iptm, -pae_min)) AS chain_2,
           max(CASE WHEN isnan(iptm) THEN 0 ELSE iptm END) AS iptm,
           max(ipsae_max) AS ipsae, max(ilis) AS ilis, max(pdockq2) AS pdockq2,
           min(pae_min) AS pae_min, max(interface_plddt) AS interface_plddt,
           max(contacts) AS contacts, max(buried_area) AS buried_area,
           max(dockq) AS dockq
    FROM directed GROUP BY ALL
)
SELECT screen, partner_1, partner_2,
       min(kind) AS kind, min(role_1) AS role_1, min(role_2) AS role_2,
       max(tokens_1) AS tokens_1, max(tokens_2) AS tokens_2, min(ligand) AS ligand,
       count(*) AS num_jobs,
       {first}, avg(iptm) AS iptm, avg(ipsae) AS ipsae, avg(ilis) AS ilis,
       avg(pdockq2) AS pdockq2, avg(pae_min) AS pae_min,
       avg(interface_plddt) AS interface_plddt, avg(contacts) AS contacts,
       avg(buried_area) AS buried_area, avg(dockq) AS dockq,
       bool_and(ligand_valid) AS ligand_valid,
       max(iptm) AS iptm_max, max(ipsae) AS ipsae_max,
       any_value(first_campaign) AS first_campaign, any_value(first_by) AS first_by,
       any_value(first_score) AS first_score, min(first_rank) AS first_rank
FROM per_job GROUP BY ALL
ORDER BY screen, partner_1, partner_2
"""
_OF_THE_BEST_JOB = ("job_id", "name", "seed", "sample", "chain_1", "chain_2")
_FIRST = ", ".join(
    f"arg_max({name}, (coalesce(ipsae, iptm), iptm, job_id)) AS {name}"
    for name in _OF_THE_BEST_JOB
)


def screen_table(chains: pa.Table, scores: pa.Table, interfaces: pa.Table) -> pa.Table:
    """The rows of all pairs of all screens.

    Args:
        chains: of contract `screen_chains`.
        scores: of contract `scores`, ranked.
        interfaces: of contract `interfaces`.

    Returns:
        A table of contract `screen`; pairs of which no job has a result are not in it.
    """
    SCREEN_CHAINS.check(chains, where="the chains of a screen")
    connection = duckdb.connect()
    tables = {"chains": chains, "scores": scores, "interfaces": interfaces}
    for name, table in tables.items():
        connection.register(name, table)
    pairs = connection.sql(_PAIRS.format(first=_FIRST)).to_arrow_table()
    columns = {name: pairs[name] for name in pairs.column_names}
    columns |= _compared(pairs)
    return pa.table(
        [columns[field.name].cast(field.type) for field in SCREEN.schema],
        schema=SCREEN.schema,
    )


def _compared(pairs: pa.Table) -> dict[str, pa.ChunkedArray]:
    """The columns that compare every pair with the background of its screen.

    Pairs with ligands and pairs of polymers are not compared with each other.
    """
    number = pairs.num_rows
    found = {
        f"{name}_{what}": np.full(number, np.nan)
        for name in CORRECTED
        for what in ("corrected", "above")
    }
    kind = np.array(pairs["kind"].to_pylist(), object)
    references = np.full(number, None, object)
    counts = np.zeros(number, np.int32)
    for rows in _groups(pairs):
        is_reference = kind[rows] == "background"
        named = "background"
        if is_reference.sum() < FEWEST_PAIRS:
            is_reference, named = np.ones(len(rows), bool), "screen"
        if is_reference.sum() < FEWEST_PAIRS:
            continue
        references[rows], counts[rows] = named, is_reference.sum()
        sizes = [_floats(pairs, f"tokens_{n}")[rows] for n in (1, 2)]
        for name in CORRECTED:
            scores = _floats(pairs, name)[rows]
            made = calibrate(scores, sizes[0], sizes[1], is_reference)
            found[f"{name}_corrected"][rows] = made.corrected
            found[f"{name}_above"][rows] = made.share_above
    columns = {
        name: pa.chunked_array([pa.array(values, from_pandas=True)])
        for name, values in found.items()
    }
    columns["background"] = pa.chunked_array([pa.array(references, pa.string())])
    columns["background_pairs"] = pa.chunked_array([pa.array(counts)])
    return columns


def _groups(pairs: pa.Table) -> list[ndarray]:
    """Rows of each screen, with and without ligands."""
    keys = list(
        zip(
            pairs["screen"].to_pylist(),
            pairs["ligand"].is_valid().to_pylist(),
            strict=True,
        )
    )
    return [
        np.array([row for row, key in enumerate(keys) if key == one])
        for one in dict.fromkeys(keys)
    ]


def _floats(table: pa.Table, name: str) -> Float[ndarray, "p"]:
    """A column as numbers, NaN for nulls."""
    return table[name].cast(pa.float64()).to_numpy(zero_copy_only=False)

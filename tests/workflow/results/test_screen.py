"""The answer of a screen: one row per pair, over all jobs in which it meets."""

from itertools import combinations, permutations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from af3_core.columns import Contract
from af3_core.contracts import INTERFACES, SCORES, SCREEN, SCREEN_CHAINS
from af3_core.inputs.screen_best import best_first
from af3_core.job import Job, Ligand, Polymer, ScreenChain, ScreenPlace
from workflow.results.screen import screen_table
from workflow.results.screen_chains import chain_rows

PARTNERS = [f"P{n:02}" for n in range(12)]


def _nothing(kind: pa.DataType) -> object:
    if pa.types.is_list(kind):
        return []
    if pa.types.is_boolean(kind):
        return False
    return "" if pa.types.is_string(kind) else 0


def filled(contract: Contract, rows: list[dict[str, object]]) -> pa.Table:
    """A table of a contract in which only some columns matter."""
    empty = {c.name: None if c.nullable else _nothing(c.type) for c in contract.columns}
    return pa.Table.from_pylist([empty | row for row in rows], contract.schema)


def chain_table(jobs: dict[str, list[str]], kind: str = "asked") -> list[dict]:
    """One chain of each partner of each job; A, B, … in order."""
    return [
        {"job_id": job, "chain_id": chr(65 + i), "screen": "s", "kind": kind,
         "partner": partner, "copy": partners[:i].count(partner), "role": "any",
         "num_tokens": 50 + 10 * int(partner[1:3])}
        for job, partners in jobs.items() for i, partner in enumerate(partners)
    ]  # fmt: skip


def interface_table(
    jobs: dict[str, list[str]], seed: int = 0, samples: int = 2
) -> list[dict]:
    """Random scores of every pair of chains in both directions."""
    random = np.random.default_rng(seed)
    rows = []
    for job, partners in jobs.items():
        for sample in range(samples):
            for first, second in permutations(range(len(partners)), 2):
                forward = random.random(4).round(3).tolist()
                rows.append(
                    {"job_id": job, "seed": 1, "sample": sample,
                     "chain_1": chr(65 + first), "chain_2": chr(65 + second),
                     "iptm": forward[0], "ipsae_max": forward[1],
                     "pae_min": forward[2] * 30, "ilis": forward[3], "contacts": 7}
                )  # fmt: skip
    return rows


def score_table(jobs: dict[str, list[str]], best: int = 1) -> list[dict]:
    """Two samples of each job, of which one is the best."""
    return [
        {"job_id": job, "seed": 1, "sample": sample, "name": f"name_{job}",
         "rank": 1 if sample == best else 2}
        for job in jobs for sample in (0, 1)
    ]  # fmt: skip


def made(jobs: dict[str, list[str]], *more: list[dict]) -> pa.Table:
    chains = filled(SCREEN_CHAINS, chain_table(jobs) + [r for m in more for r in m])
    return screen_table(
        chains,
        filled(SCORES, score_table(jobs)),
        filled(INTERFACES, interface_table(jobs)),
    )


def pools() -> dict[str, list[str]]:
    """Six pools of four out of twelve partners, some pairs in several."""
    random = np.random.default_rng(3)
    return {
        f"pool{n}": sorted(random.choice(PARTNERS, 4, replace=False).tolist())
        for n in range(6)
    }


def test_every_pair_of_every_pool_has_one_row() -> None:
    jobs = pools()
    table = made(jobs)
    SCREEN.check(table, where="here")
    met = {pair for ps in jobs.values() for pair in combinations(ps, 2)}
    found = zip(
        table["partner_1"].to_pylist(), table["partner_2"].to_pylist(), strict=True
    )
    assert sorted(found) == sorted(met)


def test_scores_are_means_over_pools_of_the_best_samples() -> None:
    jobs = pools()
    table = made(jobs).to_pylist()
    rows = [r for r in interface_table(jobs) if r["sample"] == 1]
    for row in table:
        found = []
        for job, partners in jobs.items():
            if {row["partner_1"], row["partner_2"]} <= set(partners):
                ids = {chr(65 + partners.index(row[f"partner_{n}"])) for n in (1, 2)}
                found.append(
                    [r for r in rows
                     if r["job_id"] == job and {r["chain_1"], r["chain_2"]} == ids]
                )  # fmt: skip
        assert row["num_jobs"] == len(found)
        best = [max(r["ipsae_max"] for r in both) for both in found]
        assert row["ipsae"] == pytest.approx(np.mean(best))
        assert row["ipsae_max"] == pytest.approx(max(best))
        lowest = [min(r["pae_min"] for r in both) for both in found]
        assert row["pae_min"] == pytest.approx(np.mean(lowest))
        assert row["name"] == f"name_{row['job_id']}"
        assert row["sample"] == 1
        of_job = [r["ipsae_max"] for r in rows if r["job_id"] == row["job_id"]]
        assert any(row["ipsae_max"] == pytest.approx(value) for value in of_job)


def test_the_order_of_chains_and_jobs_decides_nothing() -> None:
    jobs = pools()
    chains, scores, interfaces = (
        filled(SCREEN_CHAINS, chain_table(jobs)),
        filled(SCORES, score_table(jobs)),
        filled(INTERFACES, interface_table(jobs)),
    )
    order = np.random.default_rng(0).permutation
    turned = screen_table(
        *(t.take(pa.array(order(t.num_rows))) for t in (chains, scores, interfaces))
    )
    straight = screen_table(chains, scores, interfaces)
    assert turned.select(["partner_1", "partner_2", "ipsae", "job_id", "chain_1"]) == (
        straight.select(["partner_1", "partner_2", "ipsae", "job_id", "chain_1"])
    )


def test_copies_of_one_partner_are_a_pair_of_their_own() -> None:
    table = made({"dimer": ["P01", "P01"], "mixed": ["P01", "P02"]})
    pairs = [
        (r["partner_1"], r["partner_2"], r["chain_1"], r["chain_2"])
        for r in table.to_pylist()
    ]
    assert pairs == [("P01", "P01", "A", "B"), ("P01", "P02", "A", "B")]


def test_hits_are_compared_with_the_background() -> None:
    asked = {f"a{n}": ["P00", f"P{n:02}"] for n in range(1, 12)}
    background = {f"b{n}": ["P00", f"P01-shuffled{n}"] for n in range(40)}
    chains = chain_table(asked) + chain_table(background, "background")
    jobs = asked | background
    interfaces = interface_table(jobs)
    for row in interfaces:
        row["ipsae_max"] = 0.9 if row["job_id"] == "a3" else row["ipsae_max"] / 2
    table = screen_table(
        filled(SCREEN_CHAINS, chains),
        filled(SCORES, score_table(jobs)),
        filled(INTERFACES, interfaces),
    )
    asked = table.filter(pc.field("kind") == "asked")
    found = best_first(asked, "ipsae").to_pylist()
    assert len(found) == 11 and found[0]["partner_2"] == "P03"
    assert found[0]["ipsae_above"] == 0
    assert {r["background"] for r in found} == {"background"}
    assert {r["background_pairs"] for r in found} == {40}
    assert all(0 <= r["ipsae_above"] <= 1 for r in found)


def test_a_screen_without_background_is_its_own() -> None:
    jobs = {f"{a}{b}": [a, b] for a, b in combinations(PARTNERS, 2)}
    rows = made(jobs).to_pylist()
    assert {r["background"] for r in rows} == {"screen"}
    shares = [r["iptm_above"] for r in rows]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.01)


def test_a_small_screen_is_compared_with_nothing() -> None:
    rows = (
        made(pools() | {}).to_pylist()[:0] or made({"one": ["P01", "P02"]}).to_pylist()
    )
    assert rows[0]["background"] is None and rows[0]["ipsae_above"] is None


def test_baits_that_meet_in_a_pool_were_not_asked_for() -> None:
    jobs = {"pool": ["P00", "P01", "P02", "P03"]}
    chains = chain_table(jobs)
    for row in chains:
        row["role"] = "bait" if row["partner"] in ("P00", "P01") else "prey"
    table = screen_table(
        filled(SCREEN_CHAINS, chains),
        filled(SCORES, score_table(jobs)),
        filled(INTERFACES, interface_table(jobs)),
    )
    kinds = {(r["partner_1"], r["partner_2"]): r["kind"] for r in table.to_pylist()}
    assert kinds.pop(("P00", "P01")) == kinds.pop(("P02", "P03")) == "other"
    assert set(kinds.values()) == {"asked"}


def test_a_low_error_is_the_best_and_nothing_the_worst() -> None:
    table = made({f"a{n}": ["P00", f"P{n:02}"] for n in range(1, 6)})
    errors = best_first(table, "pae_min")["pae_min"].to_pylist()
    assert errors == sorted(errors)
    scores = best_first(table, "ilis")["ilis"].to_pylist()
    assert scores == sorted(scores, reverse=True)


def test_rows_of_chains_say_what_a_job_is_for() -> None:
    chains = (
        ScreenChain("A", "kinase", 0, "bait", 3),
        ScreenChain("B", "alcohol", 0, "prey", 3, "smiles:CCO"),
    )
    entities = (Polymer("protein", ("A",), "MKT"), Ligand(("B",), smiles="CCO"))
    place = ScreenPlace("mine", "asked", chains)
    rows = chain_rows([("1", Job("x", (1,), entities, place=place)),
                       ("2", Job("y", (1,), entities))])  # fmt: skip
    table = SCREEN_CHAINS.table(rows)
    assert table["job_id"].to_pylist() == ["1", "1"]
    assert table["ligand"].to_pylist() == [None, "smiles:CCO"]

"""Asks the tables of one or several campaigns a question in SQL.

    python -m workflow.query "SELECT name, iptm FROM scores WHERE rank = 1" [FOLDER …]

`scores`, `interfaces`, `screen`, `outcomes`, `failures` and `provenance` are the tables
of all folders together, with a column `campaign`; of a campaign that is under way, they
have what is finished. A question about scores that pools
rows of different engines is answered with a warning; one that names `provenance` is not
warned, because it can tell them apart.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import duckdb

from af3_core.job import InputError
from workflow.campaign import Campaign
from workflow.pooling import mixtures
from workflow.so_far import describe_so_far, with_tables

VIEWS = ("scores", "interfaces", "screen", "outcomes", "failures", "provenance")
_POOLED = {"scores", "interfaces", "screen"}


def main(argv: list[str] | None = None) -> int:
    """Prints the answer."""
    parser = argparse.ArgumentParser(prog="workflow.query", description=__doc__)
    parser.add_argument("sql")
    parser.add_argument("campaigns", nargs="*", type=Path, default=[Path()])
    arguments = parser.parse_args(argv)
    try:
        with ExitStack() as stack:
            campaigns = [
                stack.enter_context(with_tables(Campaign(folder)))
                for folder in arguments.campaigns
            ]
            answer, warnings = ask(arguments.sql, campaigns)
            for warning in warnings:
                print(f"warning: {warning}", file=sys.stderr)
            if answer is not None:
                answer.show(max_rows=200)
            for sentence in filter(None, map(describe_so_far, campaigns)):
                print(sentence, file=sys.stderr)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except duckdb.Error as error:
        print(error, file=sys.stderr)
        print(f"Campaigns with results have: {', '.join(VIEWS)}", file=sys.stderr)
        return 2
    return 0


def ask(
    sql: str, campaigns: Sequence[Campaign]
) -> tuple[duckdb.DuckDBPyRelation | None, list[str]]:
    """The answer, and why its rows should not have been pooled, if so.

    Raises:
        duckdb.Error: the question is not SQL, or asks for what is not there.
    """
    connection = duckdb.connect()
    asked = _tables_in(sql, connection)
    for view in VIEWS:
        parts = [
            f"SELECT {_quoted(str(campaign.root))} AS campaign, * "
            f"FROM read_parquet({_quoted(str(path))})"
            for campaign in campaigns
            if (path := campaign.tables / f"{view}.parquet").is_file()
        ]
        if parts:
            union = " UNION ALL BY NAME ".join(parts)
            connection.execute(f"CREATE VIEW {view} AS {union}")
    warnings: list[str] = []
    if asked & _POOLED and "provenance" not in asked:
        warnings = [f"pooled rows of {m}" for m in mixtures(*campaigns)]
    return connection.sql(sql), warnings


def _tables_in(sql: str, connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Tables that a SELECT names; DuckDB takes apart nothing else."""
    found = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
    ((tree,),) = found
    return set(re.findall(r'"table_name":"(\w+)"', tree)) or set(_POOLED)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


if __name__ == "__main__":
    raise SystemExit(main())

"""Takes the alignments of a campaign elsewhere: as one table, or as A3M files.

    python -m workflow.alignments table OUT.parquet
    python -m workflow.alignments a3m   FOLDER

Runs in the campaign's folder after its searches. The table has a row per aligned
sequence, with its species; the folder gets SEQUENCE_ID.unpaired.a3m and, for proteins,
SEQUENCE_ID.paired.a3m. Exported jobs (`*_data.json`) hold the same alignments in
AlphaFold 3's own format.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from af3_core.contracts import ALIGNMENTS, AlignmentRow
from af3_core.job import InputError
from af3_core.msa import Msa, format_a3m, species_id
from workflow.campaign import Campaign
from workflow.databases.manifest import Database, read_manifest, with_role
from workflow.searching.sequences import paired_msa, unpaired_msa
from workflow.settings import Search
from workflow.step import read_chain_rows, read_planned_settings
from workflow.store.entries import Store
from workflow.tables import replacing, write_table

Alignment = tuple[str, str, Msa]
"""Sequence id, pairing and rows."""


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the table or the folder."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow.alignments",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("form", choices=["table", "a3m"])
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args(argv)
    try:
        campaign = Campaign()
        search = read_planned_settings(campaign).search
        found = list(campaign_alignments(campaign, search))
    except (LookupError, InputError) as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.form == "table":
        write_alignments(found, search.profile, arguments.target)
    else:
        write_folder(found, arguments.target)
    print(f"{len(found)} alignments: {arguments.target}")
    return 0


def campaign_alignments(campaign: Campaign, search: Search) -> Iterator[Alignment]:
    """The alignments of every distinct sequence that the campaign searched.

    Raises:
        LookupError: a search is not finished.
    """
    databases, store = read_manifest(search.databases), Store(search.store)
    wanted = {
        (row.sequence_id, row.kind, row.sequence, pairing)
        for row in read_chain_rows(campaign)
        for pairing, is_wanted in (
            ("unpaired", row.search_unpaired),
            ("paired", row.search_paired),
        )
        if is_wanted and row.sequence_id is not None and row.sequence is not None
    }
    for name, kind, sequence, pairing in sorted(wanted):
        if pairing == "unpaired":
            msa = unpaired_msa(sequence, kind, databases, store, search.profile)
            yield name, pairing, msa
        elif _has_paired(databases):
            msa = paired_msa(sequence, databases, store, search.profile)
            yield name, pairing, msa


def _has_paired(databases: Sequence[Database]) -> bool:
    return bool(with_role(databases, "paired"))


def write_alignments(found: Sequence[Alignment], profile: str, path: Path) -> None:
    """Writes all rows of all alignments as one table."""
    rows = [
        AlignmentRow(
            sequence_id=name,
            pairing=pairing,
            rank=rank,
            description=description,
            species=species_id(description),
            row=row,
            profile=profile,
        )
        for name, pairing, msa in found
        for rank, (description, row) in enumerate(
            zip(msa.descriptions, msa.sequences, strict=True), start=1
        )
    ]
    write_table(path, ALIGNMENTS, ALIGNMENTS.table(rows))


def write_folder(found: Sequence[Alignment], folder: Path) -> None:
    """Writes one A3M file per alignment."""
    for name, pairing, msa in found:
        with replacing(folder / f"{name}.{pairing}.a3m") as temporary:
            temporary.write_text(format_a3m(msa), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())

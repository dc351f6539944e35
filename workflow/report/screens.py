"""Screens as the page shows them: pairs by number, an order of partners, drawings."""

import base64
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float
from numpy import ndarray
from rdkit import Chem
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from af3_core.contracts import SCREEN
from af3_core.inputs.screen_best import LOWER_IS_BETTER, best_first
from workflow.report.jobs import ListedJob
from workflow.report.overview import describe_column
from workflow.tables import read_table

MOST_PAIRS = 200_000
"""Pairs on the page, the best first; the table has all."""
MOST_DRAWN = 300
"""Ligands that are drawn, the best first."""
_MOST_CLUSTERED = 2000
_DRAWING = (180, 120)
SHOWN = (
    *("ipsae", "iptm", "ilis", "pdockq2", "pae_min", "interface_plddt", "contacts"),
    *("buried_area", "dockq", "ipsae_corrected", "iptm_corrected", "ilis_corrected"),
)
"""Scores that the matrix can be coloured by."""


def describe_screens(tables: Path, rows: tuple[ListedJob, ...]) -> list[dict[str, Any]]:
    """Every screen of a campaign, or nothing.

    Args:
        tables: the campaign's.
        rows: of the table of jobs, which pairs are led to by number.
    """
    path = tables / "screen.parquet"
    if not path.is_file():
        return []
    table = read_table(path, SCREEN)
    names = pc.unique(table["screen"]).to_pylist()  # pyright: ignore[reportAttributeAccessIssue]
    row_of = {row.job_id: index for index, row in enumerate(rows)}
    return [
        _describe(table.filter(pc.field("screen") == name), name, row_of)
        for name in names
    ]


def _describe(
    table: pa.Table, name: str, row_of: dict[str | None, int]
) -> dict[str, Any]:
    is_scored = table["ipsae"].null_count < table.num_rows
    by = "ipsae" if is_scored else "iptm"
    table = best_first(table, by)
    num_pairs, table = table.num_rows, table.slice(0, MOST_PAIRS)
    first, second = (table[f"partner_{n}"].to_pylist() for n in (1, 2))
    is_asked = [kind != "background" for kind in table["kind"].to_pylist()]
    sides = _sides(table)
    partners = sorted(sides)
    number = {partner: index for index, partner in enumerate(partners)}
    columns = [c for c in SCREEN.columns if c.name in SHOWN]
    scores = {c.name: _rounded(table[c.name]) for c in columns}
    scores |= {f"{s}_above": _rounded(table[f"{s}_above"]) for s in ("ipsae", "iptm")}
    return {
        "name": name,
        "num_pairs": num_pairs,
        "by": by,
        "fields": [
            describe_column(c) | {"low_is_best": c.name in LOWER_IS_BETTER}
            for c in columns
            if any(value is not None for value in scores[c.name])
        ],
        "partners": partners,
        "sides": [sides[partner] for partner in partners],
        "clustered": _cluster(table, number, by),
        "first": [number[p] for p in first],
        "second": [number[p] for p in second],
        "asked": is_asked,
        "kind": table["kind"].to_pylist(),
        "num_jobs": table["num_jobs"].to_pylist(),
        "row": [row_of.get(job) for job in table["job_id"].to_pylist()],
        "background": table["background"][0].as_py() if num_pairs else None,
        "background_pairs": table["background_pairs"][0].as_py() if num_pairs else 0,
        "valid": table["ligand_valid"].to_pylist(),
        "scores": scores,
        "drawings": _drawings(table, is_asked),
    }


def _sides(table: pa.Table) -> dict[str, str]:
    """Every partner's role; that of background partners is background."""
    sides: dict[str, str] = {}
    kinds = table["kind"].to_pylist()
    for n in (1, 2):
        partners, roles = table[f"partner_{n}"], table[f"role_{n}"]
        for partner, role, kind in zip(
            partners.to_pylist(), roles.to_pylist(), kinds, strict=True
        ):
            if kind == "background":
                sides.setdefault(partner, "background")
            else:
                sides[partner] = role
    return sides


def _rounded(column: pa.ChunkedArray) -> list[float | None]:
    if pa.types.is_integer(column.type):
        return column.to_pylist()
    found = (None if value is None else round(value, 4) for value in column.to_pylist())
    return list(found)


def _cluster(table: pa.Table, number: dict[str, int], by: str) -> list[int]:
    """An order in which partners with like scores stand together."""
    size = len(number)
    if not 2 < size <= _MOST_CLUSTERED:
        return list(range(size))
    matrix: Float[ndarray, "n n"] = np.zeros((size, size))
    first = [number[p] for p in table["partner_1"].to_pylist()]
    second = [number[p] for p in table["partner_2"].to_pylist()]
    values = np.nan_to_num(table[by].cast(pa.float64()).to_numpy())
    matrix[first, second] = matrix[second, first] = values
    # Two partners are near if they score alike with all others.
    squares = (matrix**2).sum(axis=1)
    apart = squares[:, None] + squares[None, :] - 2 * matrix @ matrix.T
    distance = np.sqrt(np.maximum(apart, 0.0))
    np.fill_diagonal(distance, 0.0)
    condensed = squareform(distance, checks=False)
    return leaves_list(linkage(condensed, "average")).tolist()


def _drawings(table: pa.Table, is_asked: list[bool]) -> dict[int, str]:
    """Pictures of ligands by pair, as data for an image; the best first."""
    found: dict[int, str] = {}
    for index, text in enumerate(table["ligand"].to_pylist()):
        if text is None or not is_asked[index]:
            continue
        try:
            picture = draw_ligand(text)
        except ImportError as error:
            print(f"report: ligands are not drawn: {error}", file=sys.stderr)
            return {}
        if picture is not None:
            found[index] = picture
        if len(found) == MOST_DRAWN:
            break
    return found


def draw_ligand(text: str) -> str | None:
    """A ligand in two dimensions as base64 of SVG; None for component codes."""
    # Drawing alone needs libraries of X, which a bare server may lack.
    from rdkit.Chem.Draw import rdMolDraw2D

    kind, _, smiles = text.partition(":")
    molecule = Chem.MolFromSmiles(smiles) if kind == "smiles" else None
    if molecule is None:
        return None
    drawer = rdMolDraw2D.MolDraw2DSVG(*_DRAWING)
    drawer.drawOptions().clearBackground = False
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, molecule)
    drawer.FinishDrawing()
    return base64.b64encode(drawer.GetDrawingText().encode()).decode()

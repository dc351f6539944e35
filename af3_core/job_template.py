"""Whether a structural template that the user gives can be used at all."""

import re
from dataclasses import dataclass

import gemmi

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_UNSET = frozenset("?.")


@dataclass(frozen=True)
class TemplateProblem:
    """What is wrong, as a sentence of what is allowed."""

    allowed: str


def count_template_residues(mmcif: str) -> int | TemplateProblem:
    """Residues of the template's only polymer chain, unresolved ones included.

    AlphaFold 3 requires one polymer chain and a release date; it counts residues by
    `_pdbx_poly_seq_scheme` and, where a file has none, by its atoms.
    """
    try:
        document = gemmi.cif.read_string(mmcif)
    except (ValueError, RuntimeError) as error:
        return TemplateProblem(f"mmCIF text ({str(error)[:120]})")
    if len(document) == 0:
        return TemplateProblem("mmCIF text with a data block")
    block = document[0]
    dates = list(block.find_values("_pdbx_audit_revision_history.revision_date"))
    if not dates or not all(_DATE.fullmatch(gemmi.cif.as_string(day)) for day in dates):
        return TemplateProblem(
            "an mmCIF file with its release date (YYYY-MM-DD) in"
            " _pdbx_audit_revision_history.revision_date"
        )
    residues = _residues_by_chain(block)
    if len(residues) != 1:
        return TemplateProblem(
            f"an mmCIF file with exactly one polymer chain; this one has"
            f" {len(residues)}"
        )
    [chain] = residues.values()
    return len(chain)


def _residues_by_chain(block: gemmi.cif.Block) -> dict[str, set[str]]:
    scheme = block.find("_pdbx_poly_seq_scheme.", ["asym_id", "seq_id"])
    rows = scheme or block.find("_atom_site.", ["label_asym_id", "label_seq_id"])
    residues: dict[str, set[str]] = {}
    for asym_id, seq_id in rows:
        if seq_id not in _UNSET:
            residues.setdefault(asym_id, set()).add(seq_id)
    return residues

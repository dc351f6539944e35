"""Whether a structural template that the user gives can be used, as quickly as can be.

`templates.structure` is the judge. A file that lists the residues of its only chain, as
those of the PDB and of AlphaFold 3 do, need not be read atom by atom.
"""

import re
from functools import lru_cache

import gemmi

from af3_core.job import Template
from af3_core.templates.structure import read_template_chain

_DATE = re.compile(r"'?\d{4}-\d{2}-\d{2}'?")
# Letters that BLOSUM62 has no row for.
_SCORED = str.maketrans("JOU", "LKC")
_SCHEME = ("asym_id", "seq_id", "pdb_seq_num", "pdb_ins_code", "pdb_strand_id")


def count_template_residues(mmcif: str) -> int:
    """Residues of the template's only protein chain, unresolved ones included.

    Raises:
        ValueError: a sentence saying why the text is no usable template.
    """
    return _count(mmcif)[0]


def count_residues_before(mmcif: str) -> int:
    """Residues of other chains that stand before the protein; AlphaFold 3 counts them.

    Raises:
        ValueError: it is no usable template.
    """
    return _count(mmcif)[1]


@lru_cache(maxsize=64)
def _count(mmcif: str) -> tuple[int, int]:
    """Both counts; those of a job's templates are asked for twice."""
    try:
        document = gemmi.cif.read_string(mmcif)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"it is not mmCIF: {str(error)[:160]}") from error
    if len(document) == 1 and _is_plain(document[0]):
        labels = document[0].find_values("_pdbx_poly_seq_scheme.seq_id")
        return len(set(labels)), 0
    chain = read_template_chain(mmcif)
    return len(chain.residues), len(chain.before)


def _is_plain(block: gemmi.cif.Block) -> bool:
    scheme = block.find("_pdbx_poly_seq_scheme.", _SCHEME)
    dates = block.find_values("_pdbx_audit_revision_history.revision_date")
    kinds = block.find_values("_entity_poly.type")
    return (
        len(scheme) > 0
        and len(set(scheme.column(0))) == 1
        and set(block.find_values("_atom_site.label_asym_id")) == set(scheme.column(0))
        and [gemmi.cif.as_string(kind) for kind in kinds] == ["polypeptide(L)"]
        and len(dates) > 0
        and all(_DATE.fullmatch(date) for date in dates)
    )


def align_template(mmcif: str, query: str) -> Template:
    """A template with its residues found by aligning its sequence to the query's.

    A global alignment by BLOSUM62 whose ends cost nothing; residues side by side are
    mapped.

    Raises:
        ValueError: a sentence saying why the text is no usable template.
    """
    from Bio.Align import PairwiseAligner, substitution_matrices

    count_template_residues(mmcif)
    target = read_template_chain(mmcif).letters
    aligner = PairwiseAligner(
        mode="global",
        substitution_matrix=substitution_matrices.load("BLOSUM62"),
        open_gap_score=-11,
        extend_gap_score=-1,
        end_gap_score=0,
    )
    best = aligner.align(query.translate(_SCORED), target.translate(_SCORED))[0]
    pairs = [
        (start + offset, other + offset)
        for (start, end), (other, _) in zip(*best.aligned, strict=True)
        for offset in range(end - start)
    ]
    if not pairs:
        raise ValueError("none of its residues align with the sequence")
    query_indices, template_indices = zip(*pairs, strict=True)
    return Template(
        mmcif, tuple(map(int, query_indices)), tuple(map(int, template_indices))
    )

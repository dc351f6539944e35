"""One chain as MSA and template features see it: its tokens and what was found for it.

A standard residue is one token; a modified residue and a ligand have one token per
atom. Alignments and templates have one column per residue of a polymer, and one per
token of a ligand.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from af3_core.job import Template
from af3_core.residue_letters import residue_letters

ChainKind = Literal["protein", "rna", "dna", "ligand"]

_NUCLEOTIDE_LETTERS = frozenset("ACGTUN")


@dataclass(frozen=True)
class ChainInput:
    """A chain of the job. Alignments are A3M text; "" means the query alone."""

    chain_id: str
    kind: ChainKind
    token_residue_names: tuple[str, ...]
    """Component code of each token's residue."""
    token_residue_ids: tuple[int, ...]
    """1-based residue number of each token, ascending."""
    unpaired_msa: str = ""
    paired_msa: str = ""
    templates: tuple[Template, ...] = ()


def token_columns(chain: ChainInput) -> Int[ndarray, "n"]:
    """The alignment column of each token; tokens of one modified residue share it."""
    if chain.kind == "ligand":
        return np.arange(len(chain.token_residue_ids))
    residue_ids = np.asarray(chain.token_residue_ids, np.int64)
    return np.cumsum(np.diff(residue_ids, prepend=residue_ids[:1]) != 0)


def chain_letters(chain: ChainInput) -> str:
    """One-letter codes of a polymer's residues, modified ones by their parent.

    In nucleic acids, letters that are no nucleotide's become N.
    """
    columns = token_columns(chain)
    first_tokens = np.flatnonzero(np.diff(columns, prepend=-1))
    names = [chain.token_residue_names[i] for i in first_tokens]
    if chain.kind == "protein":
        return residue_letters(names, unknown="X")
    letters = residue_letters(names, unknown="N")
    return "".join(c if c in _NUCLEOTIDE_LETTERS else "N" for c in letters)

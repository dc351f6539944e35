"""Tokens and atom layouts: one token per standard residue, else one per heavy atom.

AF3 SI 2.6. Three layouts of the same atoms occur:

    flat        a        every predicted atom, chain by chain, in dictionary order
    token atoms n × 24   the slots of each token; a slot may be empty
    windows     w × 32   flat atoms cut into windows of queries (`windows.py`)

`TokenTable` ties the first two together. Features that exist once per residue (MSA
columns, template residues) are spread over tokens by `column`: all tokens of a
residue that was split into atoms share one column.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from af3_core.chains import Chain
from af3_core.residues import residue_class

NUM_ATOM_SLOTS = 24
"""Slots of a token: the largest standard residue (a nucleotide) has 23 atoms."""


@dataclass(frozen=True)
class Atom:
    """One predicted atom of the flat layout."""

    chain_index: int
    residue_id: int
    """1-based within the chain."""
    name: str
    element: str
    """As the dictionary writes it (Fe is FE), SMILES ligands as RDKit does."""


@dataclass(frozen=True)
class ChainTokens:
    """One chain in token space. Chains come in the order of their tokens.

    For homomers A3B2: asym_id 1 2 3 4 5, entity_id 1 1 1 2 2, sym_id 1 2 3 1 2.
    """

    chain: Chain
    asym_id: int
    entity_id: int
    sym_id: int
    tokens: slice
    """Its tokens, contiguous."""
    columns: slice
    """Its MSA columns: one per residue of a polymer, one per atom of a ligand."""


@dataclass(frozen=True, eq=False)
class TokenTable:
    """All tokens of a job, unpadded."""

    chains: tuple[ChainTokens, ...]
    atoms: tuple[Atom, ...]
    """The flat layout."""
    chain_index: Int[np.ndarray, "n"]
    """Position in `chains`."""
    residue_id: Int[np.ndarray, "n"]
    """1-based residue number within the chain."""
    residue_name: tuple[str, ...]
    """Component code of the token's residue."""
    centre_atom: Int[np.ndarray, "n"]
    """Flat index of the atom that stands for the token (C-alpha, C1', the atom)."""
    is_split: Bool[np.ndarray, "n"]
    """True for tokens of a single atom."""
    column: Int[np.ndarray, "n"]
    """MSA column, counted through all chains (AF3's code: standard_token_idxs)."""
    slot_atoms: Int[np.ndarray, "n x"]
    """Flat index of the atom in each slot; -1 for an empty slot."""

    @property
    def num_tokens(self) -> int:
        return len(self.residue_id)

    @property
    def num_columns(self) -> int:
        """MSA columns of the whole job."""
        return self.chains[-1].columns.stop

    @property
    def residue_type(self) -> Int[np.ndarray, "n"]:
        """Index into the 31 residue classes."""
        kinds = [self.chains[i].chain.kind for i in self.chain_index]
        return np.array(
            [
                residue_class(c, k)
                for c, k in zip(self.residue_name, kinds, strict=True)
            ],
            dtype=np.int32,
        )

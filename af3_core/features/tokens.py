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

from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.molecules import SmilesError, smiles_component
from af3_core.chemistry.residues import is_one_token, residue_class
from af3_core.features.assembly import (
    Assembly,
    ChemistryError,
    dropped_atoms,
    layout_atoms,
)
from af3_core.features.chains import Chain

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
    """MSA column, counted through all chains (AF3's code: standard_token_idxs). Atoms
    of a ligand's component take as many columns as there are, but all use the first."""
    slot_atoms: Int[np.ndarray, "n x"]
    """Flat index of the atom in each slot; -1 for an empty slot."""

    @property
    def num_tokens(self) -> int:
        """How many tokens the job has."""
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


def tokenise(assembly: Assembly, components: Components) -> TokenTable:
    """Lays out the atoms of an assembly and makes tokens of them. AF3 SI 2.6.

    Raises:
        ChemistryError: a bond names an atom that is not predicted.
    """
    builder = _Builder([], [], [], [], [], [], [], [])
    chains = []
    num_columns = 0
    for chain in assembly.chains:
        start, first_column = len(builder.residue_ids), num_columns
        for residue_id in range(1, len(chain.codes) + 1):
            residue = _lay_out(chain, residue_id, assembly, components)
            num_columns += builder.add(residue, len(chains), num_columns)
        if len(builder.residue_ids) > start:
            tokens = slice(start, len(builder.residue_ids))
            chains.append((chain, tokens, slice(first_column, num_columns)))
    table = builder.table(_number_chains(chains, builder.residue_names))
    _check_bonds(assembly, table)
    return table


@dataclass(frozen=True)
class _Residue:
    chain: Chain
    residue_id: int
    code: str
    slots: tuple[tuple[str, str], ...]
    """Names and elements of all heavy atoms."""
    dropped: frozenset[str]


def _lay_out(
    chain: Chain, residue_id: int, assembly: Assembly, components: Components
) -> _Residue:
    code = chain.codes[residue_id - 1]
    if chain.smiles is None:
        component = components[code]
    else:
        try:
            component = smiles_component(chain.smiles, code)
        except SmilesError as error:
            message = f"the SMILES of chain {chain.chain_id} cannot be used: {error}"
            raise ChemistryError(message) from error
    return _Residue(
        chain,
        residue_id,
        code,
        layout_atoms(component, components),
        dropped_atoms(chain, residue_id, assembly, components),
    )


@dataclass(frozen=True)
class _Builder:
    """Columns of a token table under construction."""

    atoms: list[Atom]
    chain_indices: list[int]
    residue_ids: list[int]
    residue_names: list[str]
    centres: list[int]
    is_split: list[bool]
    columns: list[int]
    slots: list[list[int]]

    def add(self, residue: _Residue, chain_index: int, column: int) -> int:
        """Adds the tokens of a residue; returns how many MSA columns it takes."""
        chain = residue.chain
        first = len(self.atoms)
        names = []
        slots = []
        for name, element in residue.slots:
            if name in residue.dropped:
                slots.append(-1)
                continue
            slots.append(len(self.atoms))
            names.append(name)
            self.atoms.append(Atom(chain_index, residue.residue_id, name, element))
        if is_one_token(residue.code, chain.kind):
            if names:
                wanted = "CA" if chain.kind == "protein" else "C1'"
                centre = first + (names.index(wanted) if wanted in names else 0)
                self._add_token(residue, chain_index, centre, column, slots)
            return 1
        for atom in range(first, first + len(names)):
            self._add_token(residue, chain_index, atom, column, [atom], is_split=True)
        return 1 if chain.is_polymer else len(names)

    def _add_token(
        self,
        residue: _Residue,
        chain_index: int,
        centre: int,
        column: int,
        slots: list[int],
        *,
        is_split: bool = False,
    ) -> None:
        self.chain_indices.append(chain_index)
        self.residue_ids.append(residue.residue_id)
        self.residue_names.append(residue.code)
        self.centres.append(centre)
        self.is_split.append(is_split)
        self.columns.append(column)
        slots = slots[:NUM_ATOM_SLOTS]
        self.slots.append(slots + [-1] * (NUM_ATOM_SLOTS - len(slots)))

    def table(self, chains: tuple[ChainTokens, ...]) -> TokenTable:
        return TokenTable(
            chains=chains,
            atoms=tuple(self.atoms),
            chain_index=np.array(self.chain_indices, dtype=np.int32),
            residue_id=np.array(self.residue_ids, dtype=np.int32),
            residue_name=tuple(self.residue_names),
            centre_atom=np.array(self.centres, dtype=np.int32),
            is_split=np.array(self.is_split, dtype=bool),
            column=np.array(self.columns, dtype=np.int32),
            slot_atoms=np.array(self.slots, dtype=np.int32),
        )


def _number_chains(
    chains: list[tuple[Chain, slice, slice]], residue_names: list[str]
) -> tuple[ChainTokens, ...]:
    """Numbers chains, distinct chains (by residues of their tokens) and copies."""
    entities: dict[tuple[str, ...], list[int]] = {}
    numbered = []
    for asym_id, (chain, tokens, columns) in enumerate(chains, start=1):
        key = tuple(residue_names[tokens])
        copies = entities.setdefault(key, [])
        copies.append(asym_id)
        entity_id = list(entities).index(key) + 1
        numbered.append(
            ChainTokens(chain, asym_id, entity_id, len(copies), tokens, columns)
        )
    return tuple(numbered)


def _check_bonds(assembly: Assembly, table: TokenTable) -> None:
    chain_ids = [c.chain.chain_id for c in table.chains]
    atoms = {(chain_ids[a.chain_index], a.residue_id, a.name) for a in table.atoms}
    for bond in (*assembly.polymer_ligand_bonds, *assembly.ligand_ligand_bonds):
        for end in bond:
            if (end.chain_id, end.residue_id, end.atom_name) not in atoms:
                raise ChemistryError(
                    f"atom {end.atom_name!r} of residue {end.residue_id} of chain "
                    f"{end.chain_id} is bonded but not predicted: it leaves when its "
                    "residue joins the chain, or the ligand has no such atom"
                )

"""Compares our features with OpenFold3's, and feeds its network with ours.

Ours take the place of the recorded ones group by group. A group stays as recorded where
OpenFold3 is known to differ (docs/weights.md): conformers, which it draws anew in every
run, paired rows of alignments, and everything about tokens and atoms where it cuts or
completes residues differently; what both sides have is compared all the same. Its
dictionary of components is older: charges of those with metals were revised since.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy import ndarray

from af3_core.chemistry.dictionary import Components
from af3_core.features.featurise import featurise
from af3_core.features.tokens import NUM_ATOM_SLOTS
from af3_core.features.values import Features
from af3_core.model.batch import Batch, Msa, TemplatePairs, pad
from af3_core.model.config import ModelConfig
from af3_core.model.conventions import displace_unknown_nucleotides, follow
from af3_core.model.embedding import token_bond_matrix
from af3_core.model.templates import measure, read_template
from tests.parity.comparison import Comparison, compare_exactly, compare_relative
from tests.parity_openfold3.recorded import Case, Layout

FLOAT_TOLERANCE = 1e-5
_COMPLETED = {("UNK", "CB"), ("UNK", "CG")}
_TERMINAL = {"OXT", "OP3"}
_SPLIT = "MSE"
_SUGAR_LEAVING = "O1"
_NONMETALS = (1, *range(5, 10), *range(14, 18), *range(33, 36), 53)
type Found = Iterator[Comparison | str]
"""Comparisons, and notes on what is not compared."""
type AtomKey = tuple[str, int, str]
"""Chain, residue, and name of an atom; no name where a token has several atoms."""


class Atoms(NamedTuple):
    """The flat atoms of one side."""

    keys: Sequence[AtomKey]
    codes: Sequence[str]
    """Of their components."""
    token: ndarray
    slot: ndarray

    def tokens(self) -> list[AtomKey]:
        """What each token stands for."""
        first = np.flatnonzero(np.diff(self.token, prepend=-1))
        counts = np.bincount(self.token)[self.token[first]]
        return [
            self.keys[i] if count == 1 else (*self.keys[i][:2], "")
            for i, count in zip(first.tolist(), counts.tolist(), strict=True)
        ]


class Shared(NamedTuple):
    """Where the items are that both sides have, in the order of the record."""

    ours: ndarray
    theirs: ndarray
    is_all: bool
    """Both sides have nothing else, and the same order."""


def _share(ours: Sequence[AtomKey], theirs: Sequence[AtomKey]) -> Shared:
    place = {key: i for i, key in enumerate(ours)}
    both = [(place[key], i) for i, key in enumerate(theirs) if key in place]
    pairs = np.array(both, np.int64).reshape(-1, 2)
    return Shared(pairs[:, 0], pairs[:, 1], list(ours) == list(theirs))


class OwnFeatures:
    """Our features of a case, following the conventions of a network."""

    def __init__(self, case: Case, config: ModelConfig) -> None:
        self.case, self.config = case, config
        self._components = Components.load(case.job.user_ccd)
        self.features: Features = featurise(case.job, self._components)
        shape = self.features.num_tokens, NUM_ATOM_SLOTS, 3
        num_padded = max(case.num_padded, self.features.num_tokens)
        batch = pad(
            self.features,
            np.zeros(shape, np.float32),
            num_padded,
            msa_rows=max(len(self.features.msa.rows), 1),
        )
        self.own: Batch = follow(batch, config.conventions)
        self.batch: Batch = displace_unknown_nucleotides(case.batch, config.conventions)
        self._ours, self._theirs = self._own_atoms(), _recorded_atoms(case)
        self._atoms = _share(self._ours.keys, self._theirs.keys)
        self._tokens = _share(self._ours.tokens(), self._theirs.tokens())

    def compare(self) -> Found:
        """Everything that can be compared; `batch` is what the network is fed with."""
        unexplained = [a for a in self._different_atoms() if not self._is_known(*a)]
        yield Comparison(
            "atoms (beyond known differences)",
            (len(self._theirs.keys),),
            float(len(unexplained)),
            0.0,
            "unequal",
        )
        for name, shared in (("atoms", self._atoms), ("tokens", self._tokens)):
            if not shared.is_all:
                yield f"{name}: as recorded; only those that both have are compared"
            order = np.arange(len(shared.ours))
            ranks = np.argsort(np.argsort(shared.ours))
            yield compare_exactly(f"{name} (order)", ranks, order)
        yield from self._compare_tokens()
        yield from self._compare_bonds()
        yield from self._compare_alignment()
        yield from self._compare_templates()
        yield from self._compare_atoms()

    def _own_atoms(self) -> Atoms:
        atoms, chains = self.features.atoms, self.features.chains
        kept = np.asarray(self.own.predicted_atom_mask)[atoms.token_index, atoms.slot]
        index = np.flatnonzero(kept).tolist()
        keys = [
            (
                chains.chain_id[atoms.chain_index[i]],
                int(atoms.residue_id[i]),
                str(atoms.atom_name[i]),
            )
            for i in index
        ]
        codes = [str(atoms.residue_name[i]) for i in index]
        return Atoms(keys, codes, atoms.token_index[index], atoms.slot[index])

    def _different_atoms(self) -> list[tuple[AtomKey, str]]:
        """Atoms that only one side has, and their components."""
        ours, theirs = (
            dict(zip(side.keys, side.codes, strict=True))
            for side in (self._ours, self._theirs)
        )
        known = ours | theirs
        return [(key, known[key]) for key in sorted(ours.keys() ^ theirs.keys())]

    def _is_known(self, atom: AtomKey, code: str) -> bool:
        chain, residue, name = atom
        bonded = {
            (a.chain_id, a.residue_id) for bond in self.case.job.bonds for a in bond
        }
        is_sugars = name == _SUGAR_LEAVING and self._components.is_glycan(code)
        return (
            (code, name) in _COMPLETED
            or name in _TERMINAL
            or code == _SPLIT
            or is_sugars
            or (chain, residue) in bonded
        )

    def _both(self, ours: Any, theirs: Any, axis: int = 0) -> tuple[ndarray, ndarray]:
        """Values of the tokens that both sides have."""
        shared = self._tokens
        return (
            np.take(np.asarray(ours), shared.ours, axis),
            np.take(np.asarray(theirs), shared.theirs, axis),
        )

    def _both_pairs(self, ours: Any, theirs: Any, axis: int = 0) -> Any:
        return self._both(*self._both(ours, theirs, axis), axis=axis + 1)

    def _compare_tokens(self) -> Found:
        own, recorded = self.own.tokens, self.batch.tokens
        for name in vars(own):
            if name == "token_index" and not self._tokens.is_all:
                continue
            ours, theirs = self._both(getattr(own, name), getattr(recorded, name))
            if name in ("asym_id", "entity_id"):
                # They are numbered differently; only equality reaches the network.
                ours, theirs = (x[:, None] == x[None, :] for x in (ours, theirs))
            yield compare_exactly(f"tokens.{name}", ours, theirs)
        if self._tokens.is_all:
            self.batch = replace(self.batch, tokens=own)

    def _compare_bonds(self) -> Found:
        matrices = (
            token_bond_matrix(
                jax.tree.map(np.asarray, batch.bonds),
                len(batch.tokens.mask),
                symmetric=True,
            )
            for batch in (self.own, self.batch)
        )
        yield compare_exactly("bonds", *self._both_pairs(*matrices))
        if self._tokens.is_all:
            self.batch = replace(self.batch, bonds=self.own.bonds)

    def _compare_alignment(self) -> Found:
        own, recorded = self.own.msa, self.batch.msa
        for name in ("profile", "deletion_mean"):
            ours, theirs = self._both(getattr(own, name), getattr(recorded, name))
            yield compare_relative(f"msa.{name}", ours, theirs, None, FLOAT_TOLERANCE)
        if self._tokens.is_all:
            profile, deletion_mean = own.profile, own.deletion_mean
            msa = replace(recorded, profile=profile, deletion_mean=deletion_mean)
            self.batch = replace(self.batch, msa=msa)
        if int(self.case.feature("num_paired_seqs").item()) > 1:
            yield "msa.rows: as recorded; OpenFold3 pairs rows otherwise"
            return
        ours, theirs = self._both(_with_deletions(own), _with_deletions(recorded), 1)
        # OpenFold3 has the query again where we do not.
        distinct = (np.unique(x, axis=0) for x in (ours, theirs))
        yield compare_exactly("msa.rows (distinct, in any order)", *distinct)
        ours, theirs = (x.reshape(len(x), -1) for x in (ours, theirs))
        ranks, their_ranks = (np.lexsort(x.T[::-1]) for x in (ours, theirs))
        if not np.array_equal(ours[ranks], theirs[their_ranks]):
            yield "msa.rows: as recorded; OpenFold3 repeats some"
        elif self._tokens.is_all:
            to_theirs = ranks[np.argsort(their_ranks)]
            msa = replace(
                own,
                rows=own.rows[to_theirs],
                mask=own.mask[to_theirs],
                deletion_matrix=own.deletion_matrix[to_theirs],
            )
            self.batch = replace(self.batch, msa=msa)

    def _compare_templates(self) -> Found:
        recorded = self.batch.templates
        if not isinstance(recorded, TemplatePairs):
            raise TypeError("recorded templates are pairs")
        own = self._described_templates(len(recorded.residue_type))
        for name in ("residue_type", "pseudo_beta_mask", "frame_mask"):
            ours, theirs = self._both(getattr(own, name), getattr(recorded, name), 1)
            yield compare_exactly(f"templates.{name}", ours, theirs)
        for name in ("distances", "directions"):
            both = self._both_pairs(getattr(own, name), getattr(recorded, name), 1)
            yield compare_relative(f"templates.{name}", *both, None, FLOAT_TOLERANCE)
        if self._tokens.is_all:
            self.batch = replace(self.batch, templates=self.own.templates)

    def _described_templates(self, count: int) -> TemplatePairs:
        """Our templates as pairs, zero where there is none."""
        asym_id = jnp.asarray(self.own.tokens.asym_id)
        same_chain = asym_id[:, None] == asym_id[None, :]
        bins, conventions = self.config.templates.distance_bins, self.config.conventions

        def describe(i: int) -> TemplatePairs:
            one = jax.tree.map(lambda x: jnp.asarray(x[i : i + 1]), self.own.templates)
            read = read_template(one, asym_id, conventions, jnp.dtype("float32"))
            distances, directions = measure(read, read, bins, conventions)

            def masked(values: jax.Array, mask: jax.Array) -> jax.Array:
                both = mask[:, None] & mask[None, :] & same_chain
                return jnp.where(both[..., None], values, 0.0)

            return TemplatePairs(
                one.residue_type,
                masked(distances, read.has_pseudo_beta)[None],
                read.has_pseudo_beta[None],
                masked(directions, read.has_frame)[None],
                read.has_frame[None],
            )

        described = [describe(i) for i in range(count)]
        return jax.tree.map(
            lambda *x: np.concatenate([np.asarray(y) for y in x]), *described
        )

    def _compare_atoms(self) -> Found:
        """Conformers are taken from the record: they are random."""
        own, recorded = self.own.reference, self.batch.reference
        of_atoms = {
            name: tuple(
                np.asarray(getattr(values, name))[side.token[at], side.slot[at]]
                for values, side, at in (
                    (own, self._ours, self._atoms.ours),
                    (recorded, self._theirs, self._atoms.theirs),
                )
            )
            for name in ("mask", "element", "charge", "atom_name_chars", "space_uid")
        }
        charges = of_atoms.pop("charge")
        of_atoms["space_uid"] = tuple(
            np.unique(x, return_inverse=True)[1] for x in of_atoms["space_uid"]
        )
        for name, both in of_atoms.items():
            yield compare_exactly(f"atoms.{name}", *both)
        of_metals = self._is_with_metal(of_atoms["element"][0])
        if not np.array_equal(*(x[of_metals] for x in charges)):
            charges = tuple(np.where(of_metals, 0, x) for x in charges)
            yield "atoms.charge: as recorded of components with metals"
        yield compare_relative("atoms.charge", *charges, None, FLOAT_TOLERANCE)
        if not (self._atoms.is_all and self._tokens.is_all):
            return
        layout = Layout(self._ours.token, self._ours.slot)

        def spread(name: str) -> ndarray:
            return layout.spread(self.case.feature(name), len(self.own.tokens.mask))

        charge = spread("ref_charge").astype(np.float32)
        self.batch = replace(
            self.batch,
            reference=replace(own, positions=spread("ref_pos"), charge=charge),
            windows=self.own.windows,
            pseudo_beta=self.own.pseudo_beta,
            predicted_atom_mask=self.own.predicted_atom_mask,
        )

    def _is_with_metal(self, elements: ndarray) -> ndarray:
        """Shared atoms of residues that have an atom of a metal."""
        residues = [self._theirs.keys[i][:2] for i in self._atoms.theirs.tolist()]
        is_metal = ~np.isin(elements, _NONMETALS)
        metals = {r for r, is_one in zip(residues, is_metal, strict=True) if is_one}
        return np.array([residue in metals for residue in residues], bool)


def _recorded_atoms(case: Case) -> Atoms:
    columns = (case.arrays[f"atoms.{x}"] for x in ("chain_id", "res_id", "atom_name"))
    keys = [
        (str(chain), int(residue), str(name))
        for chain, residue, name in zip(*columns, strict=True)
    ]
    codes = case.arrays["atoms.res_name"].tolist()
    return Atoms(keys, codes, case.layout.token, case.layout.slot)


def _with_deletions(msa: Msa) -> ndarray:
    """[rows tokens 2]: what stands there, and how much was deleted before."""
    both = (np.asarray(x).astype(np.int32) for x in (msa.rows, msa.deletion_matrix))
    return np.stack(tuple(both), axis=-1)

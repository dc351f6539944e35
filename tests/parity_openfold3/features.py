"""Compares our features with OpenFold3's, and feeds its network with ours.

Ours take the place of the recorded ones group by group. A group stays as recorded where
OpenFold3 is known to differ (docs/weights.md): conformers, which it draws anew in every
run, paired rows of alignments, and residues that it cuts or completes differently.
"""

from collections.abc import Iterator
from dataclasses import replace

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
from tests.parity_openfold3.recorded import Case

FLOAT_TOLERANCE = 1e-5
_COMPLETED = {("UNK", "CB"), ("UNK", "CG")}
_TERMINAL = {"OXT", "OP3"}
_SPLIT = "MSE"
type Found = Iterator[Comparison | str]
"""Comparisons, and notes on what is not compared."""
type AtomKey = tuple[str, int, str]


class OwnFeatures:
    """Our features of a case, following the conventions of a network."""

    def __init__(self, case: Case, config: ModelConfig) -> None:
        self.case, self.config = case, config
        components = Components.load(case.job.user_ccd)
        self.features: Features = featurise(case.job, components)
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

    def compare(self) -> Found:
        """Everything that can be compared; `batch` is what the network is fed with."""
        different = self._different_atoms()
        unexplained = [atom for atom in different if not self._is_known(atom)]
        yield Comparison(
            "atoms (beyond known differences)",
            (len(self.case.arrays["atoms.atom_name"]),),
            float(len(unexplained)),
            0.0,
            "unequal",
        )
        counts = np.bincount(self.case.layout.token)
        theirs = np.asarray(self.own.predicted_atom_mask).sum(-1)
        if self.features.num_tokens != self.case.num_tokens:
            yield "tokens: as recorded; OpenFold3 cuts other residues into atoms"
            return
        yield from self._compare_tokens()
        yield from self._compare_bonds()
        yield from self._compare_alignment()
        yield from self._compare_templates()
        if different or not np.array_equal(theirs[: len(counts)], counts):
            yield "atoms: as recorded; OpenFold3 completes unknown residues"
            return
        yield from self._compare_atoms()

    def _different_atoms(self) -> list[tuple[str, int, str, str]]:
        """Atoms that only one side has: chain, residue, name of residue and of atom."""
        atoms, chains = self.features.atoms, self.features.chains
        kept = np.asarray(self.own.predicted_atom_mask)[atoms.token_index, atoms.slot]
        ours = {
            (chains.chain_id[chain], int(residue), name): code
            for chain, residue, code, name, is_kept in zip(
                atoms.chain_index,
                atoms.residue_id,
                atoms.residue_name,
                atoms.atom_name,
                kept,
                strict=True,
            )
            if is_kept
        }
        arrays = self.case.arrays
        theirs = {
            (str(chain), int(residue), str(name)): str(code)
            for chain, residue, name, code in zip(
                arrays["atoms.chain_id"],
                arrays["atoms.res_id"],
                arrays["atoms.atom_name"],
                arrays["atoms.res_name"],
                strict=True,
            )
        }
        return [
            (key[0], key[1], (ours | theirs)[key], key[2])
            for key in sorted(ours.keys() ^ theirs.keys())
        ]

    def _is_known(self, atom: tuple[str, int, str, str]) -> bool:
        chain, residue, code, name = atom
        bonded = {
            (a.chain_id, a.residue_id) for bond in self.case.job.bonds for a in bond
        }
        return (
            (code, name) in _COMPLETED
            or name in _TERMINAL
            or code == _SPLIT
            or (chain, residue) in bonded
        )

    def _compare_tokens(self) -> Found:
        n, own, recorded = self.case.num_tokens, self.own.tokens, self.batch.tokens
        for name in vars(own):
            ours, theirs = (np.asarray(getattr(t, name))[:n] for t in (own, recorded))
            if name in ("asym_id", "entity_id"):
                # They are numbered differently; only equality reaches the network.
                ours, theirs = (x[:, None] == x[None, :] for x in (ours, theirs))
            yield compare_exactly(f"tokens.{name}", ours, theirs)
        self.batch = replace(self.batch, tokens=own)

    def _compare_bonds(self) -> Found:
        n = self.case.num_tokens
        ours, theirs = (
            np.asarray(
                token_bond_matrix(
                    jax.tree.map(np.asarray, batch.bonds),
                    len(batch.tokens.mask),
                    symmetric=True,
                )
            )[:n, :n]
            for batch in (self.own, self.batch)
        )
        yield compare_exactly("bonds", ours, theirs)
        self.batch = replace(self.batch, bonds=self.own.bonds)

    def _compare_alignment(self) -> Found:
        n, own, recorded = self.case.num_tokens, self.own.msa, self.batch.msa
        for name in ("profile", "deletion_mean"):
            ours, theirs = (np.asarray(getattr(m, name))[:n] for m in (own, recorded))
            yield compare_relative(f"msa.{name}", ours, theirs, None, FLOAT_TOLERANCE)
        self.batch = replace(
            self.batch,
            msa=replace(recorded, profile=own.profile, deletion_mean=own.deletion_mean),
        )
        if int(self.case.feature("num_paired_seqs").item()) > 1:
            yield "msa.rows: as recorded; OpenFold3 pairs rows otherwise"
            return
        ours, theirs = (_sorted_rows(msa, n) for msa in (own, recorded))
        yield compare_exactly("msa.rows (in any order)", ours[0], theirs[0])
        if np.array_equal(ours[0], theirs[0]):
            to_theirs = ours[1][np.argsort(theirs[1])]
            msa = replace(
                self.own.msa,
                rows=own.rows[to_theirs],
                mask=own.mask[to_theirs],
                deletion_matrix=own.deletion_matrix[to_theirs],
            )
            self.batch = replace(self.batch, msa=msa)

    def _compare_templates(self) -> Found:
        n, recorded = self.case.num_tokens, self.batch.templates
        if not isinstance(recorded, TemplatePairs):
            raise TypeError("recorded templates are pairs")
        own = self._described_templates(len(recorded.residue_type))
        for name in ("residue_type", "pseudo_beta_mask", "frame_mask"):
            ours, theirs = (getattr(t, name)[:, :n] for t in (own, recorded))
            yield compare_exactly(f"templates.{name}", ours, theirs)
        for name in ("distances", "directions"):
            ours, theirs = (getattr(t, name)[:, :n, :n] for t in (own, recorded))
            yield compare_relative(
                f"templates.{name}", ours, theirs, None, FLOAT_TOLERANCE
            )
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
        mask = np.asarray(self.own.predicted_atom_mask)
        token, slot = np.nonzero(mask)
        layout = replace(self.case.layout, token=token, slot=slot)
        for name in ("mask", "element", "charge", "atom_name_chars", "space_uid"):
            ours = layout.flat(getattr(self.own.reference, name))
            theirs = self.case.layout.flat(getattr(self.batch.reference, name))
            if name == "space_uid":
                ours, theirs = (
                    np.unique(x, return_inverse=True)[1] for x in (ours, theirs)
                )
            if name == "charge":
                yield compare_relative(
                    f"atoms.{name}", ours, theirs, None, FLOAT_TOLERANCE
                )
            else:
                yield compare_exactly(f"atoms.{name}", ours, theirs)
        positions = layout.spread(self.case.feature("ref_pos"), len(mask))
        self.batch = replace(
            self.batch,
            reference=replace(self.own.reference, positions=positions),
            windows=self.own.windows,
            pseudo_beta=self.own.pseudo_beta,
            predicted_atom_mask=self.own.predicted_atom_mask,
        )


def _sorted_rows(msa: Msa, num_tokens: int) -> tuple[ndarray, ndarray]:
    """Rows with their deletions in a fixed order, and where each of them was."""
    rows = np.asarray(msa.rows)[:, :num_tokens].astype(np.int32)
    deletions = np.asarray(msa.deletion_matrix)[:, :num_tokens].astype(np.int32)
    both = np.concatenate([rows, deletions], axis=1)
    order = np.lexsort(both.T[::-1])
    return both[order], order

"""A recorded case: a job, OpenFold3's features of it, and what it computed."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy import ndarray

from af3_core.features.tokens import NUM_ATOM_SLOTS
from af3_core.features.windows import make_windows
from af3_core.inputs.files import read_jobs
from af3_core.job import Job
from af3_core.model.batch import (
    Batch,
    Bonds,
    Gather,
    Msa,
    ReferenceConformers,
    TemplatePairs,
    Tokens,
    windows_of,
)

# Residue classes there: 20 amino acids, unknown, A G C U N, DA DG DC DT DN, gap.
CLASSES = np.array([*range(21), 22, 23, 24, 25, 30, 26, 27, 28, 29, 30, 21], np.int32)
"""AlphaFold 3's class of each of OpenFold3's."""
_UNKNOWN_NUCLEOTIDE, _PADDED_TO = 30, 8
_PURINES = (22, 23, 26, 27)


@dataclass(frozen=True)
class Layout:
    """Where the flat atoms of a record lie among tokens and slots."""

    token: ndarray
    slot: ndarray

    def flat(self, slots: ndarray) -> ndarray:
        """Values of the atoms from [n x *rest]."""
        return np.asarray(slots)[self.token, self.slot]

    def spread(self, atoms: ndarray, num_tokens: int) -> ndarray:
        """[n x *rest] from values of the atoms; zeros elsewhere."""
        shape = (num_tokens, NUM_ATOM_SLOTS, *atoms.shape[1:])
        slots = np.zeros(shape, atoms.dtype)
        slots[self.token, self.slot] = atoms
        return slots


@dataclass(frozen=True)
class Case:
    """The files of one case."""

    json_path: Path
    npz_path: Path

    @functools.cached_property
    def arrays(self) -> dict[str, ndarray]:
        """All recorded arrays."""
        with np.load(self.npz_path) as arrays:
            return dict(arrays)

    @functools.cached_property
    def job(self) -> Job:
        """The job of the JSON file; the first, if it holds several."""
        jobs, errors = read_jobs(self.json_path)
        if errors:
            raise errors[0]
        return jobs[0]

    @property
    def stride(self) -> int:
        """Outputs over pairs of tokens keep every stride-th row and column."""
        return int(self.arrays["stride"])

    def feature(self, name: str) -> ndarray:
        """One of OpenFold3's features."""
        return self.arrays[f"batch.{name}"]

    @property
    def num_tokens(self) -> int:
        """Real tokens."""
        return len(self.feature("token_mask"))

    @property
    def num_padded(self) -> int:
        """Tokens with some padding, which has to make no difference."""
        return (self.num_tokens // _PADDED_TO + 1) * _PADDED_TO

    @property
    def layout(self) -> Layout:
        """Atoms of a token in the order of the record, from slot 0."""
        token = self.feature("atom_to_token_index").astype(np.int64)
        first = self.feature("start_atom_index")[token]
        return Layout(token, np.arange(len(token)) - first)

    @functools.cached_property
    def batch(self) -> Batch:
        """The recorded features as the model reads them, padded."""
        return Batch(
            tokens=self._tokens(),
            msa=self._msa(),
            templates=self._templates(),
            reference=self._reference(),
            windows=windows_of(make_windows(self._atom_mask(), self.num_padded)),
            bonds=self._bonds(),
            pseudo_beta=self._pseudo_beta(),
            predicted_atom_mask=self._pad(self._atom_mask()),
            residue_center_index=np.zeros(self.num_padded, np.int32),
            frames_mask=np.zeros(self.num_padded, bool),
        )

    def _pad(self, values: ndarray, *axes: int) -> ndarray:
        """Extends axes of tokens, the first by default, with zeros."""
        extra = self.num_padded - self.num_tokens
        widths = [(0, extra if i in (axes or (0,)) else 0) for i in range(values.ndim)]
        return np.pad(values, widths)

    def _tokens(self) -> Tokens:
        def flags(name: str) -> ndarray:
            return self._pad(self.feature(name).astype(bool))

        def numbers(values: ndarray) -> ndarray:
            return self._pad(values.astype(np.int32))

        never = np.zeros(self.num_padded, bool)
        return Tokens(
            mask=flags("token_mask"),
            token_index=numbers(self.feature("token_index") + 1),
            residue_index=numbers(self.feature("residue_index")),
            residue_type=numbers(CLASSES[self.feature("restype").argmax(-1)]),
            asym_id=numbers(self.feature("asym_id")),
            entity_id=numbers(self.feature("entity_id")),
            sym_id=numbers(self.feature("sym_id")),
            is_protein=flags("is_protein"),
            is_rna=flags("is_rna"),
            is_dna=flags("is_dna"),
            is_ligand=flags("is_ligand"),
            is_water=never,
            is_nonstandard_polymer_chain=never,
        )

    def _msa(self) -> Msa:
        value = self.feature("deletion_value").astype(np.float64)
        deletions = np.rint(3 * np.tan(value * np.pi / 2)).astype(np.int32)
        rows = CLASSES[self.feature("msa").argmax(-1)]
        theirs = self.feature("profile")
        profile = np.zeros((len(theirs), 31), np.float32)
        np.add.at(profile, (slice(None), CLASSES), theirs)
        return Msa(
            rows=self._pad(rows, 1),
            mask=self._pad(self.feature("msa_mask") > 0, 1),
            deletion_matrix=self._pad(deletions, 1),
            profile=self._pad(profile),
            deletion_mean=self._pad(self.feature("deletion_mean")),
            num_alignments=np.array(len(rows), np.int32),
        )

    def _templates(self) -> TemplatePairs:
        classes = CLASSES[self.feature("template_restype").argmax(-1)]
        return TemplatePairs(
            residue_type=self._pad(classes, 1),
            distances=self._pad(self.feature("template_distogram"), 1, 2),
            pseudo_beta_mask=self._pad(
                self.feature("template_pseudo_beta_mask") > 0, 1
            ),
            directions=self._pad(self.feature("template_unit_vector"), 1, 2),
            frame_mask=self._pad(self.feature("template_backbone_frame_mask") > 0, 1),
        )

    def _atom_mask(self) -> ndarray:
        return self.layout.spread(self.feature("atom_mask") > 0, self.num_tokens)

    def _reference(self) -> ReferenceConformers:
        def spread(atoms: ndarray) -> ndarray:
            return self.layout.spread(atoms, self.num_padded)

        element = self.feature("ref_element")
        return ReferenceConformers(
            positions=spread(self.feature("ref_pos")),
            mask=spread(self.feature("ref_mask") > 0),
            element=spread(((element.argmax(-1) + 1) * element.any(-1)).astype("i4")),
            charge=spread(self.feature("ref_charge").astype(np.float32)),
            atom_name_chars=spread(
                self.feature("ref_atom_name_chars").argmax(-1).astype(np.int32)
            ),
            space_uid=spread(self.feature("ref_space_uid").astype(np.int32)),
        )

    def _bonds(self) -> Bonds:
        pairs = np.argwhere(np.triu(self.feature("token_bonds"))).astype(np.int32)
        size = max(len(pairs), self.num_padded * 10)
        index, mask = np.zeros((size, 2), np.int32), np.zeros((size, 2), bool)
        index[: len(pairs)], mask[: len(pairs)] = pairs, True
        none = np.zeros((self.num_padded, 2), np.int32)
        return Bonds(Gather(none, none.astype(bool)), Gather(index, mask))

    def _pseudo_beta(self) -> Gather:
        """C-beta, C-alpha of glycine, C4 of purines, C2 of pyrimidines; else the first
        atom of the token."""
        names, layout = self.arrays["atoms.atom_name"], self.layout
        types = CLASSES[self.feature("restype").argmax(-1)]
        index = np.zeros(self.num_padded, np.int32)
        for token, first in enumerate(self.feature("start_atom_index").tolist()):
            own = slice(first, first + int(self.feature("num_atoms_per_token")[token]))
            known = names[own].tolist()
            wanted = ["CB", "CA"]
            if not self.feature("is_protein")[token]:
                wanted = ["C4" if types[token] in _PURINES else "C2"]
            slot = next((known.index(n) for n in wanted if n in known), 0)
            index[token] = token * NUM_ATOM_SLOTS + layout.slot[first] + slot
        return Gather(index, np.arange(self.num_padded) < self.num_tokens)

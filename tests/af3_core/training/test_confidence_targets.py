"""What the confidence head is to say, computed anew from AF3 SI 4.3, in loops."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy import ndarray

from af3_core.model.heads import ConfidenceLogits, error_bin_centres, expect
from af3_core.training.confidence_loss import (
    aligned_errors,
    atom_lddt,
    bin_of,
    confidence_losses,
    distance_errors,
)
from af3_core.training.distogram_loss import representatives
from af3_core.training.examples import find_frames
from tests.af3_core.training.small_complex import (
    CENTRES,
    HIDDEN,
    NUM_TOKENS,
    NamedAtom,
    complex_example,
    complex_features,
    computed,
    distance,
    known,
    labels_of,
    named_atoms,
    place,
    sample,
)


def lddt_by_definition(atom: NamedAtom) -> float | None:
    """SI equation 8, over the atoms that may be partners."""
    scores = []
    for other in named_atoms():
        if other == atom or other.kind == "ligand" or not other.is_resolved:
            continue
        if not other.is_split and other.name != CENTRES[other.kind]:
            continue
        expected = distance(known(), atom, other)
        if expected >= (15.0 if other.kind == "protein" else 30.0):
            continue
        error = abs(distance(sample(), atom, other) - expected)
        scores.append(sum(error < t for t in (0.5, 1.0, 2.0, 4.0)) / 4)
    return float(np.mean(scores)) if scores else None


def test_lddt_counts_one_atom_per_token_of_a_polymer_within_its_radius() -> None:
    found, mask = computed(atom_lddt)
    values = set()
    for atom in named_atoms():
        expected = lddt_by_definition(atom) if atom.is_resolved else None
        assert bool(mask[atom.token, atom.slot]) == (expected is not None)
        if expected is not None:
            values.add(round(expected, 4))
            assert float(found[atom.token, atom.slot]) == pytest.approx(expected)
    assert len(values) > 10
    assert int(mask.sum()) == len(named_atoms()) - len(HIDDEN)


def test_radii_of_lddt_are_15_and_30_angstroms_by_the_kind_of_the_partner() -> None:
    far = known().copy()
    ion = next(a for a in named_atoms() if a.name == "NA")
    for chain in "ABD":
        rows = [a for a in named_atoms() if a.chain == chain]
        for atom in rows:
            far[atom.token, atom.slot] += 1000.0
    alanine, adenine = (
        next(a for a in named_atoms() if (a.chain, a.residue, a.name) == key)
        for key in (("A", 2, "CA"), ("B", 1, "C1'"))
    )
    for partner, reach in ((alanine, 15.0), (adenine, 30.0)):
        for offset, counts in ((-0.1, True), (0.1, False)):
            moved = far.copy()
            start = moved[ion.token, ion.slot]
            moved[partner.token, partner.slot] = start + [0.0, reach + offset, 0.0]
            _, mask = atom_lddt(
                jnp.asarray(moved), complex_example().batch, labels_of(moved)
            )
            assert bool(mask[ion.token, ion.slot]) is counts


REPRESENTATIVES = {
    ("A", 1): "CA",
    ("A", 2): "CB",
    ("A", 3): "CB",
    ("B", 1): "C4",
    ("B", 2): "C2",
    ("D", 1): "C2",
}


def representative_atoms() -> dict[int, NamedAtom]:
    """By token: the atom of SI 4.4."""
    return {
        a.token: a
        for a in named_atoms()
        if a.is_split or a.name == REPRESENTATIVES[a.chain, a.residue]
    }


def test_tokens_stand_at_their_representative_atoms() -> None:
    example = complex_example()
    found, mask = representatives(jnp.asarray(known()), example.batch, example.labels)
    expected = representative_atoms()
    assert len(expected) == complex_features().num_tokens
    assert set(np.flatnonzero(np.asarray(mask)).tolist()) == {
        token for token, atom in expected.items() if atom.is_resolved
    }
    for token in np.flatnonzero(np.asarray(mask)).tolist():
        np.testing.assert_allclose(found[token], place(known(), expected[token]))


def test_distance_errors_are_between_representative_atoms() -> None:
    found, mask = computed(distance_errors)
    atoms = {t: a for t, a in representative_atoms().items() if a.is_resolved}
    assert int(mask.sum()) == len(atoms) ** 2
    for i, a in atoms.items():
        for j, b in atoms.items():
            expected = abs(distance(sample(), a, b) - distance(known(), a, b))
            assert bool(mask[i, j])
            assert float(found[i, j]) == pytest.approx(expected, abs=1e-4)


def frame_by_definition(token: int) -> list[NamedAtom] | None:
    """The three atoms of SI 4.3.2; None where the frame is not valid."""
    members = [a for a in named_atoms() if a.token == token]
    if not members[0].is_split:
        names = ("N", "CA", "C") if members[0].chain == "A" else ("C1'", "C3'", "C4'")
        frame = [next(a for a in members if a.name == name) for name in names]
        return frame if all(a.is_resolved for a in frame) else None
    [atom] = members
    others = [
        a
        for a in named_atoms()
        if (a.chain, a.residue) == (atom.chain, atom.residue)
        and a != atom
        and a.is_resolved
    ]
    if len(others) < 2 or not atom.is_resolved:
        return None
    first, second = sorted(others, key=lambda a: distance(known(), a, atom))[:2]
    u, v = (place(known(), a) - place(known(), atom) for a in (first, second))
    cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
    angle = np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return [first, atom, second] if 25.0 < angle < 155.0 else None


def seen_from(positions: ndarray, frame: list[NamedAtom], atom: NamedAtom) -> ndarray:
    """SI Algorithm 29."""
    a, b, c = (place(positions, x) for x in frame)
    first, second = (v / np.linalg.norm(v) for v in (a - b, c - b))
    x = (first + second) / np.linalg.norm(first + second)
    y = (second - first) / np.linalg.norm(second - first)
    offset = place(positions, atom) - b
    return np.array([offset @ x, offset @ y, offset @ np.cross(x, y)])


def aligned_error_by_definition(i: int, j: int) -> float | None:
    """SI Algorithm 30: token j from the frame of token i."""
    frame, atom = frame_by_definition(i), representative_atoms()[j]
    if frame is None or not atom.is_resolved:
        return None
    offset = seen_from(sample(), frame, atom) - seen_from(known(), frame, atom)
    return float(np.linalg.norm(offset))


@functools.cache
def aligned_errors_by_definition() -> dict[tuple[int, int], float]:
    tokens = range(complex_features().num_tokens)
    errors = {(i, j): aligned_error_by_definition(i, j) for i in tokens for j in tokens}
    return {pair: error for pair, error in errors.items() if error is not None}


def test_frames_are_those_of_the_paper() -> None:
    labels = complex_example().labels
    for token in range(complex_features().num_tokens):
        expected = frame_by_definition(token)
        assert bool(labels.frame_mask[token]) == (expected is not None), token
        if expected is not None:
            flat = [a.token * 24 + a.slot for a in expected]
            assert labels.frame_atoms[token].tolist() == flat
    assert not labels.frame_mask[complex_features().num_tokens :].any()


def test_aligned_errors_have_frames_as_rows_and_tokens_as_columns() -> None:
    found, mask = computed(aligned_errors)
    expected = aligned_errors_by_definition()
    assert int(mask.sum()) == len(expected)
    for (i, j), error in expected.items():
        assert bool(mask[i, j])
        assert float(found[i, j]) == pytest.approx(error, abs=1e-3)


def test_a_frame_that_is_turned_errs_in_its_row_alone() -> None:
    example, truth = complex_example(), known()
    glycine = {a.name: (a.token, a.slot) for a in named_atoms() if a.token == 0}
    origin = truth[glycine["CA"]]
    turned = truth.copy()
    for name in ("N", "C"):  # a quarter turn about z; C-alpha stays
        x, y, z = truth[glycine[name]] - origin
        turned[glycine[name]] = origin + [-y, x, z]
    found, mask = aligned_errors(jnp.asarray(turned), example.batch, example.labels)
    columns = np.flatnonzero(np.asarray(mask[0]))
    atoms = representative_atoms()
    offsets = np.array([place(truth, atoms[j]) - origin for j in columns.tolist()])
    expected = np.sqrt(2.0) * np.hypot(offsets[:, 0], offsets[:, 1])
    np.testing.assert_allclose(found[0, columns], expected, atol=1e-3)
    assert expected.max() > 5.0
    assert float(jnp.max(jnp.where(mask, found, 0.0)[1:])) < 1e-3


def test_a_head_that_knows_the_errors_costs_nothing_and_reports_them() -> None:
    example = complex_example()
    bins = np.zeros((NUM_TOKENS, NUM_TOKENS), int)
    expected = aligned_errors_by_definition()
    for pair, error in expected.items():
        bins[pair] = np.searchsorted(np.arange(0.5, 32.0, 0.5), error, side="right")
    sure = jax.nn.one_hot(bins, 64) * 40.0
    nothing = jnp.zeros((NUM_TOKENS, 24, 50))
    logits = ConfidenceLogits(nothing, sure, jnp.zeros_like(sure), nothing[..., :2])
    losses = confidence_losses(
        logits, jnp.asarray(sample()), example.batch, example.labels, 31.0
    )
    reported = np.asarray(expect(sure, error_bin_centres(31.0, 64)))
    assert float(losses.pae) < 1e-3
    assert float(losses.pde) == pytest.approx(np.log(64), rel=1e-5)
    for pair, error in expected.items():
        assert reported[pair] == pytest.approx(min(error, 31.75), abs=0.2501)


@pytest.mark.parametrize(
    ("error", "index"),
    [(0.0, 0), (0.49, 0), (0.51, 1), (4.75, 9), (31.49, 62), (31.51, 63), (90.0, 63)],
)
def test_bins_of_errors_are_half_an_angstrom_wide(error: float, index: int) -> None:
    end = 31.0 * 64 / 62
    assert int(bin_of(jnp.asarray([error]), end, 64)[0]) == index


@pytest.mark.parametrize(
    ("lddt", "index"), [(0.0, 0), (0.019, 0), (0.021, 1), (0.5, 25), (1.0, 49)]
)
def test_bins_of_lddt_are_fiftieths(lddt: float, index: int) -> None:
    assert int(bin_of(jnp.asarray([lddt]), 1.0, 50)[0]) == index


@pytest.mark.parametrize(
    ("degrees", "is_valid"), [(24, False), (26, True), (154, True), (156, False)]
)
def test_a_ligand_frame_bends_by_25_degrees_at_least(
    degrees: float, is_valid: bool
) -> None:
    example = complex_example()
    c1, c2, oxygen = (a for a in named_atoms() if a.chain == "C")
    angle = np.deg2rad(degrees)
    positions, resolved = example.labels.positions.copy(), example.labels.resolved
    positions[c1.token, 0] = 0.0
    positions[c2.token, 0] = [2.0, 0.0, 0.0]
    positions[oxygen.token, 0] = np.array([np.cos(angle), np.sin(angle), 0.0]) * 1.5
    resolved = resolved.copy()
    resolved[c2.token, 0] = True
    atoms, mask = find_frames(complex_features(), positions, resolved)
    assert bool(mask[c1.token]) is is_valid
    if is_valid:  # nearest first, the atom itself in the middle
        expected = [oxygen.token * 24, c1.token * 24, c2.token * 24]
        assert atoms[c1.token].tolist() == expected


def test_rows_without_a_frame_and_unresolved_tokens_cost_nothing() -> None:
    example = complex_example()
    _, mask = computed(aligned_errors)
    logits = ConfidenceLogits(
        plddt=jnp.zeros((NUM_TOKENS, 24, 50)),
        pae=jnp.where(mask[..., None], 0.0, 50.0 * jnp.arange(64.0)),
        pde=jnp.zeros((NUM_TOKENS, NUM_TOKENS, 64)),
        resolved=jnp.zeros((NUM_TOKENS, 24, 2)),
    )
    losses = confidence_losses(
        logits, jnp.asarray(sample()), example.batch, example.labels, 31.0
    )
    assert float(losses.pae) == pytest.approx(np.log(64), rel=1e-5)
    frameless = replace(example.labels, frame_mask=np.zeros(NUM_TOKENS, bool))
    losses = confidence_losses(
        logits, jnp.asarray(sample()), example.batch, frameless, 31.0
    )
    assert float(losses.pae) == 0.0

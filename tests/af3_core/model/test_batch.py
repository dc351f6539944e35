import dataclasses

import numpy as np
import pytest

from af3_core.model.batch import Gather, pad
from tests.af3_core.features.feature_examples import CASES, case, featurised, recorded
from tests.parity.adapter import batch_arrays, batch_from_features


@pytest.mark.parametrize("name", CASES)
def test_the_batch_equals_that_of_alphafold3(name) -> None:
    path = case(name).with_suffix(".npz")
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with np.load(path) as arrays:
        recorded_features = {
            key.removeprefix("batch."): arrays[key]
            for key in arrays.files
            if key.startswith("batch.")
        }
    expected = batch_arrays(batch_from_features(recorded_features))
    found = batch_arrays(pad(*featurised(case(name)), len(expected["tokens.mask"])))
    assert found.keys() == expected.keys()
    for array, values in expected.items():
        assert found[array].dtype == values.dtype, array
        np.testing.assert_allclose(found[array], values, atol=1e-5, err_msg=array)


@pytest.mark.parametrize("name", ["glycans", "modified_nucleic", "unknown_chains"])
def test_padding_leaves_real_entries_as_they_are(name) -> None:
    features, positions = featurised(recorded(name))
    small = pad(features, positions, 400, msa_rows=8)
    large = pad(features, positions, 512, msa_rows=16)
    real = features.atom_mask
    for group in ("tokens", "reference", "templates"):
        pairs = zip(
            dataclasses.astuple(getattr(small, group)),
            dataclasses.astuple(getattr(large, group)),
            strict=True,
        )
        for before, after in pairs:
            within = tuple(slice(size) for size in before.shape)
            np.testing.assert_array_equal(before, after[within])
            assert np.count_nonzero(before) == np.count_nonzero(after)
    windows = small.windows.queries_to_token_atoms, large.windows.queries_to_token_atoms
    first, second = (_gathered(w, len(real))[real] for w in windows)
    np.testing.assert_array_equal(first, second)


def _gathered(gather: Gather, num_tokens: int) -> np.ndarray:
    return np.where(gather.mask, gather.index, -1)[:num_tokens]


@pytest.mark.parametrize("num_tokens", [76, 77, 128])
def test_atoms_return_from_their_windows(num_tokens) -> None:
    features, positions = featurised(case("ubiquitin"))
    windows = pad(features, positions, num_tokens, msa_rows=4).windows
    slots = np.arange(num_tokens * 24)
    queries = slots[windows.token_atoms_to_queries.index].ravel()
    returned = queries[windows.queries_to_token_atoms.index]
    real = np.flatnonzero(features.atom_mask)
    np.testing.assert_array_equal(returned.ravel()[real], real)


def test_a_bucket_without_padding_has_no_padding_to_point_at() -> None:
    features, positions = featurised(case("ubiquitin"))
    windows = pad(features, positions, features.num_tokens, msa_rows=4).windows
    num_atoms = int(features.atom_mask.sum())
    assert int(windows.token_atoms_to_queries.mask.sum()) == num_atoms


@pytest.mark.parametrize(
    ("num_tokens", "msa_rows", "complaint"),
    [(75, 4, "76 tokens do not fit into 75"), (80, 1, "2 rows exceeds 1")],
)
def test_what_does_not_fit_is_refused(num_tokens, msa_rows, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        pad(*featurised(case("ubiquitin")), num_tokens, msa_rows=msa_rows)


def test_fewer_slots_than_a_window_of_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="pad to 5 tokens or more"):
        pad(*featurised(recorded("unknown_chains")), 4, msa_rows=4)

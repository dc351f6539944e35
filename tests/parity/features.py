"""Compares the features that we make of a job with recorded ones."""

from collections.abc import Iterator

import numpy as np

from af3_core.chemistry.dictionary import Components
from af3_core.features.featurise import featurise, reference_positions
from af3_core.features.options import AS_PUBLISHED, FeatureOptions
from af3_core.model.batch import Batch, pad
from tests.parity.adapter import batch_arrays
from tests.parity.case import Case
from tests.parity.comparison import Comparison, compare_exactly, compare_relative

FLOAT_TOLERANCE = 1e-5


def featurise_case(case: Case, options: FeatureOptions = AS_PUBLISHED) -> Batch:
    """The batch of a case, from its JSON, padded as the recorded one."""
    components = Components.load(case.job.user_ccd)
    features = featurise(case.job, components, options)
    positions = reference_positions(features, components, case.seed, options.conformers)
    rows, num_tokens = case.recorded["batch.msa"].shape
    return pad(features, positions, num_tokens, msa_rows=rows)


def compare_features(ours: Batch, recorded: Batch) -> Iterator[Comparison]:
    """Integers and flags are equal exactly, floats to 1e-5."""
    arrays = batch_arrays(recorded)
    for path, values in batch_arrays(ours).items():
        name, expected = f"batch.{path}", arrays[path]
        if np.issubdtype(expected.dtype, np.floating):
            yield compare_relative(name, values, expected, None, FLOAT_TOLERANCE)
        else:
            yield compare_exactly(name, values, expected)

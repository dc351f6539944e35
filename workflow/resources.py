"""What one cluster job asks for: pure functions of its batch and of the attempt.

Anchors are published or measured: AlphaFold 3's A100 times and memory table, and what
19,000 feature jobs in production used (median 1.1 GB, 99th percentile 17 GB). Each
retry asks for half as much again, up to what the partition allows (a site's profile
caps it).
"""

from workflow.manifest import Batch


def _grown(amount: float, attempt: int) -> int:
    return int(amount * 1.5 ** (attempt - 1))


def search_mem_mb(batch: Batch, attempt: int) -> int:
    """Host memory for searching: HMMER's matrices grow with the longest query."""
    return _grown(2000 + 3 * batch.longest, attempt)


def search_minutes(batch: Batch, attempt: int) -> int:
    """Run time for searching a batch; the store keeps what a killed job finished."""
    return _grown(60 + len(batch.items), attempt)


def featurise_mem_mb(batch: Batch, attempt: int) -> int:
    """Host memory for features: deep alignments of the largest job dominate."""
    return _grown(2000 + 3 * batch.longest, attempt)


def featurise_minutes(batch: Batch, attempt: int) -> int:
    """Run time for features: seconds per job, ten for the largest."""
    return _grown(10 + len(batch.items) / 6, attempt)


def predict_mem_mb(batch: Batch, attempt: int) -> int:
    """Host memory for prediction: weights, features and PAE of the largest job."""
    return _grown(8000 + 0.0045 * batch.bucket**2, attempt)


def predict_minutes(batch: Batch, attempt: int) -> int:
    """Run time for prediction: what the plan reckons, with a margin of half."""
    return _grown(10 + 1.5 * batch.seconds / 60, attempt)


def relax_mem_mb(batch: Batch, attempt: int) -> int:
    """Host memory for relaxation."""
    return _grown(2000 + 2 * batch.longest, attempt)


def relax_minutes(batch: Batch, attempt: int) -> int:
    """Run time for relaxation: minutes per structure on two cores."""
    return _grown(10 + len(batch.items) * (1 + batch.longest / 300), attempt)

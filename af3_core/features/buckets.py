"""Padded sizes of AlphaFold 3, for which its random numbers are drawn."""

from collections.abc import Sequence

AF3_BUCKETS = (
    *(128, 256, 384, 512, 768, 1024, 1280, 1536),
    *(2048, 2560, 3072, 3584, 4096, 4608, 5120),
)
"""Padded sizes in tokens that AlphaFold 3's own script uses by default."""
RELEASE_BUCKETS = {
    "3.0.5": AF3_BUCKETS,
    "3.0.4": tuple(size for size in AF3_BUCKETS if size not in (128, 384)),
}
"""The same by AlphaFold 3's release; those before 3.0.4 have its sizes."""


def bucket_for(num_tokens: int, buckets: Sequence[int] = AF3_BUCKETS) -> int:
    """Returns the smallest bucket that holds a job.

    As in AlphaFold 3, a job larger than all buckets gets one of exactly its size.
    """
    return next((b for b in sorted(buckets) if b >= num_tokens), num_tokens)

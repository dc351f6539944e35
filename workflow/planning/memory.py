"""What fits into the memory of a device."""

import numpy as np

_TOKENS_AT_ONCE = 1024
"""A device that is busy with one item of so many tokens gains nothing from two."""
_MOST = 8
_SHARE_OF_MEMORY = 0.8
_COMPILED_GB = {256: 1.69, 1024: 3.99, 2048: 7.48, 5120: 32.25, 8192: 68.03}
"""Device memory by padded tokens: the published network in bfloat16, 5 samples, 16,384
alignment rows, 4 templates; see benchmarks/results/gpu_compile.md."""


def device_memory_gb(bucket: int) -> float:
    """Device memory of one prediction, as the compiler plans it.

    Between the sizes that were compiled, and beyond them, it grows with the pairs of
    tokens.
    """
    sizes, gigabytes = list(_COMPILED_GB), list(_COMPILED_GB.values())
    beyond = max(1.0, (bucket / sizes[-1]) ** 2)
    return beyond * float(np.interp(bucket**2, np.square(sizes), gigabytes))


def items_at_once(
    bucket: int, device_gb: float | None, asked: int | None = None
) -> int:
    """How many items of one padded size are computed in one program.

    Small items leave a large device idle when they come one after another. Their number
    is bounded by the device's memory, whoever asks for more.

    Args:
        bucket: padded tokens of each.
        device_gb: the device's memory; None where it has none of its own.
        asked: what the campaign asks for; None leaves the choice here.
    """
    if device_gb is None:
        return asked or 1
    room = int(_SHARE_OF_MEMORY * device_gb / device_memory_gb(bucket))
    wanted = asked or min(_MOST, _TOKENS_AT_ONCE // bucket)
    return max(1, min(wanted, room))


def holds(device_gb: float, bucket: int) -> bool:
    """Whether one item of a padded size has room on a device."""
    return device_memory_gb(bucket) <= _SHARE_OF_MEMORY * device_gb


def most_tokens(device_gb: float) -> int:
    """The largest padded size that has room on a device, in steps of 16."""
    bucket = 0
    while holds(device_gb, bucket + 16):
        bucket += 16
    return bucket

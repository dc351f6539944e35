"""How many items a device computes at once."""

from workflow.planning.forecast import device_memory_gb

_TOKENS_AT_ONCE = 1024
"""A device that is busy with one item of so many tokens gains nothing from two."""
_MOST = 8
_SHARE_OF_MEMORY = 0.8


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

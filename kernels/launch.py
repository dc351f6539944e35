"""What our Triton kernels share: when Triton runs, and how it is called."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jaxtyping import Array

from kernels.devices import Device, card_of, why_no_dtype

# Triton 3.9's; a newer card waits for a newer Triton.
OLDEST_CAPABILITY, NEWEST_CAPABILITY = (8, 0), (12, 1)
UNASSEMBLED = ((11, 0),)
"""Between them, but unknown to PTX 8.8, which is what we may hand to XLA."""
COMPILER_OPTIONS = {
    # Said, because Triton's own default is about to change.
    "enable_fp_fusion": True,
    # XLA assembles what Triton writes, with an assembler of its own: PTX 8.8 is the
    # newest that CUDA 12.9's takes, and the oldest that knows every card up to 12.1.
    # Triton's default is what the newest assembler in its wheel takes.
    "ptx_version": 88,
}


DTYPES = ("bfloat16", "float16", "float32")
PRECISION = {"float32": "tf32x3", "tf32": "tf32"}
"""float32 as three TF32 products: tensor cores, at nearly the precision of float32."""
HALF_DTYPES = ("bfloat16", "float16")
MAX_ROW_CHANNELS = 128
"""Of rows that a kernel keeps in registers as a whole."""


class Launch(NamedTuple):
    """One call of a kernel, without its arrays."""

    grid: tuple[int]
    scalars: dict[str, int | float | tuple[int, ...]]
    constants: dict[str, Any]
    num_warps: int
    num_stages: int


class RowTile(NamedTuple):
    """Work of one program of a kernel that keeps whole rows, and what it is given."""

    edges: int
    columns: int
    """Of the weights, multiplied at once."""
    num_warps: int
    num_stages: int


def why_no_triton(device: Device, dtype: str) -> str | None:
    """Why no Triton kernel runs `dtype` on `device`, as a sentence; None if one can."""
    if device.platform != "cuda":
        return f"our Triton kernels run on NVIDIA GPUs, not on {device.platform}"
    wanted = Device._field_defaults["packages"]
    missing = [name for name in wanted if name not in device.packages]
    if missing:
        names = " and ".join(name.replace("_", "-") for name in missing)
        return f"{names} not installed: sh envs/setup.sh --extra triton"
    refusal = why_no_dtype(device, dtype)
    if refusal is not None:
        return refusal
    if not OLDEST_CAPABILITY <= device.capability <= NEWEST_CAPABILITY:
        return (
            "Triton compiles for compute capability 8.0 to 12.1;"
            f" this card has {device.capability_name}"
        )
    if device.capability in UNASSEMBLED:
        return (
            "the newest PTX that XLA's assembler of CUDA 12.9 takes does not know"
            f" compute capability {device.capability_name}"
        )
    return None


def too_little_shared_memory(num_channels: int, dtype: str, device: Device) -> str:
    """The refusal of a kernel none of whose tiles fits a card."""
    return (
        f"no tile of {num_channels} channels in {dtype} fits the"
        f" {card_of(device).shared_memory_kib} KiB of shared memory that a block has on"
        f" compute capability {device.capability_name}"
    )


def why_no_row_kernel(
    operand: str, spec: Any, widest: int, choose_tile: Callable[[Any], Any]
) -> str | None:
    """Why a kernel that keeps whole rows in registers cannot run; None when it can.

    Args:
        operand: what the rows are called.
        spec: with a dtype and a device.
        widest: channels of the longest rows.
        choose_tile: the tile for a spec that is not refused otherwise, if one fits.
    """
    refusal = why_no_triton(spec.device, spec.dtype)
    if refusal is not None:
        return refusal
    if spec.dtype not in HALF_DTYPES:
        dtypes = " and ".join(HALF_DTYPES)
        return f"the kernel reads {dtypes}; {operand} is {spec.dtype}"
    if widest > MAX_ROW_CHANNELS:
        return (
            f"the kernel keeps rows of at most {MAX_ROW_CHANNELS} channels in"
            f" registers; this has {widest}"
        )
    if choose_tile(spec) is None:
        return too_little_shared_memory(widest, spec.dtype, spec.device)
    return None


def first_that_fits(
    tiles: Sequence[Any], spec: Any, shared_memory: Callable[[Any, Any], int]
) -> Any:
    """The first tile whose shared memory (bytes) the card has; None if none fits."""
    limit = card_of(spec.device).shared_memory_kib * 1024
    return next((tile for tile in tiles if shared_memory(spec, tile) <= limit), None)


def padded_channels(num_channels: int) -> int:
    """The power of two, at least 16, that tensor cores multiply."""
    return max(16, 1 << (num_channels - 1).bit_length())


def call_triton(
    kernel: Any,
    launch: Launch,
    arrays: dict[str, Array],
    output: jax.ShapeDtypeStruct | tuple[jax.ShapeDtypeStruct, ...],
    device: Device,
) -> Any:
    """Calls `kernel` from JAX, compiled for `device` whether it is here or not."""
    # Imported here: a machine without Triton imports this module to be told so.
    import jax_triton

    major, minor = device.capability
    return jax_triton.triton_call(
        kernel=kernel,
        out_type=output,
        grid=launch.grid,
        num_warps=launch.num_warps,
        num_stages=launch.num_stages,
        backend_options=COMPILER_OPTIONS,
        compute_capability=10 * major + minor,
        **arrays,
        **launch.scalars,
        **launch.constants,
    )

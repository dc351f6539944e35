"""Compiled networks on disk: kept once, found by every later process.

What a program computes does not depend on whether it was compiled or found. JAX names
each by the program, its shapes, the compiler's version and flags, and the device.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

_HIT = "/jax/compilation_cache/cache_hits"
_SHORTEST_SECONDS = 1.0
"""Programs that compile faster are not worth a file."""


@dataclass
class Compilation:
    """What became of the programs that a block of code asked for."""

    num_found: int = 0
    """Programs read from disk."""


def cache_folder(folder: Path) -> Path:
    """The part of `folder` for this kind of device and this release of JAX.

    Code for CPUs of one kind may use instructions that others lack, so each set of
    instructions has a part of its own.
    """
    device = jax.devices()[0]
    name = f"{device.device_kind}-jax-{jax.__version__}"
    if device.platform == "cpu":
        name += f"-{_cpu_digest()}"
    return folder.absolute() / re.sub(r"[^\w.-]+", "_", name)


def keep_compiled(folder: Path) -> Path:
    """Makes JAX keep programs in `cache_folder(folder)` and look for them there.

    Our kernels for a CPU are kept with them.
    """
    path = cache_folder(folder)
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SHORTEST_SECONDS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    # JAX decides once per process whether it has a cache.
    compilation_cache.reset_cache()
    return path


@contextmanager
def watch_compilation() -> Iterator[Compilation]:
    """Counts what is found on disk while the block runs."""
    seen = Compilation()

    def note(event: str, **_: object) -> None:
        if event == _HIT:
            seen.num_found += 1

    jax.monitoring.register_event_listener(note)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_listener(note)


def _cpu_digest() -> str:
    """Names the instructions of this machine's CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    flags = next((x for x in lines if x.startswith(("flags", "Features"))), "")
    return hashlib.sha256(flags.encode()).hexdigest()[:8]

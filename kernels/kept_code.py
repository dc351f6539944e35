"""Machine code of kernels on disk, where JAX keeps compiled programs."""

import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import jax

from kernels.host_machine import describe_host

_DIGEST_SIZE = hashlib.sha256().digest_size


def kept(name: str, what: str, make: Callable[[], bytes]) -> bytes:
    """What `make` returns, made once for all processes that share a folder.

    Args:
        what: all that tells it from other code of this release on this processor.
    """
    folder = jax.config.jax_compilation_cache_dir
    if folder is None or "://" in folder:
        return make()
    facts = "\n".join((what, describe_host(), _sources()))
    digest = hashlib.sha256(facts.encode()).hexdigest()
    path = Path(folder) / "kernels" / f"{name}-{digest[:32]}"
    if (found := _read(path)) is not None:
        return found
    made = make()
    try:
        _write(path, made)
    except OSError as error:
        warnings.warn(f"a kernel is not kept for later: {error}", stacklevel=2)
    return made


@cache
def _sources() -> str:
    """Of everything here: what a kernel is made of lies in several files."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    texts = (f"{file.name}\n".encode() + file.read_bytes() for file in files)
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def _read(path: Path) -> bytes | None:
    """None where it is not, or not as it was written: it is to be executed."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, found = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
    return found if hashlib.sha256(found).digest() == digest else None


def _write(path: Path, machine_code: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(hashlib.sha256(machine_code).digest() + machine_code)
    # At once: another process may make the same, or be killed while it does.
    os.replace(name, path)

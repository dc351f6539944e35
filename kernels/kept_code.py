"""Machine code of kernels on disk, where JAX keeps compiled programs."""

import hashlib
import uuid
import warnings
from collections.abc import Callable
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
    is_used = bool(folder) and jax.config.jax_enable_compilation_cache
    if not is_used or "://" in folder or not _SOURCES:
        return make()
    facts = "\n".join((what, describe_host(), _SOURCES))
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


def _digest_sources() -> str | None:
    """Of everything here: what a kernel is made of lies in several files."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    texts = [f"{file.name}\n".encode() + file.read_bytes() for file in files]
    return hashlib.sha256(b"\0".join(texts)).hexdigest() if texts else None


_SOURCES = _digest_sources()
"""As they are imported: a kernel may be made much later, when files have changed."""


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
    # Whole at once: another process may make the same, or be killed while it does.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("xb") as file:
            file.write(hashlib.sha256(machine_code).digest() + machine_code)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

"""Turns another project's weights into a checkpoint in our format."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
from numpy import ndarray

from af3_core.job import InputError
from af3_core.model.checkpoint import Record, write_records
from af3_core.model.checkpoint_files import Card, write_card
from af3_core.model.config import ModelConfig
from af3_core.model.openfold3 import (
    OPENFOLD3,
    TWIN,
    TWIN_MODULE,
    VERSION,
    VERSION_TENSOR,
    Recipe,
    plan,
)
from af3_core.model.renames import IDENTIFIER, RENAMES
from af3_core.model.state_dict import Tensor, open_state_dict
from af3_core.structures.mmcif_origin import RELEASES

_FLOATS = np.dtype("f4"), np.dtype("f2"), np.dtype(ml_dtypes.bfloat16)
_PREFIX = "model."
_MAX_SHOWN = 10
_OUR_IDENTIFIER = b"openfold3"


def import_openfold3(
    source: Path, target: Path, config: ModelConfig = OPENFOLD3
) -> Card:
    """Writes OpenFold3's weights as a checkpoint, and beside it what they are.

    Numbers are kept: float16 becomes float32, bfloat16 and float32 stay.

    Args:
        source: a state dict of release 0.5.0, PyTorch's or safetensors.
        target: the checkpoint, ending in .bin or .bin.zst.
        config: the network, which a test may want smaller.

    Returns:
        What is written beside the checkpoint.

    Raises:
        InputError: the file cannot be read, is of another version, or does not hold
            exactly the tensors of the network.
    """
    recipes = plan(config)
    with open_state_dict(source) as tensors:
        named = {name.removeprefix(_PREFIX): t for name, t in tensors.items()}
        _require_version(named, source)
        _require_fitting(named, recipes, source)
        _require_equal_twins(named, source)
        source_digest = _digest(source)
        identifier = _OUR_IDENTIFIER + bytes.fromhex(source_digest)
        records = _records(named, recipes, identifier.ljust(64, b"\0"))
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f".new.{target.name}")
        digest = write_records(new, records)
    release = replace(
        RELEASES["openfold3"], source=source.name, source_sha256=source_digest
    )
    card = Card(config, release, digest)
    # The records last: without the card beside them they fit no network.
    write_card(target, card)
    new.replace(target)
    return card


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_version(tensors: Mapping[str, Tensor], source: Path) -> None:
    """Weights of another version need other features, whatever their shapes."""
    wanted = ".".join(map(str, VERSION))
    allowed = (
        f"version {wanted}, that of OpenFold3 0.5.0 (OpenBind-0); weights of preview 2"
        " and before need the faulty features that they were trained with"
    )
    tensor = tensors.get(VERSION_TENSOR)
    if tensor is None or tensor.shape != (len(VERSION),):
        raise InputError(str(source), VERSION_TENSOR, "no version", allowed)
    found = tuple(int(x) for x in tensor.read())
    if found != VERSION:
        shown = ".".join(map(str, found))
        raise InputError(str(source), VERSION_TENSOR, shown, allowed)


def _require_fitting(
    tensors: Mapping[str, Tensor],
    recipes: Mapping[tuple[str, str], Recipe],
    source: Path,
) -> None:
    """Every tensor of the network is there, and no other."""
    wanted = {
        name: s for recipe in recipes.values() for name, s in recipe.tensors.items()
    }
    problems = []
    for name, tensor in tensors.items():
        is_twin = name.startswith(TWIN_MODULE)
        shape = wanted.get(name.removeprefix(TWIN) if is_twin else name)
        if name == VERSION_TENSOR:
            continue
        if shape is None:
            problems.append(f"unknown {name}")
        elif tensor.shape != shape:
            problems.append(f"{name} has shape {tensor.shape}, not {shape}")
        elif tensor.dtype not in _FLOATS:
            problems.append(f"{name} has dtype {tensor.dtype}")
    problems += [f"missing {name}" for name in wanted if name not in tensors]
    if any(name.startswith(TWIN) for name in tensors):
        twins = [TWIN + n for n in wanted if (TWIN + n).startswith(TWIN_MODULE)]
        problems += [f"missing {name}" for name in twins if name not in tensors]
    if problems:
        shown = problems[:_MAX_SHOWN]
        if len(problems) > _MAX_SHOWN:
            shown.append(f"and {len(problems) - _MAX_SHOWN} more")
        allowed = "exactly OpenFold3's tensors: " + "; ".join(shown)
        found = f"{len(problems)} that do not fit"
        raise InputError(str(source), "tensors", found, allowed)


def _require_equal_twins(tensors: Mapping[str, Tensor], source: Path) -> None:
    """One module stands in the file under two names, stored once or twice."""
    for name, twin in tensors.items():
        if not name.startswith(TWIN):
            continue
        other = name.removeprefix(TWIN)
        first = tensors[other]
        if first.place != twin.place and not np.array_equal(first.read(), twin.read()):
            allowed = f"the values of {other}: it is the same module"
            raise InputError(str(source), name, "other values", allowed)


def _records(
    tensors: Mapping[str, Tensor],
    recipes: Mapping[tuple[str, str], Recipe],
    identifier: bytes,
) -> Iterator[Record]:
    yield Record(*IDENTIFIER, np.frombuffer(identifier, np.uint8))
    scopes = {path: scope for scope, path in RENAMES.items()}
    for (path, name), recipe in recipes.items():
        arrays = [_widened(tensors[tensor].read()) for tensor in recipe.tensors]
        yield Record(scopes[path], name, recipe.arrange(arrays))


def _widened(values: ndarray) -> ndarray:
    """float32 of float16, which our format has not."""
    return values.astype(np.float32) if values.dtype == np.float16 else values

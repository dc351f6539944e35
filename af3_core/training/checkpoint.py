"""Weights before training and after."""

import functools
import hashlib
from pathlib import Path

import jax
import numpy as np

from af3_core.job import InputError
from af3_core.model.checkpoint import FROM_SCRATCH, load_checkpoint, write_checkpoint
from af3_core.model.config import Conventions, ModelConfig
from af3_core.model.parameters import init_parameters
from af3_core.training.state import State, Tree
from af3_core.training.step import Setup


def start_parameters(setup: Setup, checkpoint: Path | None) -> Tree:
    """The weights of a checkpoint, float32, or random ones where there is none.

    Raises:
        InputError: the checkpoint does not fit the configuration, or the network does
            not follow AlphaFold 3's conventions.
    """
    if setup.config.conventions != Conventions():
        allowed = "AlphaFold 3's alone: examples for training follow no others"
        raise InputError("network", "conventions", "OpenFold3's", allowed)
    if checkpoint is not None:
        params = load_checkpoint(checkpoint, setup.config).params
        return jax.tree.map(lambda x: x.astype(np.float32), dict(params))
    function = functools.partial(
        init_parameters, config=setup.config, runtime=setup.runtime
    )
    return jax.jit(function)(jax.random.PRNGKey(setup.training.seed))


def write_trained(
    path: Path, state: State, config: ModelConfig, start: Path | None = None
) -> None:
    """Writes the averaged weights in the published format, `config` beside them.

    Their identifier is the SHA-512 of the values, so that no two are alike. It begins
    with `FROM_SCRATCH` unless `start`, the checkpoint that training went on from, is
    AlphaFold 3's or comes from it: then its terms of use hold for these weights too.
    """
    average = jax.device_get(state.average)
    digest = hashlib.sha512()
    for scope, leaves in sorted(average.items()):
        for name, values in sorted(leaves.items()):
            digest.update(f"{scope}:{name}".encode())
            digest.update(np.ascontiguousarray(values))
    identifier = digest.digest()
    if start is None or load_checkpoint(start, config).origin != "alphafold3":
        identifier = FROM_SCRATCH + identifier[len(FROM_SCRATCH) :]
    write_checkpoint(path, average, config, identifier)

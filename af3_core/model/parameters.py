"""The parameters that a configuration needs: paths, shapes and dtypes."""

import functools
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from af3_core.model.batch import (
    KEYS_PER_WINDOW,
    NUM_ATOM_SLOTS,
    QUERIES_PER_WINDOW,
    AtomWindows,
    Batch,
    Bonds,
    Gather,
    Msa,
    ReferenceConformers,
    Templates,
    Tokens,
)
from af3_core.model.config import ModelConfig, Runtime
from af3_core.model.diffusion import condition, denoise
from af3_core.model.heads import predict_confidence, predict_distogram
from af3_core.model.model import embed_inputs, run_trunk, zero_embeddings
from kernels import Device, lowering_for

Shapes = dict[str, dict[str, jax.ShapeDtypeStruct]]


def blank_batch(num_tokens: int, num_rows: int = 1, num_templates: int = 1) -> Batch:
    """A batch of padding only; `num_tokens` is a multiple of 4."""
    n, x = num_tokens, NUM_ATOM_SLOTS
    w, q, k = n * x // QUERIES_PER_WINDOW, QUERIES_PER_WINDOW, KEYS_PER_WINDOW

    def ints(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.int32)

    def floats(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    def flags(*shape: int) -> np.ndarray:
        return np.zeros(shape, bool)

    def layout(*shape: int) -> Gather:
        return Gather(ints(*shape), flags(*shape))

    return Batch(
        tokens=Tokens(flags(n), *(ints(n) for _ in range(6)), *(flags(n),) * 6),
        msa=Msa(
            rows=np.zeros((num_rows, n), np.int8),
            mask=flags(num_rows, n),
            deletion_matrix=np.zeros((num_rows, n), np.int8),
            profile=floats(n, 31),
            deletion_mean=floats(n),
            num_alignments=ints(),
        ),
        templates=Templates(
            ints(num_templates, n),
            flags(num_templates, n, x),
            floats(num_templates, n, x, 3),
        ),
        reference=ReferenceConformers(
            positions=floats(n, x, 3),
            mask=flags(n, x),
            element=ints(n, x),
            charge=floats(n, x),
            atom_name_chars=ints(n, x, 4),
            space_uid=ints(n, x),
        ),
        windows=AtomWindows(
            token_atoms_to_queries=layout(w, q),
            tokens_to_queries=layout(w, q),
            tokens_to_keys=layout(w, k),
            queries_to_keys=layout(w, k),
            queries_to_token_atoms=layout(n, x),
        ),
        bonds=Bonds(layout(n, 2), layout(n, 2)),
        pseudo_beta=layout(n),
        predicted_atom_mask=flags(n, x),
        residue_center_index=ints(n),
        frames_mask=flags(n),
    )


def _run_stages(
    run: Callable[..., Any], key: jax.Array, config: ModelConfig, runtime: Runtime
) -> None:
    """Every stage once, on a batch of padding: `run(stage, its arguments)`."""
    how = {"config": config, "runtime": runtime}
    batch = jax.tree.map(jnp.asarray, blank_batch(4))
    inputs = run(embed_inputs, batch, **how)
    previous = zero_embeddings(inputs, config)
    embeddings = run(run_trunk, batch, previous, key, **how).embeddings
    conditioning = run(condition, batch, embeddings, **how)
    positions = jnp.zeros((1, *batch.predicted_atom_mask.shape, 3), jnp.float32)
    run(denoise, batch, conditioning, positions, jnp.ones((), jnp.float32), **how)
    run(predict_confidence, batch, embeddings, positions[0], **how)
    run(
        predict_distogram,
        batch,
        embeddings.pair,
        config=config.distogram,
        runtime=runtime,
    )


def init_parameters(
    key: jax.Array, config: ModelConfig, runtime: Runtime | None = None
) -> dict[str, dict[str, jax.Array]]:
    """Parameters as training would start with.

    Their dtypes are the published ones under a bfloat16 `runtime`, the default.
    """
    params: dict[str, dict[str, jax.Array]] = {}

    def run(stage: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        function = hk.transform(functools.partial(stage, **kwargs))
        stage_params = function.init(key, *args)
        params.update({path: dict(leaves) for path, leaves in stage_params.items()})
        return function.apply(stage_params, None, *args)

    _run_stages(run, key, config, runtime or Runtime())
    return params


@functools.cache
def parameter_shapes(config: ModelConfig) -> Shapes:
    """Shape and published dtype of every parameter; computes nothing."""

    def run(stage: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return stage(*args, **kwargs)

    key = jax.random.PRNGKey(0)
    stages = hk.transform(functools.partial(_run_stages, run, key, config, Runtime()))
    # Plain JAX is traced in a tenth of the time that it takes with kernels.
    with lowering_for(Device("cpu")):
        return jax.eval_shape(stages.init, key)

"""Runs single modules in tests."""

from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np


def random_like(shapes: Any) -> Any:
    """Float32 parameters that leave no layer without effect."""
    generator = np.random.default_rng(0)
    return {
        path: {
            name: jnp.asarray(
                (name == "scale") + 0.3 * generator.standard_normal(shape.shape),
                jnp.float32,
            )
            for name, shape in leaves.items()
        }
        for path, leaves in sorted(shapes.items())
    }


def run(function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function that makes Haiku modules, compiled, with random parameters."""
    transformed = hk.without_apply_rng(hk.transform(function))
    shapes = jax.eval_shape(transformed.init, jax.random.PRNGKey(0), *args)
    return jax.jit(transformed.apply)(random_like(shapes), *args)


def random_array(seed: int, *shape: int) -> jax.Array:
    """Standard normal numbers."""
    values = np.random.default_rng(seed).standard_normal(shape)
    return jnp.asarray(values, jnp.float32)

"""Fourier embedding of the noise level. SI Algorithm 22."""

import functools
from typing import Literal

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

NUM_FOURIER = 256


@functools.cache
def fourier_constants() -> tuple[np.ndarray, np.ndarray]:
    """The frequencies and phases that belong to the published weights.

    Drawn once, from the seed 42, by the random number layout that was JAX's default
    in 2024. Differs from the paper: phases are uniform in [0, 1), not normal.
    """
    with jax.threefry_partitionable(False), jax.ensure_compile_time_eval():
        weight_key, bias_key = jax.random.split(jax.random.key(42, impl="threefry2x32"))
        weight = jax.random.normal(weight_key, (NUM_FOURIER,))
        bias = jax.random.uniform(bias_key, (NUM_FOURIER,))
    return np.asarray(weight), np.asarray(bias)


class FourierEmbedding(hk.Module):
    """SI Algorithm 22."""

    def __init__(
        self, frequencies: Literal["constant", "parameter"], *, name: str
    ) -> None:
        super().__init__(name=name)
        self.frequencies = frequencies

    def __call__(self, scaled_level: Float[Array, ""]) -> Float[Array, "c"]:
        """`scaled_level` is the noise level over the standard deviation of the data."""
        weight, bias = fourier_constants()
        if self.frequencies == "parameter":
            shape, dtype = (NUM_FOURIER,), jnp.float32
            known = hk.initializers.Constant
            weight = hk.get_parameter("weights", shape, dtype, known(weight))
            bias = hk.get_parameter("bias", shape, dtype, known(bias))
        t = 0.25 * jnp.log(scaled_level)
        return jnp.cos(2 * jnp.pi * (t * weight + bias))

"""A few computations whose results are known, to tell whether a device can be trusted.

What the network is made of — products in float32 and bfloat16, softmax, attention and
transitions in the backend that real work would use, and one whole pair update (SI
Algorithm 17, lines 2-6) compiled as part of a network is — is computed on the device
and compared: the parts with NumPy in float64, the pair update with `canary.npy`, which
`reference_pair` made with the naive backend in float32 on a CPU. Inputs and weights are
NumPy's random numbers from fixed seeds; no checkpoint is needed.
"""

import functools
import hashlib
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy import ndarray

from af3_core.model.config import Runtime
from af3_core.model.pairformer import PairUpdate
from kernels import attention, gated_transition

REFERENCE = Path(__file__).with_name("canary.npy")

_TOKENS, _CHANNELS, _HEADS = 64, 64, 2
_STRIDE = 8
"""Of the entries of the pair representation that are kept as a reference."""
_TIMED_REPEATS = 5
_TIMED_SIZE = {"cpu": 1024}
_ACCELERATOR_TIMED_SIZE = 8192

TOLERANCES: Mapping[str, Mapping[str, float]] = {
    "float32": {
        "product": 1e-5,
        "softmax": 1e-5,
        "attention": 1e-4,
        "transition": 1e-4,
        "pair_update": 1e-3,
    },
    "bfloat16": {
        "product": 1e-2,
        "softmax": 1e-5,
        "attention": 2e-2,
        "transition": 2e-2,
        "pair_update": 4e-2,
        # Diffusion is float32 whatever the rest is, and may use TensorFloat-32 then.
        "attention_float32": 5e-3,
        "transition_float32": 5e-3,
    },
}
"""Largest relative deviation (Frobenius norm) of a device in order, by precision.

float32 carries 6e-8 of each number and sums of a few hundred grow that a hundredfold at
most; TensorFloat-32, which a float32 campaign must not get, is off by 5e-4. bfloat16
rounds to 4e-3, so one rounding of inputs or outputs stays below 1e-2 and the dozen
roundings of a pair update below 4e-2. A device that computes nonsense is off by 1."""


@dataclass(frozen=True)
class Measurement:
    """What a device made of the known computations."""

    deviations: dict[str, float]
    """Relative, by name; NaN or infinite where the results are."""
    seconds: float
    """Best of a few repeats of a product of large matrices."""


def measure(runtime: Runtime) -> Measurement:
    """Computes what is known on the default device, as `runtime` says."""
    found = _compute_parts(runtime) | {"pair_update": _compute_pair(runtime)}
    expected = _expected_parts() | {"pair_update": np.load(REFERENCE)}
    if runtime.dtype != "float32":
        # As diffusion does: in float32, but as precisely as the rest.
        parts = _compute_parts(runtime, dtype=jnp.dtype("float32"))
        for name in ("attention", "transition"):
            found[f"{name}_float32"] = parts[name]
            expected[f"{name}_float32"] = expected[name]
    deviations = {name: _deviation(found[name], expected[name]) for name in expected}
    return Measurement(deviations, _time_products(runtime))


def reference_pair() -> Float[ndarray, "..."]:
    """What `canary.npy` holds: the pair update in float32, naive, on this device."""
    return _compute_pair(Runtime(dtype="float32", attention_backend="naive"))


def _deviation(found: ndarray, expected: ndarray) -> float:
    difference = np.linalg.norm(np.asarray(found, np.float64) - expected)
    return float(difference / np.linalg.norm(expected))


@functools.cache
def _operands() -> dict[str, Float[ndarray, "..."]]:
    """Inputs that bfloat16 holds exactly, so that only the computing is compared."""
    rng = np.random.default_rng(20241111)
    rows, tokens, heads, channels = 4, 128, 4, 32
    shapes = {
        "left": (256, 256),
        "right": (256, 256),
        **{name: (rows, tokens, heads, channels) for name in "qkv"},
        "bias": (1, heads, tokens, tokens),
        "x": (256, 64),
        "expand": (64, 256),
        "contract": (128, 64),
    }
    scales = {"expand": 0.125, "contract": 0.09}
    values = {n: scales.get(n, 1.0) * rng.standard_normal(s) for n, s in shapes.items()}
    return {
        n: np.asarray(jnp.asarray(v, jnp.bfloat16), "f4") for n, v in values.items()
    }


def _compute_parts(
    runtime: Runtime, dtype: jnp.dtype | None = None
) -> dict[str, ndarray]:
    dtype = runtime.float_dtype if dtype is None else dtype

    @jax.jit
    def compute(operands: dict[str, Array]) -> dict[str, Array]:
        o = {name: value.astype(dtype) for name, value in operands.items()}
        return {
            "product": o["left"] @ o["right"],
            "softmax": jax.nn.softmax(8 * operands["left"]),
            "attention": attention(
                o["q"],
                o["k"],
                o["v"],
                bias=o["bias"],
                backend=runtime.attention_backend,
            ),
            "transition": gated_transition(o["x"], o["expand"], o["contract"]),
        }

    with _precision(runtime):
        return {name: np.asarray(x, "f4") for name, x in compute(_operands()).items()}


def _precision(runtime: Runtime) -> AbstractContextManager[None]:
    """float32 means float32, as in `predict`."""
    highest = "highest" if runtime.dtype == "float32" else None
    return jax.default_matmul_precision(highest)


def _softmax(x: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@functools.cache
def _expected_parts() -> dict[str, Float[ndarray, "..."]]:
    """The same in NumPy, float64."""
    o = {name: value.astype(np.float64) for name, value in _operands().items()}
    logits = np.einsum("rqhc,rkhc->rhqk", o["q"], o["k"]) / np.sqrt(32) + o["bias"]
    gate, value = np.split(o["x"] @ o["expand"], 2, axis=-1)
    return {
        "product": o["left"] @ o["right"],
        "softmax": _softmax(8 * o["left"]),
        "attention": np.einsum("rhqk,rkhc->rqhc", _softmax(logits), o["v"]),
        "transition": (gate / (1 + np.exp(-gate)) * value) @ o["contract"],
    }


def _weights(shapes: Mapping[str, Mapping[str, jax.ShapeDtypeStruct]]) -> dict:
    """Weights that depend on their names only, of the size that training gives."""
    weights: dict[str, dict[str, ndarray]] = {}
    for scope, of_scope in shapes.items():
        for name, shape in of_scope.items():
            key = hashlib.sha256(f"{scope}/{name}".encode()).digest()[:8]
            rng = np.random.default_rng(int.from_bytes(key, "little"))
            values = rng.standard_normal(shape.shape) / np.sqrt(_CHANNELS)
            offset = 1.0 if name == "scale" else 0.0
            weights.setdefault(scope, {})[name] = (values + offset).astype("f4")
    return weights


def _compute_pair(runtime: Runtime) -> Float[ndarray, "..."]:
    rng = np.random.default_rng(20240508)
    pair = rng.standard_normal((_TOKENS, _TOKENS, _CHANNELS)).astype("f4")
    mask = np.arange(_TOKENS) < _TOKENS - 3
    mask = mask[:, None] & mask[None]

    def update(pair: Array) -> Array:
        module = PairUpdate(_HEADS, 2, runtime, name="canary")
        return module(pair.astype(runtime.float_dtype), jnp.asarray(mask))

    function = hk.without_apply_rng(hk.transform(update))
    shapes = jax.eval_shape(function.init, jax.random.PRNGKey(0), pair)
    with _precision(runtime):
        updated = jax.jit(function.apply)(_weights(shapes), pair)
    return np.asarray(updated, "f4")[::_STRIDE, ::_STRIDE]


def _time_products(runtime: Runtime) -> float:
    size = _TIMED_SIZE.get(jax.default_backend(), _ACCELERATOR_TIMED_SIZE)
    matrix = jnp.full((size, size), 1.0 / size, runtime.float_dtype)
    product = jax.jit(jnp.matmul)
    product(matrix, matrix).block_until_ready()
    best = float("inf")
    for _ in range(_TIMED_REPEATS):
        start = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return best

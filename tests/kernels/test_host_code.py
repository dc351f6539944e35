"""The operations as machine code for this processor, against their definitions."""

import math
import os
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import (
    Device,
    Mask,
    Norm,
    StackedBias,
    TriangleWeights,
    attention,
    explain,
    gated_transition,
    host_calls,
    lowering_for,
    project,
    self_attention,
    triangle_multiplication,
)
from kernels.devices import host_vectors
from kernels.host_calls import array_at
from kernels.operands import gather_operands
from kernels.spec import spec_of
from kernels.vector_code import PROCESSORS, Code, Processor, kernel
from tests.kernels.examples import TOLERANCE, bernoulli, normal

HOST = host_vectors()
pytestmark = pytest.mark.skipif(
    HOST is None, reason="this processor's vectors are short"
)


@pytest.fixture(params=["avx2", "avx512", "avx512 with bfloat16"], autouse=True)
def processor(request: Any) -> Iterator[Processor]:
    """Kernels are made for each kind of processor that this one can stand in for."""
    kinds = list(PROCESSORS)
    if HOST is None or kinds.index(request.param) > kinds.index(HOST):
        pytest.skip(f"this processor has not {request.param}")
    with lowering_for(Device("cpu", vectors=request.param)):
        yield PROCESSORS[request.param]


@pytest.fixture(params=["float32", "bfloat16"])
def dtype(request: Any, processor: Processor) -> str:
    """Those that the processor multiplies."""
    if request.param == "bfloat16" and not processor.has_bfloat16:
        pytest.skip("is not multiplied by this processor")
    if request.param == "float32" and processor == PROCESSORS["avx512"]:
        pytest.skip("is computed as with bfloat16")
    return request.param


def assert_agrees(found: Any, expected: Any, dtype: str) -> None:
    found, expected = (np.asarray(x, np.float32) for x in (found, expected))
    scale = max(1.0, float(np.sqrt(np.mean(expected**2)))) if expected.size else 1.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize(
    ("rows", "channels", "hidden"), [(1, 32, 64), (70, 32, 64), (130, 48, 96)]
)
@pytest.mark.parametrize("has_norm", [False, True], ids=["bare", "norm"])
def test_the_transition_agrees_with_its_definition(
    dtype: str, rows: int, channels: int, hidden: int, has_norm: bool
) -> None:
    x = normal(rows, channels, dtype=dtype)
    outputs = channels if has_norm else channels + 16
    expand = normal(channels, 2 * hidden, seed=1) / channels**0.5
    contract = normal(hidden, outputs, seed=2) / hidden**0.5
    norm = Norm(1 + normal(channels, seed=3) / 4, normal(channels, seed=4) / 4)
    arrays = x, expand.astype(dtype), contract.astype(dtype)
    how = {"norm": norm if has_norm else None}
    found = gated_transition(*arrays, **how, backend="cpu")
    assert found.shape == (rows, outputs)
    assert_agrees(found, gated_transition(*arrays, **how, backend="naive"), dtype)


def test_when_a_share_of_a_kernel_fails_the_others_have_ended() -> None:
    """What they would go on writing into is no longer theirs."""
    begun, ended = [], []

    def task(first: int, last: int, worker: int) -> None:
        del last, worker
        if first == 1:
            raise ValueError("the second unit")
        begun.append(first)
        time.sleep(0.02)
        ended.append(first)

    with pytest.raises(ValueError, match="the second unit"):
        host_calls.run_units(task, 100, 1)
    assert begun == ended
    assert len(ended) < 50
    time.sleep(0.1)
    assert begun == ended


def test_programs_that_run_at_once_do_not_disturb_each_other(
    processor: Processor,
) -> None:
    expand, contract = normal(64, 256, seed=1) / 8, normal(128, 64, seed=2) / 11
    norm = Norm(1 + normal(64, seed=3) / 4, normal(64, seed=4) / 4)
    update = jax.jit(
        lambda x: gated_transition(x, expand, contract, norm=norm, backend="cpu")
    )
    inputs = [normal(500, 64, seed=10 + i) for i in range(16)]
    expected = [np.asarray(update(x)) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda x: np.asarray(update(x)), inputs * 8))
    for one, other in zip(found, expected * 8, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("order", ["rows", "columns", "channels"])
@pytest.mark.parametrize("has_norm", [False, True], ids=["bare", "norm"])
@pytest.mark.parametrize("has_residual", [False, True], ids=["new", "added"])
def test_projections_agree_with_their_definition(
    dtype: str, order: Any, has_norm: bool, has_residual: bool
) -> None:
    outputs = 4 if order == "channels" else 48
    if order == "channels" and has_residual:
        pytest.skip("is not computed by this kernel")
    x = normal(2, 9, 11, 32, dtype=dtype)
    weights = (normal(32, outputs, seed=1) / 32**0.5).astype(dtype)
    how: dict[str, Any] = {"order": order}
    if has_norm:
        how["norm"] = Norm(1 + normal(32, seed=2) / 4, normal(32, seed=3) / 4)
    if has_residual:
        shape = project(x, weights, backend="naive", **how).shape
        how["residual"] = normal(*shape, dtype=dtype, seed=4)
    found = project(x, weights, backend="cpu", **how)
    assert_agrees(found, project(x, weights, backend="naive", **how), dtype)


@pytest.mark.parametrize("outgoing", [True, False], ids=["outgoing", "incoming"])
@pytest.mark.parametrize(("tokens", "used"), [(5, 5), (50, 37), (67, 67), (33, 0)])
def test_triangle_multiplication_agrees_with_its_definition(
    dtype: str, outgoing: bool, tokens: int, used: int
) -> None:
    c, h = 32, 64
    pair = normal(tokens, tokens, c, dtype=dtype)
    inside = jnp.arange(tokens) < used
    mask = bernoulli(tokens, tokens) & inside[:, None] & inside[None]
    if used:
        mask = mask.at[used - 1, 0].set(True)

    def matrix(*shape: int, seed: int) -> jax.Array:
        return (normal(*shape, seed=seed) / c**0.5).astype(dtype)

    weights = TriangleWeights(
        *(1 + normal(c, seed=1) / 4, normal(c, seed=2) / 4),
        *(matrix(c, h, 2, seed=3), matrix(c, h, 2, seed=4)),
        *(1 + normal(h, seed=5) / 4, normal(h, seed=6) / 4),
        *(matrix(h, c, seed=7), matrix(c, c, seed=8)),
    )
    found, expected = (
        triangle_multiplication(pair, mask, weights, outgoing=outgoing, backend=backend)
        for backend in ("cpu", "naive")
    )
    real = slice(used)
    assert_agrees(found[real, real], expected[real, real], dtype)
    # Padding is left as it is.
    np.testing.assert_array_equal(found[used:], pair[used:])
    np.testing.assert_array_equal(found[:, used:], pair[:, used:])


def attention_arrays(
    dtype: str, queries: int, keys: int, heads: int, channels: int
) -> dict[str, jax.Array]:
    return {
        name: normal(3, count, heads, channels, dtype=dtype, seed=seed)
        for seed, (name, count) in enumerate(
            (("q", queries), ("k", keys), ("v", keys), ("gate", queries))
        )
    }


@pytest.mark.parametrize(
    ("queries", "keys", "channels"), [(1, 1, 16), (17, 33, 48), (40, 128, 32)]
)
@pytest.mark.parametrize("bias", [None, (1, 2, 1), (3, 1, 1), (3, 2, 0)])
def test_attention_agrees_with_its_definition(
    dtype: str, queries: int, keys: int, channels: int, bias: tuple[int, ...] | None
) -> None:
    arrays: dict[str, Any] = attention_arrays(dtype, queries, keys, 2, channels)
    if bias is not None:
        *batch, rows = bias
        shape = (*batch, rows or queries, keys)
        arrays["bias"] = normal(*shape, dtype=dtype, seed=5)
    found, expected = (
        attention(**arrays, backend=backend) for backend in ("cpu", "naive")
    )
    assert_agrees(found, expected, dtype)


def test_keys_that_are_padding_are_not_read(dtype: str) -> None:
    arrays = attention_arrays(dtype, 20, 50, 2, 32)
    keys = bernoulli(3, 50).at[:, 40:].set(False).at[0].set(False)
    expected = attention(**arrays, mask=Mask(keys=keys), backend="naive")
    hole = jnp.where(keys[..., None, None], 0, math.nan)
    spoilt = {
        name: x + hole.astype(x.dtype) if name in ("k", "v") else x
        for name, x in arrays.items()
    }
    found = attention(**spoilt, mask=Mask(keys=keys), backend="cpu")
    assert_agrees(found, expected, dtype)
    assert not np.any(np.asarray(found[0], np.float32)), "no key, no result"


def test_a_number_that_is_none_reaches_the_result(dtype: str) -> None:
    arrays = attention_arrays(dtype, 20, 50, 2, 32)
    arrays["k"] = arrays["k"].at[1, 3].set(math.nan)
    found = np.asarray(attention(**arrays, backend="cpu"), np.float32)
    assert np.isnan(found[1]).all()
    assert not np.isnan(found[[0, 2]]).any()


def test_projections_side_by_side_and_one_bias_of_several(dtype: str) -> None:
    projected = normal(3, 21, 4, 2, 32, dtype=dtype)
    biases = normal(4, 2, 21, 21, dtype=dtype, seed=1)
    found = jax.jit(
        lambda n: self_attention(projected, bias=StackedBias(biases, n), backend="cpu")
    )(2)
    expected = self_attention(projected, bias=biases[2], backend="naive")
    assert_agrees(found, expected, dtype)


def test_what_it_computes_is_differentiated_as_plain_jax() -> None:
    arrays = attention_arrays("float32", 9, 12, 2, 16)

    def loss(backend: Any) -> Any:
        return jax.grad(
            lambda q: attention(**{**arrays, "q": q}, backend=backend).sum()
        )(arrays["q"])

    np.testing.assert_allclose(loss("cpu"), loss("xla"), atol=1e-6)


def test_items_computed_together_are_what_they_are_alone() -> None:
    several = normal(3, 20, 32)
    weights = normal(32, 128, seed=1) / 6, normal(64, 32, seed=2) / 8
    norm = Norm(jnp.ones(32), jnp.zeros(32))

    def update(x: jax.Array) -> jax.Array:
        return gated_transition(x, *weights, norm=norm, backend="cpu")

    np.testing.assert_array_equal(
        jax.vmap(update)(several), jnp.stack([update(x) for x in several])
    )


def test_the_number_of_cores_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = attention_arrays("float32", 100, 100, 4, 32)
    several = attention(**arrays, backend="cpu")
    monkeypatch.setattr(host_calls, "num_workers", lambda: 1)
    # A call of another name, which is made anew.
    named = partial(host_calls.target_name, "attention of one core")
    monkeypatch.setattr(
        "kernels.attention_cpu.target_name", lambda operation, facts: named(facts)
    )
    np.testing.assert_array_equal(attention(**arrays, backend="cpu"), several)


def test_an_error_inside_a_call_reaches_the_caller() -> None:
    def fail(made: None, operands: list[int], results: list[int]) -> None:
        raise MemoryError("no room for the product")

    name = host_calls.target_name("failing", ())
    host_calls.register(name, lambda: None, fail)
    result = jax.ShapeDtypeStruct((2,), jnp.float32)
    call = jax.jit(lambda: jax.ffi.ffi_call(name, result)())
    with pytest.raises(jax.errors.JaxRuntimeError, match="no room for the product"):
        jax.block_until_ready(call())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"device": Device("cuda", (9, 0))}, "do not run on cuda"),
        ({"device": Device("cpu")}, "neither AVX2 nor AVX-512"),
        ({"dtype": "float16"}, "float32 or bfloat16, not float16"),
        ({"num_channels": 20}, "must be a multiple of"),
        ({"is_causal": True}, "the one for keys"),
        ({"num_key_heads": 1}, "keys of its own"),
    ],
)
def test_what_it_cannot_run_is_refused_in_a_sentence(
    change: dict[str, Any], complaint: str
) -> None:
    arrays = attention_arrays("float32", 9, 12, 2, 32)
    operands = gather_operands(**arrays, bias=None, mask=None)
    spec = spec_of(operands, Device("cpu", vectors="avx2"))
    assert explain(spec)["cpu"] is None
    assert complaint in (explain(spec._replace(**change))["cpu"] or "")


def run_on_vector(processor: Processor, body: Any, x: np.ndarray) -> np.ndarray:
    """What a function of vectors makes of numbers."""
    code = Code("of_vectors", "*x *y count", processor)

    def step(i: Any) -> None:
        y = body(code, code.load(code.at(code.arguments["x"], i, 4)))
        code.store(y, code.at(code.arguments["y"], i, 4))

    code.loop(0, code.arguments["count"], code.lanes, step)
    x = np.ascontiguousarray(np.resize(x, -(-len(x) // 16) * 16), np.float32)
    y = np.zeros_like(x)
    code.compiled()(x.ctypes.data, y.ctypes.data, len(x))
    return y


def test_powers_of_two_are_right_to_the_last_bits(processor: Processor) -> None:
    x = np.concatenate([np.linspace(-125, 127, 4096), [0.0, -0.5, 0.5, 1.0]])
    found = run_on_vector(processor, lambda code, x: code.exp2(x), x)
    exact = np.exp2(np.resize(x, len(found)).astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(found, exact, rtol=4e-7)
    beyond = run_on_vector(
        processor, lambda code, x: code.exp2(x), np.array([-1e30, -math.inf])
    )
    assert not beyond.any()
    none = run_on_vector(processor, lambda code, x: code.exp2(x), np.array([math.nan]))
    assert np.isnan(none).all()


def test_a_square_of_words_is_turned(processor: Processor) -> None:
    lanes = processor.lanes
    code = Code("turn", "*x *y", processor)
    rows = [code.load(code.at(code.arguments["x"], i * lanes, 4)) for i in range(lanes)]
    for i, row in enumerate(code.transposed(rows)):
        code.store(row, code.at(code.arguments["y"], i * lanes, 4))
    x = np.arange(lanes * lanes, dtype=np.float32).reshape(lanes, lanes)
    y = np.zeros_like(x)
    code.compiled()(x.ctypes.data, y.ctypes.data)
    np.testing.assert_array_equal(y, x.T)


class Doubling(NamedTuple):
    """What `double` is compiled for."""

    processor: Processor
    factor: float = 2.0


NUM_WRITTEN: list[Doubling] = []


@kernel("double", "*x *y")
def double(code: Code, kind: Doubling) -> None:
    NUM_WRITTEN.append(kind)
    x = code.load(code.arguments["x"])
    code.store(code.fmul(x, code.splat(kind.factor)), code.arguments["y"])


def doubled(kind: Doubling) -> tuple[np.ndarray, int]:
    """As a new process computes it, and how often its code was written for that."""
    NUM_WRITTEN.clear()
    double.cache_clear()  # pyright: ignore
    x = np.arange(kind.processor.lanes, dtype=np.float32)
    y = np.zeros_like(x)
    double(kind)(x.ctypes.data, y.ctypes.data)
    return y / np.maximum(x, 1), len(NUM_WRITTEN)


@pytest.fixture
def kept_in(tmp_path: Path) -> Iterator[Path]:
    """Where JAX keeps programs, and we machine code."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path / "kernels"
    jax.config.update("jax_compilation_cache_dir", before)


def test_machine_code_is_kept_for_later_processes(
    processor: Processor, kept_in: Path
) -> None:
    kind = Doubling(processor)
    ratio, written = doubled(kind)
    again, rewritten = doubled(kind)
    assert (written, rewritten) == (1, 0)
    np.testing.assert_array_equal(ratio, again)
    assert ratio[1:].tolist() == [2.0] * (processor.lanes - 1)
    assert len(list(kept_in.glob("double-*"))) == 1


def test_machine_code_of_another_kind_is_not_taken(
    processor: Processor, kept_in: Path
) -> None:
    doubled(Doubling(processor))
    ratio, written = doubled(Doubling(processor, factor=3.0))
    assert (ratio[1], written) == (3.0, 1)


@pytest.mark.parametrize("change", ["flipped", "cut", "empty"])
def test_damaged_machine_code_is_made_again_not_run(
    processor: Processor, kept_in: Path, change: str
) -> None:
    doubled(Doubling(processor))
    (path,) = kept_in.glob("double-*")
    whole = path.read_bytes()
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    path.write_bytes({"flipped": flipped, "cut": whole[:-5], "empty": b""}[change])
    ratio, written = doubled(Doubling(processor))
    assert (ratio[1], written) == (2.0, 1)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "unused",
    [{"jax_compilation_cache_dir": ""}, {"jax_enable_compilation_cache": False}],
    ids=["no folder", "switched off"],
)
def test_machine_code_is_not_kept_where_jax_keeps_nothing(
    processor: Processor,
    kept_in: Path,
    unused: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {name: getattr(jax.config, name) for name in unused}
    for name, value in unused.items():
        jax.config.update(name, value)
    doubled(Doubling(processor))
    for name, value in before.items():
        jax.config.update(name, value)
    assert not kept_in.exists()


def test_those_who_share_a_folder_can_read_machine_code(
    processor: Processor, kept_in: Path
) -> None:
    before = os.umask(0o027)
    doubled(Doubling(processor))
    os.umask(before)
    (path,) = kept_in.glob("double-*")
    assert stat.filemode(path.stat().st_mode) == "-rw-r-----"


def test_a_processor_that_cannot_run_a_kernel_is_told_so(
    processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLVM would end the process."""
    monkeypatch.setattr("kernels.vector_code.host_vectors", lambda: None)
    with pytest.raises(ValueError, match="do not run here"):
        doubled(Doubling(processor))


def test_what_failed_to_be_made_is_tried_again_at_the_call(
    processor: Processor,
) -> None:
    tries = iter([MemoryError("for now"), None, None])

    def make() -> str:
        if (error := next(tries)) is not None:
            raise error
        return "made"

    seen = []

    def note(made: str, operands: list[int], results: list[int]) -> None:
        seen.append(made)
        array_at(results[0], (2,), np.float32)[:] = 1.0

    name = host_calls.target_name("tried again", processor)
    host_calls.register(name, make, note)
    result = jax.ShapeDtypeStruct((2,), jnp.float32)
    call = jax.jit(lambda: jax.ffi.ffi_call(name, result)())
    assert call().tolist() == [1.0, 1.0]
    assert seen == ["made"]


def test_a_folder_that_cannot_be_written_is_told_and_nothing_else(
    processor: Processor, kept_in: Path
) -> None:
    kept_in.write_text("a file where the folder would be")
    with pytest.warns(UserWarning, match="not kept for later"):
        ratio, _ = doubled(Doubling(processor))
    assert ratio[1] == 2.0


def test_denormal_numbers_count_whatever_thread_computes(processor: Processor) -> None:
    """XLA's threads take them for zeros; which one calls must not be seen."""
    tiny = jnp.full((300, 1, 64), 1e-39, jnp.float32)
    for weight in (0.25, 2.0**-8):
        weights = jnp.full((64, 64), weight, jnp.float32)
        found = project(tiny, weights, order="rows", backend="cpu")
        expected = 64e-39 * weight
        np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=1e-3)


def test_a_kernel_leaves_the_processor_as_it_found_it(processor: Processor) -> None:
    """What XLA computes after it is what it computes without it."""
    x = jnp.full((2, 1, 64), 1e-39, jnp.float32)
    weights = jnp.ones((64, 64), jnp.float32)

    @jax.jit
    def scaled(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        before = x * 0.5
        found = project(x, weights, order="rows", backend="cpu")
        return before, found, (x + 0.0 * found) * 0.5

    before, _, after = scaled(x)
    np.testing.assert_array_equal(np.asarray(before), np.asarray(after))


def test_who_interrupts_a_kernel_waits_for_the_others() -> None:
    """As Ctrl-C does where XLA computes in the main thread."""
    begun, ended, first = [], [], threading.Event()

    def task(start: int, stop: int, worker: int) -> None:
        del stop
        if worker == 0:
            first.wait(5)
            raise KeyboardInterrupt
        begun.append(start)
        first.set()
        time.sleep(0.05)
        ended.append(start)

    if host_calls.num_workers() < 2:
        pytest.skip("needs two cores")
    with pytest.raises(KeyboardInterrupt):
        host_calls.run_units(task, 100, 1)
    assert begun == ended != []
    time.sleep(0.1)
    assert begun == ended


def test_a_thread_that_is_refused_is_done_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(host_calls, "num_workers", lambda: 3)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    host_calls._team.cache_clear()
    done: list[int] = []
    with pytest.warns(UserWarning, match="1 cores compute, not all"):
        host_calls.run_units(lambda first, last, worker: done.append(first), 5, 1)
    monkeypatch.undo()
    host_calls._team.cache_clear()
    assert done == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("num_units", "unit"), [(1, 64), (64, 64), (65, 64), (240, 128), (5000, 512)]
)
def test_what_is_little_is_shared_too(
    num_units: int, unit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_calls, "num_workers", lambda: 2)
    assert host_calls.unit_for(num_units, 64, 512) == unit

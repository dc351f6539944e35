"""What a GPU makes of our kernels and of the network, in calls of a few minutes.

    python -m benchmarks.gpu_acceptance prepare            # here, without a GPU
    python -m benchmarks.gpu_acceptance check              # loads and compiles it, here
    python -m benchmarks.gpu_acceptance run --minutes 9    # on a machine with a GPU
    python -m benchmarks.gpu_acceptance report             # benchmarks/results/gpu.md

`prepare` fills the folder .acceptance with exported programs (the PTX of our kernels
inside), padded batches and the results of a CPU. `run` needs that folder, this file,
JAX and NumPy; no Triton, no Haiku. It does the steps of `plan.json` in order of worth,
appends a line to .acceptance/acceptance.jsonl after each, and stops before its time is
over; what is done there is not done again, so that three calls do all of it.
"""

import argparse
import importlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

FOLDER = Path(".acceptance")
RESULTS = Path(__file__).parent / "results"
NUM_ROWS = 16384
PARAMETER_SEED = 7
# What kernels.GPU_ENVIRONMENT holds, for a machine without that package.
RUN_ENVIRONMENT = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "true",
    "XLA_CLIENT_MEM_FRACTION": "0.95",
    "XLA_FLAGS": "--xla_gpu_enable_triton_gemm=false",
}
STREAMED = 2_000_000
"""Sequences of the step that streams a database."""
# All operations are timed at the first size, those on all pairs at the others too.
TIMED_TOKENS = (1024, 512, 2048)
# N, batch, channels of GPU MODE's contest of triangle multiplications; 128 hidden.
CONTEST = (
    (256, 2, 128),
    (768, 1, 128),
    (256, 2, 384),
    (512, 1, 128),
    (1024, 1, 128),
    (768, 1, 384),
    (1024, 1, 384),
    (256, 2, 768),
)


# Cells a second of the gapless filter of MMseqs2-GPU, whose hits are others, on one
# card: about 1e14 on eight L40S, by its authors (doi:10.1038/s41592-025-02819-8).
MMSEQS_GPU = 1.25e13


class Step(NamedTuple):
    """One thing that `run` does."""

    name: str
    kind: Literal["agree", "filter", "stream", "reference", "time", "model", "profile"]
    program: str
    """The file in the folder, without its ending."""
    seconds: float
    """Not begun when less than this is left."""
    tolerance: float = 0.0
    """Of agreement: the largest deviation."""
    num_tokens: int = 0


class Case(NamedTuple):
    """One operation of the model at one size, in every backend that takes it."""

    name: str
    num_tokens: int
    make: Callable[[Any], Any]
    """Inputs from a key."""
    call: Callable[..., Any]
    """Result from inputs and the keyword `backend`."""
    backends: tuple[str, ...]
    tolerance: float
    exact: bool = False
    """Whether float32 products are to be float32."""


# --- What `run` needs: JAX, NumPy and this file ------------------------------------


def _key(seed: int) -> np.ndarray:
    """What `jax.random.PRNGKey` makes of a seed."""
    return np.array([0, seed], np.uint32)


def _read_arrays(path: Path) -> list[np.ndarray]:
    with np.load(path) as stored:
        return [stored[f"arr_{i}"] for i in range(len(stored.files))]


def load(path: Path) -> Any:
    """An exported program."""
    # JAX reads exported programs with a package that it does not require.
    if str(path.parent / "packages") not in sys.path:
        sys.path.append(str(path.parent / "packages"))
    importlib.import_module("jaxlib.gpu_triton")  # registers the call
    from jax import export

    return export.deserialize(bytearray(zlib.decompress(path.read_bytes())))


def read_plan(folder: Path) -> list[Step]:
    """The steps, in order of worth."""
    return [Step(**x) for x in json.loads((folder / "plan.json").read_text())]


def read_results(folder: Path) -> list[dict]:
    """What earlier calls have found."""
    path = folder / "acceptance.jsonl"
    return list(map(json.loads, path.read_text().splitlines())) if path.exists() else []


def run(folder: Path, minutes: float) -> None:
    """Does the steps that are not done yet, as far as time allows."""
    end = time.monotonic() + 60 * minutes
    done = {row["step"] for row in read_results(folder) if row["ok"]}

    def note(row: dict) -> None:
        print(json.dumps(row), flush=True)
        with (folder / "acceptance.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    note({"step": "probe", "ok": True, **probe()})
    for step in read_plan(folder):
        if step.name in done or end - time.monotonic() < step.seconds:
            continue
        start = time.monotonic()
        try:
            found = STEPS[step.kind](folder, step)
        # The next step must still be done, whatever this one meets.
        except Exception as error:  # noqa: BLE001
            found = {"ok": False, "error": f"{type(error).__name__}: {error}"[:2000]}
        seconds = round(time.monotonic() - start, 2)
        note({"step": step.name, "seconds": seconds, **found})


def probe() -> dict:
    """The machine: card, driver, versions."""
    import jax

    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total"]
    try:
        query = subprocess.run(
            [*command, "--format=csv,noheader"], capture_output=True, text=True
        ).stdout.strip()
    except FileNotFoundError:
        query = ""
    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "nvidia_smi": query,
        "jax": jax.__version__,
        "runtime": device.client.platform_version,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "memory_fraction": os.environ.get("XLA_CLIENT_MEM_FRACTION", ""),
    }


def _agree(folder: Path, step: Step) -> dict:
    """The deviation of a backend from the definition, and whether bits repeat."""
    import jax

    call = jax.jit(load(folder / f"{step.program}.jax").call)
    deviation, is_finite, total = map(np.asarray, call(np.uint32(1)))
    again = np.asarray(call(np.uint32(1))[2])
    ok = bool(is_finite) and float(deviation) <= step.tolerance
    return {
        "ok": ok,
        "deviation": float(deviation),
        "tolerance": step.tolerance,
        "finite": bool(is_finite),
        "same_bits_twice": bool(total == again),
    }


def _filter(folder: Path, step: Step) -> dict:
    """The search's filter: every score against a CPU's, and cells a second."""
    import jax

    arrays = jax.device_put(_read_arrays(folder / f"{step.program}-arrays.npz"))
    expected, cells = _read_arrays(folder / f"{step.program}-expected.npz")
    call = jax.jit(load(folder / f"{step.program}.jax").call)
    equal = int((np.asarray(call(*arrays)) == expected).sum())
    repeats, times = 50, []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready([call(*arrays) for _ in range(repeats)])
        times.append((time.perf_counter() - start) / repeats)
    seconds = sorted(times)[2]
    return {
        "ok": equal == expected.size,
        "pairs": expected.size,
        "equal": equal,
        "microseconds": round(1e6 * seconds, 1),
        "tera_cells_a_second": round(float(cells) / seconds / 1e12, 2),
        "of_mmseqs2_gpu": round(float(cells) / seconds / MMSEQS_GPU, 2),
    }


def _stream(folder: Path, step: Step) -> dict:
    """2,000,000 sequences through the filter of 128 queries, from the host's memory to
    the pairs that are left, as the stage `filter` does it."""
    import jax

    residues, lowest, expected, cells, num_targets, *fixed = _read_arrays(
        folder / f"{step.program}-arrays.npz"
    )
    call = jax.jit(load(folder / f"{step.program}.jax").call)
    on_device = jax.device_put(fixed)

    def scores(block: np.ndarray) -> np.ndarray:
        return np.asarray(call(block, *on_device))[:, :num_targets]

    def left(block: np.ndarray) -> int:
        passed = scores(block) >= lowest
        return sum(len(np.flatnonzero(row)) for row in passed)

    first = scores(residues)
    equal = int((first[::8] == expected).sum())
    rng = np.random.default_rng(PARAMETER_SEED)
    blocks = [rng.permutation(residues) for _ in range(-(-STREAMED // num_targets))]
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        num_left = sum(pool.map(left, blocks))
    seconds = time.perf_counter() - start
    pairs = len(blocks) * first.size
    speed = float(cells) * len(blocks) / seconds
    return {
        "ok": equal == expected.size,
        "pairs": expected.size,
        "equal": equal,
        "sequences": len(blocks) * int(num_targets),
        "queries": len(first),
        "seconds_in_all": round(seconds, 2),
        "left": round(num_left / pairs, 5),
        "tera_cells_a_second": round(speed / 1e12, 2),
        "gigabytes_a_second": round(len(blocks) * residues.size / seconds / 1e9, 2),
        "of_mmseqs2_gpu": round(speed / MMSEQS_GPU, 2),
    }


def _time(folder: Path, step: Step) -> dict:
    """Seconds of one call, from loops of different length inside one program."""
    import jax

    call = jax.jit(load(folder / f"{step.program}.jax").call)

    def seconds(repeats: int) -> float:
        start = time.perf_counter()
        jax.block_until_ready(call(np.uint32(1), np.int32(repeats)))
        return time.perf_counter() - start

    seconds(1)
    # As many as take some tenths of a second: one launch costs microseconds.
    once = max((seconds(11) - seconds(1)) / 10, 1e-6)
    repeats = int(min(max(0.2 / once, 10), 5000))
    times = sorted((seconds(repeats + 1) - seconds(1)) / repeats for _ in range(5))
    return {
        "ok": True,
        "microseconds": round(1e6 * times[2], 2),
        "fastest": round(1e6 * times[0], 2),
        "slowest": round(1e6 * times[-1], 2),
        "repeats": repeats,
    }


def _arguments(folder: Path, step: Step) -> list[Any]:
    """Parameters made on the device, and the padded batch."""
    import jax

    make = jax.jit(load(folder / f"{step.program}-parameters.jax").call)
    batch = _read_arrays(folder / f"{step.program}-batch.npz")
    return [*make(np.uint32(PARAMETER_SEED)), *batch]


def _reference(folder: Path, step: Step) -> dict:
    """Every output of the network against the CPU's, relative, by Frobenius norm."""
    import jax

    arguments = _arguments(folder, step)
    call = jax.jit(load(folder / f"{step.program}.jax").call)
    found = [np.asarray(x, np.float64) for x in call(*arguments, _key(1))]
    expected = _read_arrays(folder / f"{step.program}-expected.npz")
    deviations = [
        float(np.linalg.norm(x - y) / max(float(np.linalg.norm(y)), 1e-30))
        for x, y in zip(found, expected, strict=True)
    ]
    worst = max(deviations)
    return {
        "ok": bool(worst <= step.tolerance),
        "deviation": worst,
        "tolerance": step.tolerance,
        "of_outputs": [float(f"{x:.3g}") for x in deviations],
    }


def _model(folder: Path, step: Step) -> dict:
    """Compilation, two runs, and the most memory that was used."""
    import jax

    arguments = jax.device_put(_arguments(folder, step))
    call = jax.jit(load(folder / f"{step.program}.jax").call)
    start = time.perf_counter()
    compiled = call.lower(*arguments, _key(1)).compile()
    compilation = time.perf_counter() - start
    seconds = []
    for seed in (1, 2):
        start = time.perf_counter()
        outputs = jax.block_until_ready(compiled(*arguments, _key(seed)))
        seconds.append(round(time.perf_counter() - start, 3))
    finite = all(bool(np.isfinite(np.asarray(x, "f4")).all()) for x in outputs)
    memory = jax.devices()[0].memory_stats() or {}
    analysis = compiled.memory_analysis()
    planned = sum(
        getattr(analysis, f"{name}_size_in_bytes")
        for name in ("argument", "output", "temp")
    )
    return {
        "ok": finite,
        "compilation_seconds": round(compilation, 1),
        "run_seconds": seconds,
        "peak_gb": round(memory.get("peak_bytes_in_use", 0) / 1e9, 2),
        "planned_gb": round(planned / 1e9, 2),
    }


def _profile(folder: Path, step: Step) -> dict:
    """The kernels that took most of one run, in milliseconds."""
    import tempfile

    import jax

    arguments = jax.device_put(_arguments(folder, step))
    call = jax.jit(load(folder / f"{step.program}.jax").call)
    jax.block_until_ready(call(*arguments, _key(1)))
    with tempfile.TemporaryDirectory() as trace:
        with jax.profiler.trace(trace):
            jax.block_until_ready(call(*arguments, _key(2)))
        (path,) = Path(trace).rglob("*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(path))
    totals: dict[str, float] = {}
    for plane in data.planes:
        if "/device:GPU" not in plane.name:
            continue
        for line in plane.lines:
            if not line.name.startswith("Stream"):
                continue
            for event in line.events:
                totals[event.name] = totals.get(event.name, 0.0) + event.duration_ns
    ranked = sorted(totals.items(), key=lambda x: -x[1])
    return {
        "ok": bool(totals),
        "total_ms": round(sum(totals.values()) / 1e6, 1),
        "kernels_ms": {name: round(ns / 1e6, 2) for name, ns in ranked[:60]},
    }


STEPS: dict[str, Callable[[Path, Step], dict]] = {
    "agree": _agree,
    "filter": _filter,
    "stream": _stream,
    "time": _time,
    "reference": _reference,
    "model": _model,
    "profile": _profile,
}


# --- What `prepare` and `check` need: the project, and XLA's compiler for GPUs ------


def cases(num_tokens: int) -> Iterator[Case]:
    """Every operation with a kernel of ours, as the model calls it."""
    import jax
    import jax.numpy as jnp

    from benchmarks.shapes import af3_shapes, input_shapes
    from kernels import Mask, attention, gated_transition

    def normal(key: Any, *shape: int, dtype: str = "bfloat16") -> Any:
        return jax.random.normal(key, shape, jnp.float32).astype(dtype)

    def inputs_of(shape: Any) -> Callable[[Any], Any]:
        shapes = input_shapes(shape)

        def make(key: Any) -> Any:
            def fill(name: str, x: Any) -> Any:
                part = jax.random.fold_in(key, zlib.crc32(name.encode()))
                return jax.random.normal(part, x.shape, jnp.float32).astype(x.dtype)

            made = {n: fill(n, x) for n, x in shapes.items() if n != "mask"}
            if "mask" in shapes:
                keys = shapes["mask"].keys.shape
                # Real keys, then padding, as in a bucket; one hole.
                index = jnp.arange(keys[-1])
                real = (index < keys[-1] * 9 // 10) & (index != keys[-1] // 3)
                made["mask"] = Mask(keys=jnp.broadcast_to(real, keys))
            return made

        return make

    for shape in af3_shapes(num_tokens):
        half = shape.dtype != "float32"
        yield Case(
            f"{shape.name}-{shape.dtype}",
            num_tokens,
            inputs_of(shape),
            lambda made, backend: attention(**made, backend=backend),
            ("triton", "cudnn", "xla") if half else ("triton", "xla"),
            # One TF32 product rounds to 11 bits, as bfloat16 to 8.
            3.2e-2 if half else 8e-3,
        )
        if not half:
            yield Case(
                f"{shape.name}-{shape.dtype}-exact",
                num_tokens,
                inputs_of(shape),
                lambda made, backend: attention(**made, backend=backend),
                ("triton", "xla"),
                2e-5,
                exact=True,
            )

    def transition(key: Any) -> Any:
        k = jax.random.split(key, 3)
        return {
            "x": normal(k[0], num_tokens, num_tokens, 128),
            "expand": normal(k[1], 128, 1024) / 128**0.5,
            "contract": normal(k[2], 512, 128) / 512**0.5,
        }

    yield Case(
        "transition",
        num_tokens,
        transition,
        lambda made, backend: gated_transition(
            **made, norm=_norm(128), backend=backend
        ),
        ("triton", "xla"),
        6.4e-2,
    )
    for outgoing in (True, False):
        name = "outgoing" if outgoing else "incoming"
        yield triangle_case(f"triangle-{name}", num_tokens, 1, 128, outgoing)
    yield from projection_cases(num_tokens)


def projection_cases(num_tokens: int) -> Iterator[Case]:
    """The projections around triangle attention: heads, bias and output."""
    import jax

    from kernels import project

    n = num_tokens
    calls = (
        ("heads", 512, {"norm": _norm(128), "order": "rows"}, ()),
        ("heads-of-columns", 512, {"norm": _norm(128), "order": "columns"}, ()),
        ("bias", 4, {"norm": _norm(128), "order": "channels"}, ()),
        ("output-of-columns", 128, {"order": "columns"}, ("residual",)),
    )
    for name, num_outputs, how, added in calls:
        shapes = {"x": (n, n, 128), "weights": (128, num_outputs)}
        shapes |= dict.fromkeys(added, (n, n, num_outputs))

        def make(key: Any, shapes: dict = shapes) -> Any:
            keys = jax.random.split(key, len(shapes))
            made = {
                name: jax.random.normal(part, shape, "float32").astype("bfloat16")
                for part, (name, shape) in zip(keys, shapes.items(), strict=True)
            }
            return made | {"weights": made["weights"] / 128**0.5}

        yield Case(
            f"project-{name}",
            num_tokens,
            make,
            lambda made, backend, how=how: project(**made, **how, backend=backend),
            ("triton", "xla"),
            # Values of two or three, rounded to 8 bits.
            6.4e-2,
        )


def _norm(num_channels: int) -> Any:
    import jax.numpy as jnp

    from kernels import Norm

    return Norm(jnp.full(num_channels, 1.25), jnp.full(num_channels, 0.125))


def triangle_case(
    name: str, num_tokens: int, batch: int, num_channels: int, outgoing: bool
) -> Case:
    """One triangle multiplication with 128 hidden channels."""
    import jax
    import jax.numpy as jnp

    from kernels import TriangleWeights, triangle_multiplication

    c, h = num_channels, 128

    def make(key: Any) -> Any:
        k = jax.random.split(key, 5)

        def normal(key: Any, *shape: int) -> Any:
            return jax.random.normal(key, shape, jnp.float32).astype("bfloat16")

        weights = TriangleWeights(
            *_norm(c),
            project=normal(k[0], c, h, 2) / c**0.5,
            project_gate=normal(k[1], c, h, 2) / c**0.5,
            output_scale=_norm(h).scale,
            output_offset=_norm(h).offset,
            output=normal(k[2], h, c) / h**0.5,
            output_gate=normal(k[3], c, c) / c**0.5,
        )
        pair = normal(k[4], batch, num_tokens, num_tokens, c)
        return {"pair": pair, "weights": weights}

    def call(made: Any, backend: Any) -> Any:
        real = jnp.arange(num_tokens) < max(num_tokens * 9 // 10, 1)
        mask = jnp.broadcast_to(real[:, None] & real, made["pair"].shape[:-1])
        return triangle_multiplication(
            made["pair"], mask, made["weights"], outgoing=outgoing, backend=backend
        )

    return Case(name, num_tokens, make, call, ("triton", "xla"), 6.4e-2)


def agreement(case: Case, backend: str) -> Callable[[Any], tuple[Any, Any, Any]]:
    """Largest deviation from the definition, whether all is finite, a sum of bits."""
    import jax
    import jax.numpy as jnp

    def compare(seed: Any) -> tuple[Any, Any, Any]:
        made = case.make(jax.random.PRNGKey(seed))
        with jax.default_matmul_precision("highest" if case.exact else None):
            found = case.call(made, backend=backend)
        expected = case.call(made, backend="naive").astype(jnp.float32)
        wide = found.astype(jnp.float32)
        bits = jax.lax.bitcast_convert_type(wide, jnp.uint32)
        return jnp.max(jnp.abs(wide - expected)), jnp.isfinite(wide).all(), bits.sum()

    return compare


def repetition(case: Case, backend: str) -> Callable[[Any, Any], Any]:
    """The operation applied to its own result, again and again.

    Where that has another shape than what it is made of, one number of it is handed on.
    """
    import jax

    def repeat(seed: Any, repeats: Any) -> Any:
        made = case.make(jax.random.PRNGKey(seed))
        name = next(n for n in ("q", "x", "pair") if n in made)

        def again(_: Any, x: Any) -> Any:
            result = case.call(made | {name: x}, backend=backend).astype(x.dtype)
            if result.shape == x.shape:
                return result
            return x.at[(0,) * x.ndim].set(result[(0,) * result.ndim])

        with jax.default_matmul_precision("highest" if case.exact else None):
            return jax.lax.fori_loop(0, repeats, again, made[name]).ravel()[:8]

    return repeat


def export_program(
    path: Path, capability: tuple[int, int], function: Callable[..., Any], *shapes: Any
) -> None:
    """Writes `function`, lowered for a card that need not be here."""
    import jax
    from jax import export

    from kernels import Device, lowering_for

    allowed = [
        export.DisabledSafetyCheck.custom_call(name)
        for name in ("triton_kernel_call_ffi", *CUDNN_CALLS)
    ]
    with lowering_for(Device("cuda", capability)):
        exported = export.export(
            jax.jit(lambda *xs: function(*xs)),
            platforms=["cuda"],
            disabled_checks=allowed,
        )(*shapes)
    path.write_bytes(zlib.compress(exported.serialize(), 9))


CUDNN_CALLS = ("__cudnn$fmhaScaleBiasSoftmax", "__cudnn$fmhaSoftmax")


class Network(NamedTuple):
    """A network to be run, and how."""

    name: str
    num_tokens: int
    num_rows: int
    config: Any
    runtime: Any
    has_reference: bool = False


def networks() -> tuple[Network, ...]:
    """The published network: once against a CPU, and at the sizes that are timed."""
    from dataclasses import replace

    from af3_core.model.config import ModelConfig, Runtime

    config = ModelConfig()
    short = replace(
        config,
        num_recycles=1,
        sampler=replace(config.sampler, num_steps=4, num_samples=1),
    )
    exact = Runtime(dtype="float32")
    return (
        Network("reference-256", 256, 64, short, exact, has_reference=True),
        *(
            Network(f"model-{n}", n, NUM_ROWS, config, Runtime())
            for n in (1024, 2048, 5120)
        ),
    )


def padded_batch(num_tokens: int, num_rows: int) -> Any:
    """A protein of nine tenths of the tokens, with a ligand, in a bucket."""
    from af3_core.chemistry.dictionary import Components
    from af3_core.features.featurise import featurise, reference_positions
    from af3_core.job import Job, Ligand, Polymer
    from af3_core.model.batch import pad

    letters = np.random.default_rng(num_tokens).choice(
        list("ACDEFGHIKLMNPQRSTVWY"), 400
    )
    length = num_tokens * 9 // 10 - 6
    chain, copies = "".join(letters)[: min(length, 400)], max(length // 400, 1)
    names = tuple(f"{chr(65 + i // 26)}{chr(65 + i % 26)}" for i in range(copies))
    polymer = Polymer(
        "protein", names, chain, unpaired_msa="", paired_msa="", templates=()
    )
    job = Job("acceptance", (1,), (polymer, Ligand(("L",), codes=("GOL",))))
    components = Components.load()
    features = featurise(job, components)
    positions = reference_positions(features, components, 1)
    return pad(features, positions, num_tokens, msa_rows=num_rows)


def make_parameters(config: Any) -> Callable[[Any], list[Any]]:
    """All parameters from a seed, of the size that training gives, as a flat list."""
    import jax
    import jax.numpy as jnp

    from af3_core.model.parameters import parameter_shapes

    leaves, _ = jax.tree_util.tree_flatten_with_path(parameter_shapes(config))

    sizes = [math.prod(shape.shape) for _, shape in leaves]

    def make(seed: Any) -> list[Any]:
        # One long draw: a program that draws each alone takes minutes to compile.
        drawn = jax.random.normal(jax.random.PRNGKey(seed), (sum(sizes),), jnp.float32)
        made, start = [], 0
        for (path, shape), size in zip(leaves, sizes, strict=True):
            values = drawn[start : start + size].reshape(shape.shape)
            start += size
            if jax.tree_util.keystr(path).endswith("['scale']"):
                values = 1.0 + 0.1 * values
            else:
                fan_in = max(math.prod(shape.shape[:-1]), 1)
                values = values * 0.5 * min(fan_in, 4096) ** -0.5
            made.append(values.astype(shape.dtype))
        return made

    return make


def prediction(network: Network, batch: Any) -> Callable[..., list[Any]]:
    """`predict` of flat lists of arrays."""
    import jax

    from af3_core.model.model import predict
    from af3_core.model.parameters import parameter_shapes

    trees = [jax.tree.structure(x) for x in (parameter_shapes(network.config), batch)]
    num_parameters = trees[0].num_leaves

    def run(*arguments: Any) -> list[Any]:
        *arrays, key = arguments
        params = jax.tree.unflatten(trees[0], arrays[:num_parameters])
        filled = jax.tree.unflatten(trees[1], arrays[num_parameters:])
        how = {"config": network.config, "runtime": network.runtime}
        found = predict(params, filled, key, **how)
        return [x for x in jax.tree.leaves(found) if x.dtype != bool]

    return run


def filter_inputs(
    num_queries: int, num_targets: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Profiles like those of HMMER's models, and sequences, the longest first."""
    rng = np.random.default_rng(PARAMETER_SEED)
    # Few residues score, most cost.
    profiles = [
        np.where(rng.random((29, 350)) < 0.1, -14, 6).astype(np.int8)
        for _ in range(num_queries)
    ]
    lengths = np.sort(rng.gamma(2.0, 175.0, num_targets).astype(int))[::-1]
    return profiles, [rng.integers(0, 20, n, np.uint8) for n in lengths]


def prepare_stream(
    folder: Path,
    name: str,
    capability: tuple[int, int],
    export_to: Callable[..., None],
    num_targets: int = 48_000,
) -> None:
    """Writes the filter of 128 queries for one block of a database, as it is read."""
    from kernels import Device, pack_sequences
    from kernels.segments_cpu import segment_scores
    from kernels.segments_triton import (
        kernel_arrays,
        make_tables,
        plan_words,
        spread,
        sweep,
    )

    profiles, sequences = filter_inputs(128, num_targets)
    targets = pack_sequences(sequences)
    (tables,) = make_tables(profiles)
    plan = plan_words(targets.lengths)
    residues = np.zeros(plan.num_residues, np.uint8)
    residues[: targets.starts[-1]] = targets.residues[: targets.starts[-1]]
    words = np.zeros(plan.num_places // 4, np.uint32)
    arrays = kernel_arrays(tables, words, plan.starts)
    names = [name for name in arrays if name != "letters_ptr"]

    def call(block: Any, shifts: Any, repeats: Any, *values: Any) -> Any:
        filled = dict(zip(names, values, strict=True))
        filled["letters_ptr"] = spread(block, shifts, repeats, plan.num_places)
        device = Device("cuda", capability)
        return sweep(filled, tables.layout, len(profiles), device)

    fixed = [plan.shifts, plan.repeats, *(np.asarray(arrays[n]) for n in names)]
    export_to(name, call, residues, *fixed)
    # An eighth is enough: they are all alike.
    expected = np.stack([segment_scores(costs, targets) for costs in profiles[::8]])
    # That leaves as many as HMMER's threshold does.
    lowest = np.quantile(expected, 0.998).astype(np.uint8)
    cells = np.float64(128 * 350) * targets.lengths.sum()
    stored = residues, lowest, expected, cells, np.int64(num_targets), *fixed
    np.savez_compressed(folder / f"{name}-arrays.npz", *stored)


def prepare_filter(
    folder: Path,
    name: str,
    capability: tuple[int, int],
    export_to: Callable[..., None],
    num_targets: int = 10_000,
) -> None:
    """Writes the search's filter of 64 queries, and what a CPU makes of the same."""
    from kernels import Device, pack_sequences
    from kernels.segments_cpu import segment_scores
    from kernels.segments_triton import kernel_arrays, make_tables, pack_words, sweep

    profiles, sequences = filter_inputs(64, num_targets)
    targets = pack_sequences(sequences)
    (tables,) = make_tables(profiles)
    arrays = kernel_arrays(tables, *pack_words(targets))
    names = list(arrays)

    def call(*values: Any) -> Any:
        device = Device("cuda", capability)
        best = sweep(dict(zip(names, values, strict=True)), tables.layout, 64, device)
        return best[:, :num_targets]

    values = [np.asarray(x) for x in arrays.values()]
    export_to(name, call, *values)
    np.savez_compressed(folder / f"{name}-arrays.npz", *values)
    expected = np.stack([segment_scores(costs, targets) for costs in profiles])
    cells = np.float64(64 * 350) * targets.lengths.sum()
    np.savez_compressed(folder / f"{name}-expected.npz", expected, cells)


def prepare(
    folder: Path,
    capability: tuple[int, int] = (9, 0),
    agreeing: Sequence[int] = (256,),
    timed: Sequence[int] = TIMED_TOKENS,
    contest: Sequence[tuple[int, int, int]] = CONTEST,
    models: Sequence[Network] | None = None,
    wanted: Callable[[str], bool] = lambda name: True,
) -> None:
    """Fills the folder with the programs that are wanted, by name.

    `benchmarks.gpu_compile.start` comes first.
    """
    import flatbuffers
    import jax
    import jax.numpy as jnp

    from benchmarks.gpu_compile import without_cudnn

    without_cudnn()
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(flatbuffers.__file__).parent
    shutil.copytree(
        source,
        folder / "packages" / source.name,
        ignore=shutil.ignore_patterns("__pycache__"),
        dirs_exist_ok=True,
    )
    seed = jax.ShapeDtypeStruct((), jnp.uint32)
    repeats = jax.ShapeDtypeStruct((), jnp.int32)

    def export_to(name: str, function: Callable[..., Any], *shapes: Any) -> None:
        export_program(folder / f"{name}.jax", capability, function, *shapes)

    agree, times, references, full = [], [], [], []
    for case, backend in _pairs(agreeing, capability):
        name = f"agree-{case.name}-{case.num_tokens}-{backend}"
        if not wanted(name):
            continue
        export_to(name, agreement(case, backend), seed)
        agree.append(Step(name, "agree", name, 15, case.tolerance, case.num_tokens))
    contested = [
        (triangle_case(f"contest-{c}-x{b}", n, b, c, True), "auto")
        for n, b, c in contest
    ]
    filters = []
    for kind, write in (("filter", prepare_filter), ("stream", prepare_stream)):
        if wanted(kind):
            write(folder, kind, capability, export_to)
            filters.append(Step(kind, kind, kind, 30))
    for case, backend in [*_pairs(timed, capability), *contested]:
        name = f"time-{case.name}-{case.num_tokens}-{backend}"
        is_other_size = case.num_tokens in timed[1:] and "triangle" not in case.name
        if is_other_size or not wanted(name):
            continue
        export_to(name, repetition(case, backend), seed, repeats)
        times.append(Step(name, "time", name, 20, num_tokens=case.num_tokens))
    for network in networks() if models is None else models:
        name, batch = network.name, padded_batch(network.num_tokens, network.num_rows)
        arrays = [np.asarray(x) for x in jax.tree.leaves(batch)]
        np.savez_compressed(folder / f"{name}-batch.npz", *arrays)
        make, predict = make_parameters(network.config), prediction(network, batch)
        export_to(f"{name}-parameters", make, seed)
        parameters = jax.eval_shape(make, seed)
        key = jax.ShapeDtypeStruct((2,), jnp.uint32)
        export_to(name, predict, *parameters, *arrays, key)
        if not network.has_reference:
            full.append(_model_step(network))
            continue
        made = jax.jit(make)(np.uint32(PARAMETER_SEED))
        expected = jax.jit(predict)(*made, *arrays, _key(1))
        results = [np.asarray(x) for x in expected]
        np.savez_compressed(folder / f"{name}-expected.npz", *results)
        references.append(Step(name, "reference", name, 120, 1e-2, network.num_tokens))
    # A profile of the second size says most; the largest is worth least.
    profile = [x._replace(name=f"profile-{x.name}", kind="profile") for x in full[:1]]
    steps = [*agree, *filters, *references, *times, *full[:2], *profile, *full[2:]]
    plan = json.dumps([step._asdict() for step in steps], indent=1)
    (folder / "plan.json").write_text(plan)


def _pairs(
    sizes: Sequence[int], capability: tuple[int, int]
) -> Iterator[tuple[Case, str]]:
    for num_tokens in sizes:
        for case in cases(num_tokens):
            for backend in case.backends:
                yield case, backend


def _model_step(network: Network) -> Step:
    """Compilation, two runs and what reading and making the arguments takes."""
    seconds = {1024: 200, 2048: 420}.get(network.num_tokens, 500)
    return Step(network.name, "model", network.name, seconds, 0.0, network.num_tokens)


def check(folder: Path, card: str = "h100") -> list[str]:
    """Loads every program and compiles it for a card that is not here.

    Returns the names of what was compiled. `benchmarks.gpu_compile.start` comes first.
    """
    from benchmarks.gpu_compile import cards, compile_here

    compiled = []
    for path in sorted(folder.glob("*.jax")):
        exported = load(path)
        compile_here(cards()[card], exported.call, *exported.in_avals)
        compiled.append(path.stem)
    return compiled


def report(folder: Path) -> str:
    """The results as Markdown."""
    rows = read_results(folder)
    probes = [row for row in rows if row["step"] == "probe"]
    named = {row["step"]: row for row in rows if row["step"] != "probe"}
    machine = probes[-1]["nvidia_smi"] or probes[-1]["device"]
    lines = [
        "# On a GPU, measured",
        "",
        f"{machine}, jax {probes[-1]['jax']}: `benchmarks.gpu_acceptance run`.",
        "",
        "| step | ok | what was found |",
        "| --- | --- | --- |",
    ]
    for name, row in named.items():
        rest = {k: v for k, v in row.items() if k not in ("step", "ok", "kernels_ms")}
        found = "; ".join(f"{key} {value}" for key, value in rest.items())
        lines.append(f"| {name} | {'yes' if row['ok'] else 'no'} | {found} |")
        for kernel, milliseconds in list(row.get("kernels_ms", {}).items())[:20]:
            lines.append(f"| {name}: {kernel} | | {milliseconds} ms |")
    return "\n".join([*lines, ""])


def main(argv: Sequence[str] | None = None) -> None:
    """Does what the command says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("prepare", "check", "run", "report"))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--minutes", type=float, default=9.0)
    arguments = parser.parse_args(argv)
    folder = arguments.folder
    if arguments.what == "run":
        # As every run of the project sets it; see kernels/environment.py.
        for name, value in RUN_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        run(folder, arguments.minutes)
    elif arguments.what == "report":
        (RESULTS / "gpu.md").write_text(report(folder))
    else:
        from benchmarks.gpu_compile import start

        start()
        if arguments.what == "prepare":
            prepare(folder)
            files = [x for x in folder.rglob("*") if x.is_file()]
            size = sum(x.stat().st_size for x in files)
            print(f"{len(files)} files, {size / 2**20:.1f} MiB")
        else:
            print(*check(folder), sep="\n")


if __name__ == "__main__":
    main()

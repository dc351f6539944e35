"""One network in a process of its own: what it takes to load, compile and predict.

    python -P one_network.py TASK.json RESULT.npz

is started by benchmarks.bench_model, with the Python and the source of the network it
measures: AlphaFold 3's own, or Foldmill's of this or of another clone. Lines that it is
sent name features to predict from. Nothing of Foldmill is imported unless Foldmill is
what is measured.
"""

import importlib
import json
import os
import sys
import time
import types
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

type Features = dict[str, np.ndarray]
"""Arrays by AlphaFold 3's names, as it feeds them to the network."""


class Network(NamedTuple):
    """How to use one of them. Positions are in Å, of all samples, errors likewise."""

    load: Callable[[], Any]
    prepare: Callable[[Features], Any]
    compile: Callable[[Any, Any], "Predict"]
    """For what was loaded, and all that is prepared with the same shapes."""


type Predict = Callable[[Any, Any, int], dict[str, np.ndarray]]
"""Of what was loaded, what was prepared, and a seed; all results on the host."""


class Missing(type):
    """Stands for a class that was not built, and for whatever is in it."""

    def __getattr__(cls, name: str) -> "Missing":
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(name, (), {})

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"AlphaFold 3's {cls.__name__} was not built")


class _NotBuilt(MetaPathFinder, Loader):
    """Modules that AlphaFold 3's network imports and never calls.

    They are made when AlphaFold 3 is installed: its C++ extension, for features and
    mmCIF, and sets of chemical components.
    """

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        names = "alphafold3.cpp", "alphafold3.constants.chemical_component_sets"
        if not any(f"{fullname}.".startswith(f"{name}.") for name in names):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        stand_in = Missing(spec.name, (), {})
        vars(module)["__getattr__"] = lambda name: getattr(stand_in, name)
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def alphafold3(task: dict[str, Any]) -> Network:
    """AlphaFold 3's, used as its `run_alphafold.py` does with
    `--flash_attention_implementation=xla`, the one that a processor can compute."""
    try:
        importlib.import_module("alphafold3.cpp")
    except ImportError:
        sys.meta_path.insert(0, _NotBuilt())
    import haiku as hk
    import jax
    import jax.numpy as jnp

    model = importlib.import_module("alphafold3.model.model")
    params = importlib.import_module("alphafold3.model.params")
    utils = importlib.import_module("alphafold3.model.components.utils")
    config = model.Model.Config()
    config.global_config.flash_attention_implementation = "xla"
    config.global_config.bfloat16 = "all" if task["dtype"] == "bfloat16" else "none"
    config.heads.diffusion.eval.num_samples = task["num_samples"]
    config.heads.diffusion.eval.steps = task["num_steps"]
    config.num_recycles = task["num_recycles"]
    run = jax.jit(hk.transform(lambda batch: model.Model(config)(batch)).apply)

    def prepare(features: Features) -> Any:
        valid = utils.remove_invalidly_typed_feats(features)
        return jax.tree.map(jnp.asarray, valid)

    def compile_for(weights: Any, batch: Any) -> Predict:
        program = run.lower(weights, jax.random.PRNGKey(0), batch).compile()

        def predict(weights: Any, batch: Any, seed: int) -> dict[str, np.ndarray]:
            result = program(weights, jax.random.PRNGKey(seed), batch)
            result = jax.tree.map(np.asarray, result)
            positions = result["diffusion_samples"]["atom_positions"]
            return {"positions": positions, "pae": result["full_pae"]}

        return predict

    folder = Path(task["checkpoint"]).parent
    return Network(lambda: params.get_model_haiku_params(folder), prepare, compile_for)


def foldmill(task: dict[str, Any]) -> Network:
    """Foldmill's, used as its `workflow.inference.worker` does."""
    from workflow.inference.devices import set_environment

    set_environment()
    from dataclasses import replace

    import jax

    from af3_core.model import batch as batches
    from af3_core.model.checkpoint import load_checkpoint, read_config
    from af3_core.model.config import Runtime
    from af3_core.model.conventions import follow
    from af3_core.model.model import compile_predict
    from tests.parity.adapter import batch_from_features

    path, dtype = Path(task["checkpoint"]), task["dtype"]
    config = read_config(path)
    steps = task["num_steps"] or config.sampler.num_steps
    samples = task["num_samples"] or config.sampler.num_samples
    config = replace(
        config,
        num_recycles=config.num_recycles
        if task["num_recycles"] is None
        else task["num_recycles"],
        sampler=replace(config.sampler, num_steps=steps, num_samples=samples),
    )
    run: Any = compile_predict(config, Runtime(dtype=dtype))
    # Clones of an earlier time do not have it.
    spare_windows = getattr(batches, "spare_windows", lambda batch: batch)

    def prepare(features: Features) -> Any:
        batch = follow(batch_from_features(features), config.conventions)
        return spare_windows(batch) if task["few_atoms"] else batch

    def compile_for(weights: Any, batch: Any) -> Predict:
        drawn = np.int32(task["drawn_tokens"])
        program = run.lower(weights, batch, jax.random.PRNGKey(0), drawn).compile()

        def predict(weights: Any, batch: Any, seed: int) -> dict[str, np.ndarray]:
            prediction = program(weights, batch, jax.random.PRNGKey(seed), drawn)
            prediction = jax.device_get(prediction)
            return {
                "positions": prediction.positions,
                "pae": prediction.confidence.full_pae,
            }

        return predict

    def load() -> Any:
        return load_checkpoint(path, dtype=dtype).params

    return Network(load, prepare, compile_for)


class Clock:
    """Wall time and processor time since it was made, s."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Both; the processor's of all threads."""
        wall, cpu = self._began
        return time.perf_counter() - wall, time.process_time() - cpu


def measure(network: Network, task: dict[str, Any]) -> dict[str, Any]:
    """Loads, and predicts for every line that it is sent, a file of features.

    Compiling, once for all items of a shape, is timed apart.
    """
    import jax

    clock = Clock()
    weights = jax.block_until_ready(network.load())
    load = clock.read()
    calls, results = [], {}
    programs: dict[object, Predict] = {}
    compiling = np.zeros(2)

    print("ready", flush=True)
    for line in sys.stdin:
        with np.load(line.rstrip("\n")) as arrays:
            batch = network.prepare(dict(arrays))
        shapes = tuple(np.shape(x) for x in jax.tree.leaves(batch))
        if shapes not in programs:
            clock = Clock()
            programs[shapes] = network.compile(weights, batch)
            compiling += clock.read()
        clock = Clock()
        results = programs[shapes](weights, batch, task["seed"])
        calls.append(clock.read())
        print(calls[-1], flush=True)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (peak,) = (x for x in status.splitlines() if x.startswith("VmHWM"))
    costs = {
        "load": load,
        "compile": compiling.tolist(),
        "calls": calls,
        "peak": 1024 * int(peak.split()[1]),
        "jax": jax.__version__,
    }
    return {**results, "costs": json.dumps(costs)}


def main(task_file: str, result_file: str) -> None:
    """Does one task."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    task = json.loads(Path(task_file).read_text(encoding="utf-8"))
    make = {"alphafold3": alphafold3, "foldmill": foldmill}[task["network"]]
    np.savez(result_file, **measure(make(task), task))


if __name__ == "__main__":
    main(*sys.argv[1:])

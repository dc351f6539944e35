"""Lowers functions for NVIDIA GPUs on a machine that has none.

`python -m tests.kernels.lowering NAME` prints what it found as JSON. A process of its
own: JAX looks for its CUDA plugin when it is first imported, and then complains
about the missing driver.
"""

import functools
import itertools
import json
import math
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.gpu_compile import COMPILER, PTXAS, without_cudnn
from benchmarks.program import kernel_of, ptx_of, triton_calls

_TENSOR = re.compile(r"tensor<((?:\d+x)+)(bf16|f16|f32)>")
KERNELS = (
    "flash_attention",
    "gated_transition",
    "gated_unit",
    "project",
    "project_edges",
    "update_edges",
)
_CALL = re.compile(r"custom_call @(\S+?)\(")


def count_calls(program: str) -> dict[str, int]:
    """Custom calls by target; those of Triton by the name of the kernel."""
    counts = Counter(_CALL.findall(program))
    del counts["triton_kernel_call_ffi"]
    for call in triton_calls(program):
        counts[kernel_of(call)] += 1
    return dict(counts)


def float_tensors(program: str) -> set[tuple[tuple[int, ...], str]]:
    """Shape, without leading ones, and type of every float tensor in a program."""
    return {
        (_without_ones(int(size) for size in dims.split("x") if size), dtype)
        for dims, dtype in _TENSOR.findall(program)
    }


def _without_ones(shape: Iterable[int]) -> tuple[int, ...]:
    return tuple(itertools.dropwhile(lambda size: size == 1, shape))


def lower_attentions(num_tokens: int = 256) -> dict[str, Any]:
    """Each attention of the model by itself, with each fused backend."""
    from benchmarks.shapes import af3_shapes, input_shapes
    from kernels import attention

    found = {}
    for shape in af3_shapes(num_tokens):
        arguments = input_shapes(shape, "bfloat16")
        for backend in ("triton", "cudnn", "naive"):
            call = functools.partial(attention, backend=backend)
            program = _lower(_with_keywords(call), arguments)
            found[f"{shape.name} {backend}"] = {
                "calls": count_calls(program),
                "logits": _logits(program, shape, arguments),
            }
    return found


def _with_keywords(function: Callable[..., Any]) -> Callable[[dict], Any]:
    return lambda arguments: function(**arguments)


def _logits(program: str, shape: Any, arguments: dict[str, Any]) -> list[str]:
    """Float tensors of queries × keys × heads that no caller has handed over."""
    import jax

    given = {(_without_ones(x.shape), "bf16") for x in jax.tree.leaves(arguments)}
    size = shape.num_queries * shape.num_keys * shape.num_heads
    return [
        f"{dtype} {list(tensor)}"
        for tensor, dtype in float_tensors(program) - given
        if tensor[-2:] == (shape.num_queries, shape.num_keys)
        and math.prod(tensor) >= size
    ]


def assemble_kernels() -> dict[str, str]:
    """What XLA's assembler has against a kernel, by card: nothing if all is well."""
    from benchmarks.shapes import af3_shapes, input_shapes
    from kernels import attention

    shape = af3_shapes(256)[0]
    found = {}
    for capability in ((8, 0), (9, 0), (10, 0), (12, 0)):
        # A new function each time: JAX does not trace the same one twice.
        call = _with_keywords(functools.partial(attention, backend="triton"))
        program = _lower(call, input_shapes(shape, "bfloat16"), capability=capability)
        (ptx,) = ptx_of(program)
        found["{}.{}".format(*capability)] = assemble(ptx)
    return found


def assemble(ptx: str) -> str:
    """Why the assembler that XLA calls refuses `ptx`; nothing when it does not."""
    target = re.search(r"\.target (\w+)", ptx)[1]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        result = subprocess.run(
            [PTXAS, f"--gpu-name={target}", f"--output-file={folder}/cubin", source],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    return f"{result.stdout}ended with {result.returncode}" * bool(result.returncode)


def lower_model(num_tokens: int = 1024) -> dict[str, Any]:
    """The whole network of the published size, with each fused backend."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from af3_core.model.config import ModelConfig, Runtime
    from af3_core.model.model import predict
    from af3_core.model.parameters import blank_batch, parameter_shapes
    from kernels import record_choices

    config = ModelConfig()
    params = parameter_shapes(config)
    batch = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(np.shape(x), np.asarray(x).dtype),
        blank_batch(num_tokens, num_rows=1024, num_templates=4),
    )
    key = jax.ShapeDtypeStruct((2,), jnp.uint32)
    found = {}
    for name, backend in (("triton", "triton"), ("cudnn", ("cudnn", "xla"))):
        runtime = Runtime(attention_backend=backend)
        function = functools.partial(predict, config=config, runtime=runtime)
        with record_choices() as choices:
            program = _lower(function, params, batch, key)
        found[name] = {
            "calls": count_calls(program),
            "choices": {f"{spec.operation}: {spec}": choices[spec] for spec in choices},
            "triangle_logits": [
                f"{dtype} {list(tensor)}"
                for tensor, dtype in float_tensors(program)
                if len(tensor) > 3 and tensor[-3:] == (4, num_tokens, num_tokens)
            ],
        }
    return found


def _lower(
    function: Callable[..., Any],
    *arguments: Any,
    capability: tuple[int, int] = (8, 0),
) -> str:
    import jax

    from kernels import Device, lowering_for

    with lowering_for(Device("cuda", capability)):
        traced = jax.jit(function).trace(*arguments)
        return traced.lower(lowering_platforms=("cuda",)).as_text()


def main() -> None:
    """Prints the findings of one of the functions above."""
    sys.path.append(str(COMPILER))
    without_cudnn()
    functions = {
        "attentions": lower_attentions,
        "kernels": assemble_kernels,
        "model": lower_model,
    }
    print(json.dumps(functions[sys.argv[1]]()))


if __name__ == "__main__":
    main()

"""The environment in which XLA computes on a GPU as it does best."""

from collections.abc import Mapping

GPU_ENVIRONMENT: Mapping[str, str] = {
    # One pool from the start, of nearly all memory: JAX's own default of 0.75 leaves a
    # fifth of what a large complex needs unused. As AlphaFold 3's Dockerfile (v3.0.4).
    "XLA_PYTHON_CLIENT_PREALLOCATE": "true",
    "XLA_CLIENT_MEM_FRACTION": "0.95",
    # XLA's own Triton products read the channels-first edges of a triangle
    # multiplication with one channel a sector of memory, and compile slowly; cuBLAS
    # does neither. As AlphaFold 3's docs/performance.md (v3.0.4).
    "XLA_FLAGS": "--xla_gpu_enable_triton_gemm=false",
}


def gpu_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables to set beside `environment`, which goes first where they differ.

    Flags are added to those in XLA_FLAGS, except where one of that name is there.
    """
    chosen = {k: v for k, v in GPU_ENVIRONMENT.items() if k not in environment}
    # Before 2025 the fraction had another name, which XLA still reads.
    if "XLA_PYTHON_CLIENT_MEM_FRACTION" in environment:
        chosen.pop("XLA_CLIENT_MEM_FRACTION", None)
    given = environment.get("XLA_FLAGS", "").split()
    names = {flag.partition("=")[0] for flag in given}
    ours = GPU_ENVIRONMENT["XLA_FLAGS"].split()
    missing = [flag for flag in ours if flag.partition("=")[0] not in names]
    if missing:
        chosen["XLA_FLAGS"] = " ".join([*given, *missing])
    return chosen

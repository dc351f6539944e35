"""What a run on a GPU sets for XLA, and what its user has the last word on."""

from kernels import GPU_ENVIRONMENT, gpu_environment


def test_an_empty_environment_gets_everything() -> None:
    assert gpu_environment({}) == dict(GPU_ENVIRONMENT)


def test_what_the_user_has_set_stays() -> None:
    given = {
        "XLA_CLIENT_MEM_FRACTION": "0.5",
        "XLA_FLAGS": "--xla_gpu_enable_triton_gemm=true",
    }
    assert gpu_environment(given) == {"XLA_PYTHON_CLIENT_PREALLOCATE": "true"}


def test_flags_are_added_to_those_that_are_there() -> None:
    added = gpu_environment({"XLA_FLAGS": "--xla_dump_to=/tmp/x"})
    assert added["XLA_FLAGS"] == (
        "--xla_dump_to=/tmp/x --xla_gpu_enable_triton_gemm=false"
    )


def test_the_older_name_of_the_fraction_counts() -> None:
    given = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.5"}
    assert "XLA_CLIENT_MEM_FRACTION" not in gpu_environment(given)

"""A process in which Triton interprets kernels instead of compiling them."""

import concurrent.futures
import multiprocessing
import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests.kernels.interpreter import launch


@pytest.fixture(scope="session")
def interpret() -> Iterator[Callable[..., dict[str, np.ndarray]]]:
    """`launch` in another process: Triton decides at import whether to interpret."""
    os.environ["TRITON_INTERPRET"] = "1"
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        pool.submit(os.getpid).result()
        del os.environ["TRITON_INTERPRET"]
        yield lambda *arguments: pool.submit(launch, *arguments).result()

"""Small real campaigns for tests: demo databases, a toy model, short chains."""

import functools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DATABASES = ROOT / "tests/data/databases/databases.tsv"

ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
"""That of a user without a GPU: without conftest's switches."""
TINY = "tests.workflow.tiny_checkpoint"
"""The smallest network there is."""
QUICK_COMPILE = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0"
    " --xla_llvm_disable_expensive_passes=true"
}
"""conftest.py takes it too, for tests in its own process."""
NEVER_RUN = "never run"
"""In place of a network, for a campaign that is only planned."""

NO_SEARCH = {"unpairedMsa": "", "pairedMsa": "", "templates": []}


def protein(sequence: str, *ids: str, **fields: object) -> dict[str, object]:
    """One protein entity; nothing is searched unless `fields` says otherwise."""
    entity = {"id": list(ids or "A"), "sequence": sequence, **NO_SEARCH, **fields}
    return {"protein": entity}


def job(name: str, *entities: dict[str, object], **fields: object) -> str:
    """The text of an AlphaFold 3 JSON."""
    return json.dumps(
        {
            "name": name,
            "modelSeeds": [1],
            "sequences": list(entities),
            "dialect": "alphafold3",
            "version": 4,
            **fields,
        }
    )


def make_campaign(
    folder: Path,
    inputs: Mapping[str, str | bytes],
    *,
    network: str = "tests.workflow.toy_checkpoint",
    **overrides: Mapping[str, object],
) -> Path:
    """Writes inputs, configuration and a toy checkpoint into a folder.

    `network` is the module that writes the checkpoint, or `NEVER_RUN`; `overrides` are
    keys of the configuration's blocks.
    """
    (folder / "inputs").mkdir(parents=True)
    for name, text in inputs.items():
        data = text if isinstance(text, bytes) else text.encode()
        (folder / "inputs" / name).write_bytes(data)
    for name, data in toy_checkpoint(network).items():
        (folder / name).write_bytes(data)
    settings = {
        "inputs": ["inputs"],
        "search": {"databases": str(DATABASES), "store": "store"},
        "model": {
            "checkpoint": "toy.bin.zst",
            "num_recycles": 0,
            "num_diffusion_steps": 3,
            "num_samples": 2,
        },
        "predict": {"dtype": "float32"},
    }
    for block, keys in overrides.items():
        settings[block] = {**settings.get(block, {}), **keys}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


@functools.cache
def toy_checkpoint(network: str = "tests.workflow.toy_checkpoint") -> dict[str, bytes]:
    """The files that the module writes; it takes seconds, and is always the same."""
    if network == NEVER_RUN:
        return {"toy.bin.zst": b""}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toy.bin.zst"
        make_toy = [sys.executable, "-m", network, "--out", path]
        subprocess.run(make_toy, check=True, cwd=ROOT)
        return {found.name: found.read_bytes() for found in path.parent.iterdir()}


def run_campaign(
    folder: Path,
    *options: str,
    timeout: float = 900,
    memory: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """`foldmill run` on a campaign, without conftest's switches.

    `memory`: limit on the address space of every process, bytes, as of `ulimit -v`.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    return subprocess.run(
        [
            sys.executable,
            "-m",
            "workflow.cli",
            "run",
            "--directory",
            str(folder),
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**ENVIRONMENT, **(environment or {})},
        cwd=ROOT,
        preexec_fn=limit if memory else None,
    )


def kill_when(
    folder: Path,
    pattern: str,
    *,
    timeout: float = 600,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Starts the campaign and kills all of it, -9, once such a file is there."""
    command = [sys.executable, "-m", "workflow.cli", "run", "--directory", str(folder)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**ENVIRONMENT, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + timeout
    while not any(folder.glob(pattern)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the campaign ended before there was {pattern}")
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

"""One process, one GPU: which of a machine's devices a process takes.

Slurm gives a job its devices. Where nobody does, several predict jobs of one machine
(the resource `devices` says how many) must not all take the first one: each locks a
device for as long as it lives, before JAX looks for any.
"""

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from kernels import GPU_ENVIRONMENT, gpu_environment
from workflow.engine.guard import log

VISIBLE = "CUDA_VISIBLE_DEVICES"
_POLL_SECONDS = 5.0
_held: list[int] = []
"""Locks of this process. They end with it, however it ends."""


def visible_devices() -> list[str]:
    """NVIDIA devices this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    stated = os.environ.get(VISIBLE)
    if stated is not None:
        return [name for name in stated.split(",") if name]
    nodes = (re.fullmatch(r"nvidia(\d+)", node) for node in os.listdir("/dev"))
    return sorted((node[1] for node in nodes if node), key=int)


def set_environment() -> None:
    """Sets for XLA, on a machine with GPUs, what its user has not set otherwise.

    To be called before JAX looks for devices.
    """
    if not visible_devices():
        return
    chosen = gpu_environment(os.environ)
    os.environ.update(chosen)
    for name in GPU_ENVIRONMENT:
        whose = "as we set it" if name in chosen else "as it was set"
        log(f"{name}={os.environ.get(name, '')} ({whose})")


def claim_device(devices: Sequence[str]) -> str | None:
    """Takes one of several devices for this process alone, waiting until one is free.

    Nothing is done where there is no choice.

    Returns:
        The device, which is then the only visible one.
    """
    if len(devices) < 2:
        return None
    folder = Path(tempfile.gettempdir()) / f"foldmill-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    has_waited = False
    while True:
        for device in devices:
            if _lock(folder / re.sub(r"\W", "_", device)):
                os.environ[VISIBLE] = device
                return device
        if not has_waited:
            log(f"all {len(devices)} devices are taken; waiting for one")
        has_waited = True
        time.sleep(_POLL_SECONDS)


def _lock(path: Path) -> bool:
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    _held.append(handle)
    return True

"""What made a prediction, in enough detail to make it again."""

import functools
import hashlib
import importlib.metadata
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import jax

from af3_core.model.checkpoint import Checkpoint
from af3_core.model.config import ModelConfig, Runtime
from kernels import GPU_ENVIRONMENT, demoted
from workflow.inference.canary import Trust
from workflow.settings import Settings

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("af3_core", "kernels", "workflow")
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def code_version() -> str:
    """Foldmill's version: of the clone that the code is in, or of what is installed.

    An environment of conda has all packages but ours.
    """
    file = _ROOT / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        # Beside installed packages it may be anybody's.
        if project.get("name") == "foldmill":
            return project["version"]
    return importlib.metadata.version("foldmill")


@functools.cache
def source_digest() -> str:
    """16 hex digits that name the code: every Python file of the three packages."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(_ROOT)} {content}\n".encode())
    return digest.hexdigest()[:16]


@functools.cache
def driver_version() -> str | None:
    """Version of NVIDIA's kernel module; None where there is none."""
    if not _NVIDIA_DRIVER.is_file():
        return None
    return _NVIDIA_DRIVER.read_text(encoding="utf-8").splitlines()[0].strip()


def _environment(platform: str) -> dict[str, str]:
    """What XLA was told by the environment; of numbers on a CPU it says nothing."""
    names = () if platform == "cpu" else GPU_ENVIRONMENT
    return {name: os.environ[name] for name in names if name in os.environ}


def provenance(
    checkpoint: Checkpoint,
    config: ModelConfig,
    runtime: Runtime,
    settings: Settings,
    *,
    backends: Mapping[str, list[str]],
    bucket: int,
    msa_rows: int,
    features: str,
    search: Mapping[str, object],
    seed: int,
    rung: str,
    at_once: int,
    trust: Trust | None,
    num_recycles: int,
) -> str:
    """The provenance column of a prediction, as JSON with sorted keys.

    Args:
        checkpoint: the weights.
        config: the network, as this campaign configures it.
        runtime: how the network was run.
        settings: the campaign's.
        backends: what computed each operation, as chosen for the device.
        bucket: padded tokens.
        msa_rows: padded depth of the alignment.
        features: digest of what the features were made from.
        search: what alignments and templates came from; see `search_facts`.
        seed: the model seed.
        rung: how much memory was saved; see `workflow.engine.ladder`.
        at_once: how many items the program computed.
        trust: what the device showed before it was used.
        num_recycles: how many were computed, `model.recycle_tolerance` considered.
    """
    device = jax.devices()[0]
    facts = {
        "foldmill": code_version(),
        "source": source_digest(),
        "weights": checkpoint.digest,
        "weights_origin": checkpoint.origin,
        "weights_name": checkpoint.release.name,
        "weights_version": checkpoint.release.version,
        "weights_licence": checkpoint.release.licence,
        "num_recycles": num_recycles,
        "max_recycles": config.num_recycles,
        "recycle_tolerance": config.recycle_tolerance,
        "num_diffusion_steps": config.sampler.num_steps,
        "num_samples": config.sampler.num_samples,
        "noise_buckets": settings.model.noise_buckets,
        "precision": runtime.dtype,
        "attention": runtime.attention_backend,
        "backends": backends,
        "device": device.device_kind,
        "demoted": demoted(),
        "environment": _environment(device.platform),
        # One digit: it says that the device is in order, and of which kind it is.
        "canary": trust and float(f"{trust.deviation:.0e}"),
        "platform": device.platform,
        "runtime": device.client.platform_version.splitlines()[0],
        "driver": driver_version(),
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "bucket": bucket,
        "msa_rows": msa_rows,
        "rung": rung,
        "items_at_once": at_once,
        "seed": seed,
        "features": features,
        "search_profile": settings.search.profile,
        "search": search,
    }
    return json.dumps(facts, sort_keys=True)

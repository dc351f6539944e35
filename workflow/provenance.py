"""What made a prediction, in enough detail to make it again."""

import importlib.metadata
import json
from collections.abc import Mapping

import jax

from af3_core.model.checkpoint import Checkpoint
from af3_core.model.config import Runtime
from workflow.settings import Settings


def code_version() -> str:
    """Foldmill's version."""
    return importlib.metadata.version("foldmill")


def provenance(
    checkpoint: Checkpoint,
    runtime: Runtime,
    settings: Settings,
    *,
    backends: Mapping[str, list[str]],
    bucket: int,
    msa_rows: int,
    features: str,
) -> str:
    """The provenance column of a prediction, as JSON with sorted keys.

    Args:
        checkpoint: the weights.
        runtime: how the network was run.
        settings: the campaign's.
        backends: what computed each operation, as chosen for the device.
        bucket: padded tokens.
        msa_rows: padded depth of the alignment.
        features: digest of what the features were made from.
    """
    device = jax.devices()[0]
    facts = {
        "foldmill": code_version(),
        "weights": checkpoint.digest,
        # The published release is named by 64 bytes; weights made up here by zeros.
        "untrained": int(checkpoint.identifier or "0", 16) == 0,
        "precision": runtime.dtype,
        "attention": runtime.attention_backend,
        "backends": backends,
        "device": device.device_kind,
        "platform": device.platform,
        "driver": device.client.platform_version.splitlines()[0],
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "bucket": bucket,
        "msa_rows": msa_rows,
        "features": features,
        "search_profile": settings.search.profile,
    }
    return json.dumps(facts, sort_keys=True)

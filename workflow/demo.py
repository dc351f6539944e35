"""Prepares what the demo needs: an untrained toy model in the official file format."""

import json
from pathlib import Path

from rich.console import Console

DEMO_MODEL = Path("config/demo/model.json")
DEMO_CHECKPOINT = Path("models/demo.bin.zst")
_SEED = 1


def prepare_demo(console: Console) -> None:
    """Writes the demo's checkpoint unless it is there."""
    if DEMO_CHECKPOINT.is_file():
        return
    # JAX takes a second to load and is needed only here.
    from af3_core.model.checkpoint import write_random_checkpoint
    from af3_core.model.config import config_from_dict

    console.print("Making an untrained toy model: its structures mean nothing.")
    config = config_from_dict(json.loads(DEMO_MODEL.read_text(encoding="utf-8")))
    DEMO_CHECKPOINT.parent.mkdir(parents=True, exist_ok=True)
    write_random_checkpoint(DEMO_CHECKPOINT, config, _SEED)

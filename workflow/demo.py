"""An untrained toy model in the official file format, for the demo and for tests.

python -m workflow.demo --out models/demo.bin.zst
"""

import argparse
import json
from pathlib import Path

from rich.console import Console

DEMO_MODEL = Path(__file__).resolve().parent.parent / "config/demo/model.json"
DEMO_CHECKPOINT = Path("models/demo.bin.zst")
_SEED = 1


def main(argv: list[str] | None = None) -> int:
    """Writes the toy model."""
    parser = argparse.ArgumentParser(prog="workflow.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=DEMO_CHECKPOINT)
    write_toy_model(parser.parse_args(argv).out)
    return 0


def prepare_demo(console: Console) -> None:
    """Writes the demo's checkpoint unless it is there."""
    if not DEMO_CHECKPOINT.is_file():
        console.print("Making an untrained toy model: its structures mean nothing.")
        write_toy_model(DEMO_CHECKPOINT)


def write_toy_model(path: Path) -> None:
    """Writes a checkpoint of pseudo-random numbers; always the same."""
    # JAX takes a second to load and is needed only here.
    from af3_core.model.checkpoint import write_random_checkpoint
    from af3_core.model.config import config_from_dict

    config = config_from_dict(json.loads(DEMO_MODEL.read_text(encoding="utf-8")))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_random_checkpoint(path, config, _SEED)


if __name__ == "__main__":
    raise SystemExit(main())

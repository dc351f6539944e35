"""A small network with every part of the published one, of pseudo-random numbers.

python -m tests.workflow.toy_checkpoint --out OUT
"""

import json
import sys
from pathlib import Path

from af3_core.model.checkpoint import write_random_checkpoint
from af3_core.model.config import config_from_dict

NETWORK = Path(__file__).with_name("toy_network.json")

if __name__ == "__main__":
    config = config_from_dict(json.loads(NETWORK.read_text(encoding="utf-8")))
    write_random_checkpoint(Path(sys.argv[2]), config, seed=1)

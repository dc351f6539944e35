"""The smallest network that runs, in the official file format.

python -m tests.workflow.tiny_checkpoint --out OUT
"""

import sys
from pathlib import Path

from af3_core.model.checkpoint import write_random_checkpoint
from tests.af3_core.model.tiny import TINY

if __name__ == "__main__":
    write_random_checkpoint(Path(sys.argv[2]), TINY, seed=1)

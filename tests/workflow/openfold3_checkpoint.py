"""A small network that follows OpenFold3's conventions, imported from its own format.

python -m tests.workflow.openfold3_checkpoint --out OUT
"""

import sys
import tempfile
from pathlib import Path

from af3_core.model.imports import import_openfold3
from tests.af3_core.model.state_dicts import write_torch
from tests.af3_core.model.test_imports import SMALL, tensors

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "of3.pt"
        write_torch(source, tensors())
        import_openfold3(source, Path(sys.argv[2]), SMALL)

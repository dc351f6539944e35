"""The mmCIF dictionary's own word on our files, by three readers that know nothing of
each other: libcifpp's cif-validate, python-ihm and gemmi. Takes about 10 s.

Debian's cif-tools and libcifpp-data have the program and the dictionaries.
"""

import io
import shutil
import subprocess
from functools import cache
from pathlib import Path

import gemmi
import ihm.dictionary
import pytest

from tests.af3_core.output_examples import mmcif_of, predicted

DICTIONARIES = Path("/usr/share/libcifpp")
PDBX, MODEL_ARCHIVE = DICTIONARIES / "mmcif_pdbx.dic", DICTIONARIES / "mmcif_ma.dic"
pytestmark = pytest.mark.skipif(
    not PDBX.is_file() or shutil.which("cif-validate") is None,
    reason=f"no cif-validate, or no dictionaries in {DICTIONARIES} (apt: cif-tools)",
)
CASES = ["ubiquitin", "villin_gb1", "trna_crambin", "kitchen_sink"]


@cache
def ihm_dictionary() -> ihm.dictionary.Dictionary:
    """The PDB's dictionary with ModelCIF's extension."""
    parts = []
    for path in (PDBX, MODEL_ARCHIVE):
        with path.open(encoding="latin-1") as file:
            parts.append(ihm.dictionary.read(file))
    return parts[0] + parts[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both dictionaries in one file, for readers that take one only."""
    pdbx, extension = (gemmi.cif.read(str(p)) for p in (PDBX, MODEL_ARCHIVE))
    known = {item.frame.name.lower() for item in pdbx[0] if item.frame}
    for item in extension[0]:
        if item.frame and item.frame.name.lower() not in known:
            pdbx[0].add_item(item)
    path = tmp_path_factory.mktemp("dictionary") / "whole.dic"
    pdbx.write_file(str(path))
    return path


def complaints_of_libcifpp(text: str, whole: Path, folder: Path) -> str:
    path = folder / "model.cif"
    path.write_text(text)
    flags = ["--verbose", "--validate-links", "--dict", str(whole)]
    done = subprocess.run(
        ["cif-validate", *flags, str(path)], capture_output=True, text=True, check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    return "\n".join(line for line in lines if not line.startswith("CPU usage"))


@pytest.mark.parametrize("name", CASES[-2:])
def test_libcifpp_finds_our_files_valid(name: str, whole: Path, tmp_path: Path) -> None:
    assert complaints_of_libcifpp(mmcif_of(predicted(name)), whole, tmp_path) == ""


@pytest.mark.parametrize("name", CASES)
def test_python_ihm_finds_our_files_valid(name: str) -> None:
    ihm_dictionary().validate(io.StringIO(mmcif_of(predicted(name))))


def test_both_would_find_a_fault(whole: Path, tmp_path: Path) -> None:
    broken = mmcif_of(predicted("ubiquitin")).replace("ATOM ", "ATOMS ")
    with pytest.raises(ihm.dictionary.ValidatorError, match="(?i)group_pdb"):
        ihm_dictionary().validate(io.StringIO(broken))
    assert "group_PDB" in complaints_of_libcifpp(broken, whole, tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_gemmi_finds_our_files_valid(name: str, whole: Path) -> None:
    document = gemmi.cif.read_string(mmcif_of(predicted(name)))
    # AF3 describes SMILES ligands by an item that is the PDB's own: gemmi minds it.
    components = document.sole_block().get_mmcif_category("_chem_comp.")
    components.pop("pdbx_smiles", None)
    document.sole_block().set_mmcif_category("_chem_comp.", components)
    faults: list[str] = []
    dictionary = gemmi.cif.Ddl(logger=(faults.append, 3))
    dictionary.read_ddl(gemmi.cif.read(str(whole)))
    assert dictionary.validate_cif(document), faults

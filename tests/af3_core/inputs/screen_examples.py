"""A folder with all that the requests of docs/screens.md name, and how to read one."""

import re
from pathlib import Path

from af3_core.inputs.entities import Links
from af3_core.inputs.screen import Screen
from af3_core.inputs.screen_file import read_screen
from af3_core.job import Job, ScreenPlace
from tests.workflow.campaigns import ROOT

PAGE = ROOT / "docs" / "screens.md"
CRAMBIN = "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN"
SEQUENCES = {
    "P0A001": CRAMBIN,
    "P0A002": "MLSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF",
    "P0A003": "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKEST",
    "P0A004": "MDIRQGPKEPFRDYVDRFYKTLRAEQASQEVKNWMTETLLVQNANPDCKTILKALGPGATLEEMM",
    "P0A005": "QELRLRVQGKEKHQMLEISLSPDSPLKVLMSHYEEAMGLSGHKLSFFFDGTKLSGKELPADLG",
}
"""The five proteins of proteins.fasta by accession."""
_HEADER = re.compile(r"<!-- request: (\w+) -->\n```yaml\n(.*?)```", re.DOTALL)


def requests() -> dict[str, str]:
    """The requests of the page by name."""
    return dict(_HEADER.findall(PAGE.read_text(encoding="utf-8")))


def make_folder(folder: Path) -> Path:
    """Writes the files that the requests name."""
    records = (f">sp|{name}|PROT_ECOLI x\n{s}\n" for name, s in SEQUENCES.items())
    (folder / "proteins.fasta").write_text("".join(records))
    (folder / "baits.txt").write_text("P0A001\nP0A002:2\n")
    (folder / "folds.txt").write_text("P0A003:1-30\nP0A004:2:1-20:31-50\n\nP0A005\n")
    smiles = (f"C{'C' * i}O alcohol{i}\n" for i in range(5))
    (folder / "library.smi").write_text("".join(smiles))
    (folder / "kinase.a3m").write_text(f">query\n{CRAMBIN}\n>hit\n{'A' * 46}\n")
    template = ROOT / "tests/data/databases/pdb_mmcif/1ejg.cif"
    (folder / "kinase.cif").write_text(template.read_text())
    return folder


def screen_of(text: str, folder: Path) -> Screen:
    """The screen of a document that lies in a folder."""
    return read_screen(text, "screen.yaml", Links(folder), (1,))


def jobs_of(text: str, folder: Path) -> list[Job]:
    """All jobs of a document."""
    return list(screen_of(text, folder).jobs())


def place_of(job: Job) -> ScreenPlace:
    """What a job of a screen is for."""
    assert job.place is not None
    return job.place


def kind_of(job: Job) -> str:
    """Whether a job of a screen was asked for or is background."""
    return place_of(job).kind


def names_of(text: str, folder: Path) -> list[str]:
    """The names of all jobs of a document."""
    return [found.name for found in jobs_of(text, folder)]

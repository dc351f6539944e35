"""Whatever a file holds, reading it ends in jobs or in errors that can be mended."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from af3_core.inputs.files import read_jobs
from af3_core.job import write_job
from tests.af3_core.inputs.job_examples import (
    ALIGNMENT,
    DATA,
    SEQUENCE,
    TEMPLATE,
    job_object,
    protein,
    rna,
    server_job,
)

Place = tuple[str | int, ...]


def rich_job() -> dict:
    """A job with every field of the language, all of them valid."""
    template = {"mmcif": TEMPLATE, "queryIndices": [0, 1], "templateIndices": [1, 2]}
    chain = protein(
        id=["A", "C"],
        modifications=[{"ptmType": "SEP", "ptmPosition": 9}],
        description="a chain",
        unpairedMsa=ALIGNMENT.replace(SEQUENCE, "MKTAYIAKSR"),
        pairedMsa="",
        templates=[template],
    )
    dna = {"dna": {"id": "D", "sequence": "GATTACA"}}
    ligand = {"ligand": {"id": "L", "ccdCodes": ["NAG", "NAG"]}}
    smiles = {"ligand": {"id": "S", "smiles": "CC(=O)Oc1ccccc1C(=O)O"}}
    bonds = [[["A", 1, "N"], ["L", 1, "C1"]], [["L", 1, "O4"], ["L", 2, "C1"]]]
    return job_object(
        chain, rna(unpairedMsa=""), dna, ligand, smiles, bondedAtomPairs=bonds
    )


def rich_server_jobs() -> list:
    """Two jobs of the other dialect with every field that is converted."""
    changes = [{"ptmType": "CCD_SEP", "ptmPosition": 3}]
    chain = {"sequence": SEQUENCE, "count": 2, "modifications": changes}
    entities = (
        {"proteinChain": chain | {"useStructureTemplate": False}},
        {"rnaSequence": {"sequence": "GGCU", "count": 1}},
        {"ligand": {"ligand": "CCD_ATP", "count": 1}},
        {"ion": {"ion": "MG", "count": 3}},
    )
    header = {"dialect": "alphafoldserver", "version": 1, "modelSeeds": ["5"]}
    return [server_job(*entities, **header), server_job(name="second")]


VALID = [
    rich_job(),
    json.loads((DATA / "cases" / "kitchen_sink.json").read_text()),
    rich_server_jobs(),
]
TELLING = [
    *("", "A", "a", "AA", SEQUENCE, ALIGNMENT, "ATP", "CCD_ATP", "C1CC", "CCO", "*"),
    *("alphafold3", "alphafoldserver", "..", "/", "/dev/null", "a\0b", "\ud800", "é"),
    *(0, 1, 2, 4, 5, -1, 2**32 - 1, 2**32, 10**30, 1.0, 1.5, float("nan"), 1e400),
    *(True, False, None, [], {}, [[]], [{}], {"": 1}),
]
KEYS = st.sampled_from(
    "name modelSeeds sequences dialect version bondedAtomPairs userCCD userCCDPath "
    "protein rna dna ligand id sequence modifications unpairedMsa unpairedMsaPath "
    "pairedMsa templates mmcif mmcifPath queryIndices ccdCodes smiles count ion".split()
)
LEAVES = st.sampled_from(TELLING) | st.text(max_size=20) | st.integers() | st.floats()
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=12,
).map(copy.deepcopy)


def places(value: object, prefix: Place = ()) -> list[Place]:
    """Where anything stands in a document."""
    keys = value if isinstance(value, dict) else range(len(value))
    found = [prefix] if prefix else []
    for key in keys:
        if isinstance(value[key], dict | list):
            found += places(value[key], (*prefix, key))
        else:
            found.append((*prefix, key))
    return found


def parent_of(document: object, place: Place) -> object:
    for key in place[:-1]:
        document = document[key]
    return document


@st.composite
def mutated(draw: st.DrawFn) -> object:
    """A valid document in which one to three values were changed, moved or dropped."""
    document = copy.deepcopy(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 3))):
        options = places(document)
        if not options:
            break
        place = draw(st.sampled_from(options))
        parent, key = parent_of(document, place), place[-1]
        action = draw(st.sampled_from(["replace", "drop", "repeat", "copy", "add"]))
        if action == "drop":
            del parent[key]
        elif action == "repeat" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        elif action == "copy":
            source = draw(st.sampled_from(options))
            parent[key] = copy.deepcopy(parent_of(document, source)[source[-1]])
        elif action == "add" and isinstance(parent, dict):
            parent[draw(KEYS)] = draw(ANYTHING)
        else:
            parent[key] = draw(ANYTHING)
    return document


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def check(content: bytes, path: Path) -> None:
    """Reading ends well, and what is accepted survives being written and read."""
    path.write_bytes(content)
    jobs, errors = read_jobs(path)
    assert jobs or errors
    for error in errors:
        assert error.file == str(path) and error.field and error.allowed
    for job in jobs:
        written = path.with_name("written.json")
        written.write_text(write_job(job), encoding="utf-8")
        assert read_jobs(written) == ([job], [])


def fuzzing(num_cases: int) -> settings:
    return settings(
        max_examples=num_cases,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )


@fuzzing(1500)
@given(document=mutated())
def test_mutated_jobs_never_crash_the_reader(document, folder) -> None:
    check(json.dumps(document).encode(), folder / "job.json")


@fuzzing(500)
@given(document=ANYTHING)
def test_arbitrary_json_never_crashes_the_reader(document, folder) -> None:
    check(json.dumps(document).encode(), folder / "job.json")


@fuzzing(300)
@given(data=st.data())
def test_damaged_files_never_crash_the_reader(data, folder) -> None:
    content = bytearray(json.dumps(data.draw(st.sampled_from(VALID))).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 20))
        content[start : start + length] = data.draw(st.binary(max_size=8))
    check(bytes(content), folder / "job.json")


@fuzzing(300)
@given(text=st.text(alphabet=">;*ACGUTkind=rna \n\r\t-1é\0", max_size=80))
def test_arbitrary_fasta_never_crashes_the_reader(text, folder) -> None:
    check(text.encode(), folder / "job.fasta")


@fuzzing(300)
@given(
    rows=st.lists(
        st.lists(
            st.sampled_from(["name", "chains", "a", "MKT", "rna:GG;MK", "2;1", "x*MG"])
            | st.text(alphabet="a;:*,\"'\n2MGsmiles:CO\0", max_size=12),
            max_size=6,
        ).map(",".join),
        max_size=4,
    )
)
def test_arbitrary_sample_sheets_never_crash_the_reader(rows, folder) -> None:
    text = "\n".join(["name,chains,copies,ligands,seeds", *rows])
    check(text.encode(), folder / "job.csv")

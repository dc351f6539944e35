"""Jobs as users write them, and the way from an object to a job and back."""

import json
from pathlib import Path

from af3_core.inputs.files import read_jobs
from af3_core.job import InputError, Job

DATA = Path(__file__).parents[2] / "data"
SEQUENCE = "MKTAYIAKQR"
ALIGNMENT = f">query\n{SEQUENCE}\n>hit\nMK-AYIagAKQR\n"
TEMPLATE = """data_TEMPLATE
_entry.id TEMPLATE
_pdbx_audit_revision_history.revision_date 2000-01-01
_entity.id 1
_entity.type polymer
_entity_poly.entity_id 1
_entity_poly.type polypeptide(L)
_struct_asym.id A
_struct_asym.entity_id 1
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_entity_id
_atom_site.label_seq_id
_atom_site.auth_seq_id
_atom_site.auth_asym_id
_atom_site.pdbx_PDB_ins_code
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.B_iso_or_equiv
_atom_site.pdbx_PDB_model_num
ATOM 1 C CA . MET A 1 1 1 A ? 0.0 0.0 0.0 1.0 0.0 1
ATOM 2 C CA . LYS A 1 2 2 A ? 3.8 0.0 0.0 1.0 0.0 1
ATOM 3 C CA . THR A 1 3 3 A ? 7.6 0.0 0.0 1.0 0.0 1
"""


def job_object(*entities: dict, **fields: object) -> dict:
    """An `alphafold3` job with these entities, a single protein if none."""
    job = {
        "name": "example",
        "modelSeeds": [1],
        "sequences": list(entities) or [protein()],
        "dialect": "alphafold3",
        "version": 4,
    }
    return job | fields


def protein(**fields: object) -> dict:
    """A protein entity."""
    return {"protein": {"id": "A", "sequence": SEQUENCE} | fields}


def rna(**fields: object) -> dict:
    """An RNA entity."""
    return {"rna": {"id": "B", "sequence": "GGCUAGCC"} | fields}


def server_job(*entities: dict, **fields: object) -> dict:
    """An `alphafoldserver` job with these entities, a single protein if none."""
    chain = {"proteinChain": {"sequence": SEQUENCE, "count": 1}}
    return {"name": "example", "sequences": list(entities) or [chain]} | fields


def read_text(
    text: str, folder: Path, name: str = "job.json", **options: object
) -> tuple[list[Job], list[InputError]]:
    """What `read_jobs` makes of a file with this text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_jobs(path, **options)


def accept(document: object, folder: Path, **options: object) -> Job:
    """The only job of a JSON document that must be accepted."""
    jobs, errors = read_text(json.dumps(document), folder, **options)
    assert errors == []
    [job] = jobs
    return job


def refuse(document: object, folder: Path, **options: object) -> InputError:
    """The first error of a JSON document of which nothing may be accepted."""
    jobs, errors = read_text(json.dumps(document), folder, **options)
    assert jobs == []
    return errors[0]

"""The `alphafold3` dialect: what is accepted, and what it means."""

import gzip
import json
import lzma

import pytest
import zstandard

from af3_core.job import BondAtom, Ligand, Modification, Polymer
from tests.af3_core.inputs.job_examples import (
    ALIGNMENT,
    SEQUENCE,
    TEMPLATE,
    accept,
    job_object,
    protein,
    read_text,
    refuse,
    rna,
)


def template(**fields: object) -> dict:
    given = {"mmcif": TEMPLATE, "queryIndices": [2, 3], "templateIndices": [0, 2]}
    return given | fields


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_every_version_takes_every_field(version, tmp_path) -> None:
    (tmp_path / "query.a3m").write_text(ALIGNMENT)
    chain = protein(unpairedMsaPath="query.a3m", pairedMsa="", description="a chain")
    job = accept(job_object(chain, version=version), tmp_path)
    assert job.entities[0].unpaired_msa == ALIGNMENT


def test_a_whole_job_reads_as_it_is_written(tmp_path) -> None:
    ligand = {"ligand": {"id": ["L", "M"], "ccdCodes": ["NAG", "NAG"]}}
    changes = [{"ptmType": "SEP", "ptmPosition": 3}]
    bond = [["L", 1, "O4"], ["L", 2, "C1"]]
    document = job_object(
        protein(id=["A", "B"], modifications=changes, description="two copies"),
        ligand,
        modelSeeds=[0, 4294967295],
        bondedAtomPairs=[bond],
    )
    job = accept(document, tmp_path)
    assert job.seeds == (0, 4294967295)
    assert job.entities == (
        Polymer(
            kind="protein",
            ids=("A", "B"),
            sequence=SEQUENCE,
            modifications=(Modification("SEP", 3),),
            description="two copies",
        ),
        Ligand(ids=("L", "M"), codes=("NAG", "NAG")),
    )
    assert job.bonds == ((BondAtom("L", 1, "O4"), BondAtom("L", 2, "C1")),)


@pytest.mark.parametrize(
    ("fields", "unpaired", "paired", "templates"),
    [
        ({}, None, None, None),
        ({"unpairedMsa": None, "pairedMsa": None, "templates": None}, None, None, None),
        ({"templates": []}, None, None, ()),
        ({"unpairedMsa": "", "pairedMsa": ""}, "", "", None),
        ({"unpairedMsa": ALIGNMENT, "pairedMsa": ""}, ALIGNMENT, "", None),
        ({"unpairedMsa": "", "pairedMsa": ALIGNMENT}, "", ALIGNMENT, None),
        ({"unpairedMsa": "", "pairedMsa": "", "templates": []}, "", "", ()),
        ({"unpairedMsa": None, "unpairedMsaPath": None}, None, None, None),
    ],
)
def test_null_means_search_and_empty_means_none(
    fields, unpaired, paired, templates, tmp_path
) -> None:
    chain = accept(job_object(protein(**fields)), tmp_path).entities[0]
    found = chain.unpaired_msa, chain.paired_msa, chain.templates
    assert found == (unpaired, paired, templates)


@pytest.mark.parametrize("alignment", [None, "", ">q\nGGCUAGCC\n>h\nGG-uUAGCN\n"])
def test_rna_has_an_unpaired_alignment_alone(alignment, tmp_path) -> None:
    job = accept(job_object(rna(unpairedMsa=alignment)), tmp_path)
    assert job.entities[0].unpaired_msa == alignment


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, lzma.compress, zstandard.compress],
    ids=["plain", "gzip", "xz", "zstd"],
)
def test_linked_files_may_be_compressed_and_relative(compress, tmp_path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "query").write_bytes(compress(ALIGNMENT.encode()))
    (tmp_path / "template").write_bytes(compress(TEMPLATE.encode()))
    structure = template(mmcifPath=str(tmp_path / "template"))
    del structure["mmcif"]
    chain = protein(
        unpairedMsaPath="data/query", pairedMsaPath="data/query", templates=[structure]
    )
    read = accept(job_object(chain), tmp_path).entities[0]
    assert read.unpaired_msa == read.paired_msa == ALIGNMENT
    assert read.templates[0].mmcif == TEMPLATE


def test_a_zstandard_file_of_several_frames_is_read_to_its_end(tmp_path) -> None:
    parts = ALIGNMENT[:15], ALIGNMENT[15:]
    frames = b"".join(zstandard.compress(part.encode()) for part in parts)
    (tmp_path / "frames.zst").write_bytes(frames)
    chain = protein(unpairedMsaPath="frames.zst", pairedMsa="")
    job = accept(job_object(chain), tmp_path)
    assert job.entities[0].unpaired_msa == ALIGNMENT


@pytest.mark.parametrize("link", ["../outside.a3m", "link.a3m"])
def test_allowed_roots_confine_links_even_through_symbolic_ones(link, tmp_path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "outside.a3m").write_text(ALIGNMENT)
    (folder / "link.a3m").symlink_to(tmp_path / "outside.a3m")
    document = job_object(protein(unpairedMsaPath=link, pairedMsa=""))
    assert accept(document, folder).entities[0].unpaired_msa == ALIGNMENT
    error = refuse(document, folder, allowed_roots=(folder,))
    assert error.allowed == f"a file inside {folder}"


def test_templates_map_residues_and_older_files_write_null(tmp_path) -> None:
    nothing = template(queryIndices=[], templateIndices=None)
    chain = protein(unpairedMsa="", pairedMsa="", templates=[template(), nothing])
    read = accept(job_object(chain), tmp_path).entities[0].templates
    assert [t.query_indices for t in read] == [(2, 3), ()]
    assert [t.template_indices for t in read] == [(0, 2), ()]


@pytest.mark.parametrize("letters", ["ACDEFGHIKLMNPQRSTVWY", "XBZJOU"])
def test_proteins_take_all_upper_case_letters(letters, tmp_path) -> None:
    job = accept(job_object(protein(sequence=letters)), tmp_path)
    assert job.entities[0].sequence == letters


def test_nucleic_acids_take_unknown_bases(tmp_path) -> None:
    dna = {"dna": {"id": "C", "sequence": "GATNRY"}}
    job = accept(job_object(rna(sequence="GGCUNNAX"), dna), tmp_path)
    assert [chain.sequence for chain in job.entities] == ["GGCUNNAX", "GATNRY"]


def test_a_modified_residue_stands_in_the_alignment_by_its_parent(tmp_path) -> None:
    changes = [{"ptmType": "SEP", "ptmPosition": 1}]
    alignment = ALIGNMENT.replace(SEQUENCE, "S" + SEQUENCE[1:])
    chain = protein(modifications=changes, unpairedMsa=alignment, pairedMsa="")
    assert accept(job_object(chain), tmp_path).entities[0].unpaired_msa == alignment


def test_an_alignment_may_begin_with_comments_and_wrap_its_rows(tmp_path) -> None:
    alignment = f"#10\t1\n>query\n{SEQUENCE[:4]}\n{SEQUENCE[4:]}\r\n\n>hit\nMK--YIAKQR"
    chain = protein(unpairedMsa=alignment, pairedMsa="")
    assert accept(job_object(chain), tmp_path).entities[0].unpaired_msa == alignment


@pytest.mark.parametrize(
    "fields", [{"ccdCodes": ["ATP"], "smiles": None}, {"smiles": "C[C@@H](O)\\C=C\\C"}]
)
def test_a_ligand_is_codes_or_smiles(fields, tmp_path) -> None:
    job = accept(job_object({"ligand": {"id": "L"} | fields}), tmp_path)
    assert job.entities[0].smiles == fields["smiles"]


def test_all_that_is_wrong_is_told_at_once(tmp_path) -> None:
    document = job_object(
        protein(sequence="MK1"), rna(unpairedMsa=5), name="", modelSeeds=[]
    )
    _, errors = read_text(json.dumps(document), tmp_path)
    assert [error.field for error in errors] == [
        "name",
        "modelSeeds",
        "sequences[0].protein.sequence",
        "sequences[1].rna.unpairedMsa",
    ]

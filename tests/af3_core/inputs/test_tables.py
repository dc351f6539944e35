"""FASTA and CSV: jobs for people who do not write JSON."""

import gzip
import json
import lzma

import pytest
import zstandard

from af3_core.inputs.files import read_jobs
from af3_core.inputs.listing import find_inputs
from af3_core.job import Job, Ligand, Polymer
from tests.af3_core.inputs.job_examples import (
    DATA,
    SEQUENCE,
    job_object,
    read_text,
)


def test_every_fasta_record_is_a_monomer(tmp_path) -> None:
    halves = f"{SEQUENCE[:5]}\r\n{SEQUENCE[5:]}"
    text = f"\ufeff; a comment\n>one first protein\n{halves}\n\n>two\nMKT*\n"
    jobs, errors = read_text(text, tmp_path, "proteome.faa", default_seeds=(1, 2))
    assert errors == []
    assert jobs == [
        Job("one", (1, 2), (Polymer(kind="protein", ids=("A",), sequence=SEQUENCE),)),
        Job("two", (1, 2), (Polymer(kind="protein", ids=("A",), sequence="MKT"),)),
    ]


def test_fasta_names_keep_what_file_names_can_hold(tmp_path) -> None:
    text = ">sp|P69905|HBA_HUMAN Hemoglobin\nMVLSPADK\n"
    [job], _ = read_text(text, tmp_path, "one.fasta")
    assert job.name == "sp_P69905_HBA_HUMAN"


def test_fasta_letters_may_be_lower_case(tmp_path) -> None:
    [job], _ = read_text(">soft masked\nMKTayiAKQR\n", tmp_path, "one.fa")
    assert job.entities[0].sequence == SEQUENCE


def test_fasta_is_rna_or_dna_only_where_its_header_says_so(tmp_path) -> None:
    text = ">a kind=rna\nGGCU\n>b KIND=DNA\ngatt\n>c\nGATTACA\n"
    jobs, _ = read_text(text, tmp_path, "mixed.fasta")
    assert [job.entities[0].kind for job in jobs] == ["rna", "dna", "protein"]


def test_one_bad_record_never_stops_the_others(tmp_path) -> None:
    jobs, errors = read_text(">a\nMKT\n>b\nM1\n>c\nGGG\n", tmp_path, "three.fasta")
    assert [job.name for job in jobs] == ["a", "c"]
    assert [error.field for error in errors] == ["record 2 (b), line 3, sequence"]


def test_real_fasta_is_read_whole(tmp_path) -> None:
    text = (DATA / "databases" / "queries.fasta").read_text()
    jobs, errors = read_text(text, tmp_path, "queries.fasta")
    assert errors == [] and len(jobs) == text.count(">")


def test_a_sample_sheet_row_is_a_complex(tmp_path) -> None:
    text = (
        "\ufeffname,chains,copies,ligands,seeds\r\n"
        "first,MKTAYIAKQR; rna:ggcu,2;1,ATP; 2*MG; 2 * smiles:CCO,1;2\r\n"
        "\r\n"
        "second,DNA:GATT,,,\r\n"
    )
    jobs, errors = read_text(text, tmp_path, "sheet.csv", default_seeds=(9,))
    assert errors == []
    assert jobs[0] == Job(
        name="first",
        seeds=(1, 2),
        entities=(
            Polymer(kind="protein", ids=("A", "B"), sequence=SEQUENCE),
            Polymer(kind="rna", ids=("C",), sequence="GGCU"),
            Ligand(ids=("D",), codes=("ATP",)),
            Ligand(ids=("E", "F"), codes=("MG",)),
            Ligand(ids=("G", "H"), smiles="CCO"),
        ),
    )
    assert (jobs[1].seeds, jobs[1].entities[0].kind) == ((9,), "dna")


def test_a_sample_sheet_needs_name_and_chains_alone_in_any_order(tmp_path) -> None:
    [job], _ = read_text("chains,name\nMKT,a b\n", tmp_path, "sheet.csv")
    assert (job.name, job.seeds) == ("a b", (1,))


def test_one_bad_row_never_stops_the_others(tmp_path) -> None:
    text = "name,chains\na,MKT\nb,M1\nc,GGG,extra\nd,GGG\n"
    jobs, errors = read_text(text, tmp_path, "sheet.csv")
    assert [job.name for job in jobs] == ["a", "d"]
    assert [error.field for error in errors] == ["line 3, chains", "line 4"]


def test_a_record_of_several_chains_is_a_complex(tmp_path) -> None:
    text = (
        ">dimer of two\nMKTAYI:\nGSHMK\n"
        ">homodimer\nMKT : mkt\n"
        ">mixed\nMKT:rna|GGCU:dna|GATT:ccd|atp:smiles|CC(=O)O:MKT\n"
    )
    jobs, errors = read_text(text, tmp_path, "colabfold.fasta")
    assert errors == []
    assert jobs[0].entities == (
        Polymer("protein", ("A",), "MKTAYI"),
        Polymer("protein", ("B",), "GSHMK"),
    )
    assert jobs[1].entities == (Polymer("protein", ("A", "B"), "MKT"),)
    assert jobs[2].entities == (
        Polymer("protein", ("A", "F"), "MKT"),
        Polymer("rna", ("B",), "GGCU"),
        Polymer("dna", ("C",), "GATT"),
        Ligand(("D",), codes=("ATP",)),
        Ligand(("E",), smiles="CC(=O)O"),
    )


def test_a_wrong_chain_of_a_complex_is_named(tmp_path) -> None:
    _, [error] = read_text(">a\nMKT:\n:MKT\n", tmp_path, "a.fasta")
    assert error.field == "record 1 (a), line 1, chain 2"


def test_one_byte_that_is_no_utf8_costs_no_record_but_its_own(tmp_path) -> None:
    path = tmp_path / "latin1.fasta"
    path.write_bytes(b">p1 kin\xe4se\nMKT\n>p\xfc\nMKT\n>p3\nM\xfcT\n>p4\nMKT\n")
    jobs, errors = read_jobs(path)
    assert [job.name for job in jobs] == ["p1", "p\ufffd", "p4"]
    assert [error.field for error in errors] == ["record 3 (p3), line 5, sequence"]


def test_a_header_may_hold_what_unicode_calls_the_end_of_a_line(tmp_path) -> None:
    jobs, errors = read_text(">a b\u2028c\x85d\nMKT\n", tmp_path, "a.fasta")
    assert not errors and jobs[0].entities[0].sequence == "MKT"


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.compress])
@pytest.mark.parametrize("name", ["a.fasta", "a.csv", "a.json"])
def test_compressed_inputs_are_read(pack, name, tmp_path) -> None:
    texts = {
        "a.fasta": ">a\nMKT\n",
        "a.csv": "name,chains\na,MKT\n",
        "a.json": json.dumps(job_object({"protein": {"id": "A", "sequence": "MKT"}})),
    }
    ending = {"gzip": ".gz", "lzma": ".xz"}.get(pack.__module__, ".zst")
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(pack(texts[name].encode()))
    jobs, errors = read_jobs(path)
    assert not errors and jobs[0].entities[0].sequence == "MKT"
    assert find_inputs([tmp_path])[0] == [str(path)]


@pytest.mark.parametrize("first", ["", "sep={}\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_sheet_may_have_other_separators(first, separator, tmp_path) -> None:
    rows = [
        ["name", "chains", "copies"],
        ["x1", '"MKT;GGG"', '"2;1"'],
        ["x2", "MKT", ""],
    ]
    text = first.format(separator)
    text += "".join(separator.join(row) + "\r\n" for row in rows)
    name = "sheet.tsv" if separator == "\t" else "sheet.csv"
    jobs, errors = read_text(text, tmp_path, name)
    assert errors == []
    assert [len(job.entities) for job in jobs] == [2, 1]
    assert jobs[0].entities[0].ids == ("A", "B")


def test_nucleotides_of_a_file_of_nucleotides_have_to_say_which(tmp_path) -> None:
    jobs, [error] = read_text(">a kind=dna\nGATT\n>b\nGATT\n", tmp_path, "n.fna")
    assert jobs[0].entities[0].kind == "dna"
    assert error.record == "record 2 (b), line 3" and "kind=rna" in error.allowed


def test_a_row_says_of_its_chains_what_json_can(tmp_path) -> None:
    crambin = "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN"
    (tmp_path / "a.a3m").write_text(f">query\n{crambin}\n>hit\n{'A' * 46}\n")
    template = DATA / "databases/pdb_mmcif/1ejg.cif"
    (tmp_path / "a.cif").write_text(template.read_text())
    text = (
        "name,chains,ligands,modifications,msa,template,regions,bonds\n"
        f"a,{crambin};dna:GATTACA,ATP,A:2:TPO;A:30:TPO,A:a.a3m,A:a.cif,2-20;,"
        "A:3:SG-C:1:C5\n"
    )
    [job], errors = read_text(text, tmp_path, "sheet.csv")
    assert errors == []
    chain, dna, _ = job.entities
    assert isinstance(chain, Polymer) and isinstance(dna, Polymer)
    assert (chain.sequence, dna.sequence) == (crambin[1:20], "GATTACA")
    assert [(m.code, m.position) for m in chain.modifications] == [("TPO", 1)]
    assert chain.unpaired_msa == f">query\n{crambin[1:20]}\n>hit\n{'A' * 19}\n"
    assert chain.paired_msa == ""
    assert chain.templates is not None
    assert chain.templates[0].template_indices == tuple(range(1, 20))
    [(first, second)] = job.bonds
    assert (first.chain_id, first.residue_id, first.atom_name) == ("A", 3, "SG")
    assert (second.chain_id, second.residue_id, second.atom_name) == ("C", 1, "C5")


@pytest.mark.parametrize(
    ("column", "cell", "value", "allowed"),
    [
        ("modifications", "B:1:SEP", "B:1:SEP", "a chain of this row: A"),
        ("modifications", "A:11:SEP", "11", "from 1 to 10"),
        ("modifications", "A9SEP", "A9SEP", "such as A:9:SEP"),
        ("modifications", "A:9:SEP;A:9:TPO", "9", "each residue once"),
        ("regions", "1-11", "1-11", "within 1-10"),
        ("regions", "1-2;1-3", "1-2;1-3", "one region per chain, 1"),
        ("msa", "A:none.a3m", "none.a3m", "readable file"),
        ("template", "A:some.cif", "some.cif", "column msa"),
        ("bonds", "A:1:CA", "A:1:CA", "such as A:145:SG-B:1:C5"),
        ("bonds", "A:1:CA-A:1:XX", "XX", "an atom of"),
    ],
)
def test_a_wrong_detail_of_a_row_is_told(
    tmp_path, column: str, cell: str, value: str, allowed: str
) -> None:
    text = f"name,chains,{column}\na,{SEQUENCE},{cell}\n"
    jobs, [error] = read_text(text, tmp_path, "sheet.csv")
    assert jobs == [] and error.value == value and allowed in error.allowed
    assert error.field.startswith("line 2, " + column)

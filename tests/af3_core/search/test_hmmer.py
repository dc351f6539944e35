import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
from pyhmmer.easel import SequenceFile

from af3_core.msa import Msa, parse_a3m
from af3_core.search.alignment import protein_alignment, rna_alignment
from af3_core.search.hits import select_rows
from af3_core.search.hmmer import ALPHABETS, search_stream
from af3_core.search.profile import align_insertions, build_profile
from af3_core.search.settings import TEMPLATE_SEARCH, SearchSettings, settings_for
from af3_core.search.targets import DigitalTargets
from tests.hmmer_programs import (
    Alignment,
    read_fasta,
    run_hmmsearch,
    run_jackhmmer,
    run_nhmmer,
    run_program,
)

DATABASES = Path(__file__).parents[2] / "data" / "databases"
QUERIES = dict(read_fasta(DATABASES / "queries.fasta"))
UNIREF90 = settings_for("uniref90", "unpaired", "jackhmmer")
RNA = settings_for("rfam", "rna", "nhmmer")


def read_blocks(path: Path, kind: str, size: int) -> Iterable[DigitalTargets]:
    with SequenceFile(path, "fasta", digital=True, alphabet=ALPHABETS[kind]) as file:
        while block := file.read_block(sequences=size):
            yield DigitalTargets(block)


def search(
    queries: dict[str, str],
    database: Path,
    settings: SearchSettings,
    *,
    kind: str = "protein",
    block: int = 1_000,
    threads: int = 2,
) -> dict[str, Alignment]:
    """Our alignments of all queries with a database."""
    records = read_fasta(database)
    size = sum(len(sequence) for _, sequence in records) / 1e6
    z = size if kind == "rna" else float(len(records))
    found = search_stream(
        queries,
        read_blocks(database, kind, block),
        settings,
        kind=kind,
        z=z,
        threads=threads,
    )
    align = rna_alignment if kind == "rna" else protein_alignment
    msas = {n: align(queries[n], select_rows(found[n], settings)) for n in queries}
    return {n: as_rows(msa) for n, msa in msas.items()}


def as_rows(msa: Msa) -> Alignment:
    return list(zip(msa.descriptions, msa.sequences, strict=True))


def test_a_batch_finds_what_one_jackhmmer_per_query_finds(tmp_path: Path) -> None:
    proteins = {name: s for name, s in QUERIES.items() if name != "trna"}
    database = DATABASES / "uniref90.fasta"
    ours = search(proteins, database, UNIREF90, block=100)
    theirs = {n: run_jackhmmer(s, database, tmp_path) for n, s in proteins.items()}
    assert ours == theirs
    assert sum(len(rows) for rows in ours.values()) > 300


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_and_blocks_changes_nothing(threads: int) -> None:
    query = {"hba": QUERIES["hba"]}
    database = DATABASES / "small_bfd.fasta"
    once = search(query, database, UNIREF90, threads=1)
    assert search(query, database, UNIREF90, threads=threads, block=7) == once


def test_odd_residues_and_headers_are_read_as_jackhmmer_reads_them(
    tmp_path: Path,
) -> None:
    query = QUERIES["ubiquitin"]
    odd = query[:10] + "XBZUOJ" + query[16:40] + "*" + query[41:]
    repeats = query + "GGSGG" + query[::-1] + query
    database = tmp_path / "odd.fasta"
    database.write_text(
        f">same twice\n{query}\n>same twice\n{query}\n>none\n{odd.lower()}\n"
        f">tab\tand  blanks \n{query[5:70]}\n>repeats x\n{repeats}\n>empty\n\n"
        f">short\nMK\n>poly\n{'Q' * 200}\n"
    )
    ours = search({"q": query[:20] + "X" + query[21:]}, database, UNIREF90)["q"]
    theirs = run_jackhmmer(query[:20] + "X" + query[21:], database, tmp_path)
    assert ours == theirs
    assert [d for d, _ in ours if "|same/" in d]


def test_rows_beyond_the_limit_are_left_out_as_alphafold_does(tmp_path: Path) -> None:
    settings = SearchSettings(max_sequences=12)
    database = DATABASES / "uniprot.fasta"
    ours = search({"q": QUERIES["gb1"]}, database, settings)["q"]
    theirs = run_jackhmmer(QUERIES["gb1"], database, tmp_path, max_rows=12)
    assert ours == theirs
    assert len(ours) == 12


@pytest.mark.parametrize("length", [60, 45, 20])
@pytest.mark.parametrize("name", ["rfam", "nt_rna"])
def test_rna_is_found_and_aligned_as_by_nhmmer_and_hmmalign(
    name: str, length: int, tmp_path: Path
) -> None:
    query, database = QUERIES["trna"][:length], DATABASES / f"{name}.fasta"
    ours = search({"q": query}, database, RNA, kind="rna", block=50)["q"]
    assert ours == run_nhmmer(query, database, tmp_path)


def test_rna_on_the_reverse_strand_and_with_thymine_is_found(tmp_path: Path) -> None:
    query = QUERIES["trna"]
    reverse = query[::-1].translate(str.maketrans("ACGU", "UGCA"))
    database = tmp_path / "strands.fasta"
    records = [("plus", query), ("minus", reverse), ("dna", query.replace("U", "T"))]
    background = read_fasta(DATABASES / "rfam.fasta")[:100]
    database.write_text(
        "".join(f">{n}\nACGGCA{s}GGAUC\n" for n, s in [*records, *background])
    )
    ours = search({"q": query}, database, RNA, kind="rna")["q"]
    assert ours == run_nhmmer(query, database, tmp_path)
    assert any(description.startswith("minus/") for description, _ in ours)


def test_a_peptide_without_hits_keeps_its_own_row() -> None:
    ours = search({"q": "MKVLA"}, DATABASES / "mgnify.fasta", UNIREF90)["q"]
    assert ours == [("query", "MKVLA")]


def example_msa() -> Msa:
    database = DATABASES / "uniref90.fasta"
    rows = search({"q": QUERIES["hba"]}, database, UNIREF90)["q"]
    return Msa(tuple(d for d, _ in rows), tuple(s for _, s in rows))


def test_the_profile_is_that_of_hmmbuild(tmp_path: Path) -> None:
    msa = example_msa()
    rows = list(align_insertions(msa.sequences))
    reference = "".join("." if letter == "-" else "x" for letter in rows[0])
    lines = [f"row_{i} {row}" for i, row in enumerate(rows)]
    stockholm, model = tmp_path / "msa.sto", tmp_path / "msa.hmm"
    text = "\n".join(["# STOCKHOLM 1.0", "", *lines, f"#=GC RF {reference}", "//", ""])
    stockholm.write_text(text)
    run_program(
        *("hmmbuild", "--informat", "stockholm", "--hand", "--amino", model, stockholm)
    )
    theirs = model.read_text()
    ours = build_profile(msa)
    assert ours[ours.index("STATS") :] == theirs[theirs.index("STATS") :]


def test_a_profile_finds_what_hmmsearch_finds(tmp_path: Path) -> None:
    model, database = tmp_path / "msa.hmm", DATABASES / "pdb_seqres.fasta"
    model.write_text(build_profile(example_msa()))
    found = search_stream(
        {"q": model.read_text()},
        read_blocks(database, "profile", 50),
        TEMPLATE_SEARCH,
        kind="profile",
        z=float(len(read_fasta(database))),
    )["q"]
    rows = select_rows(found, TEMPLATE_SEARCH)
    ours = [(f"{r.target}/{r.region.start}-{r.region.end}", r.region.row) for r in rows]
    theirs = run_hmmsearch(model, database, tmp_path)
    assert ours == [(description.split()[0], row) for description, row in theirs]
    assert len(ours) > 10


def test_insertions_get_columns_of_their_own() -> None:
    msa = parse_a3m(">q\nACD\n>a\nabACxD\n>b\nA-yyDz\n")
    assert list(align_insertions(msa.sequences)) == [
        "--AC--D-",
        "ABACX-D-",
        "--A-YYDZ",
    ]


def test_rows_of_different_length_make_no_profile() -> None:
    with pytest.raises(ValueError, match="row 2 of the alignment has 2 columns"):
        build_profile(parse_a3m(">q\nACD\n>a\nAC\n"))


def test_one_long_insertion_costs_no_memory_for_every_row() -> None:
    rows = ["ACDEF"] * 20_000
    rows[7] = f"AC{'w' * 200_000}DEF"
    said = "row 8 of the alignment inserts 200,000 residues before residue 3"
    tracemalloc.start()
    with pytest.raises(ValueError, match=said):
        build_profile(Msa(("row",) * len(rows), tuple(rows)))
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()

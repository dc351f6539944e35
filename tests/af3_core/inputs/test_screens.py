"""Screens: what a few lines of YAML stand for."""

import random
import tempfile
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from af3_core.chemistry.dictionary import Components
from af3_core.features.featurise import count_tokens
from af3_core.inputs.files import read_jobs
from af3_core.inputs.listing import find_inputs
from af3_core.inputs.screen import DEFAULT_LIMIT
from af3_core.job import InputError, Ligand, Polymer
from tests.af3_core.inputs.screen_examples import (
    CRAMBIN,
    SEQUENCES,
    jobs_of,
    kind_of,
    make_folder,
    names_of,
    place_of,
    requests,
    screen_of,
)
from tests.af3_core.inputs.screen_tables import with_tables


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


def refusals(text: str, folder: Path) -> list[InputError]:
    """What is wrong with a document."""
    try:
        screen_of(text, folder).choose()
    except InputError as error:
        return [error]
    except ExceptionGroup as group:
        return [e for e in group.exceptions if isinstance(e, InputError)]
    raise AssertionError("nothing was refused")


def test_the_page_has_ten_requests_of_at_most_eight_lines() -> None:
    found = requests()
    assert len(found) == 10
    assert all(len(text.strip().splitlines()) <= 8 for text in found.values())


def test_the_tables_of_the_page_are_those_of_the_schema() -> None:
    text = Path("docs/screens.md").read_text("utf-8")
    assert with_tables(text) == text, (
        "run python -m tests.af3_core.inputs.screen_tables"
    )


def test_a_pulldown_pairs_each_bait_with_each_prey(folder) -> None:
    found = jobs_of(requests()["pulldown"], folder)
    asked = [f.name for f in found if kind_of(f) == "asked"]
    assert asked == [f"P0A001__P0A00{n}" for n in (2, 3, 4, 5)]
    roles = {chain.partner: chain.role for chain in place_of(found[0]).chains}
    assert roles == {"P0A001": "any", "P0A002": "prey"}


def test_background_is_the_same_letters_shuffled_and_not_searched(folder) -> None:
    found = jobs_of(requests()["pulldown"], folder)
    background = [f for f in found if kind_of(f) == "background"]
    assert len(background) == 10
    for made in background:
        prey = made.entities[1]
        assert isinstance(prey, Polymer)
        base = place_of(made).chains[1].partner.split("-")[0]
        assert Counter(prey.sequence) == Counter(SEQUENCES[base])
        assert prey.sequence != SEQUENCES[base]
        assert (prey.unpaired_msa, prey.paired_msa, prey.templates) == ("", "", ())
    assert len({f.entities[1] for f in background}) == 10


def test_all_against_all_has_every_pair_once(folder) -> None:
    found = names_of(requests()["all"], folder)
    pairs = {f"{a}__{b}" for a, b in combinations(sorted(SEQUENCES), 2)}
    assert set(found) == pairs | {f"{name}_x2" for name in SEQUENCES}
    assert len(found) == 15


def test_alphapulldowns_lists_are_read_as_they_are(folder) -> None:
    found = {f.name: f for f in jobs_of(requests()["alphapulldown"], folder)}
    assert len(found) == 6
    cut = found["P0A001__P0A004_1-20_31-50_x2"]
    sequences = [(len(e.ids), e.sequence) for e in cut.entities]  # type: ignore[union-attr]
    whole = SEQUENCES["P0A004"]
    assert sequences == [(1, CRAMBIN), (2, whole[:20]), (2, whole[30:50])]


def test_an_alphapulldown_sheet_has_one_complex_on_each_line(folder) -> None:
    (folder / "sheet.csv").write_text("P0A001+P0A002\nP0A003:2\nP0A005:1-9+P0A001\n")
    text = "sequences: proteins.fasta\ncomplexes: sheet.csv\n"
    expected = ["P0A001__P0A002", "P0A003_x2", "P0A001__P0A005_1-9"]
    assert names_of(text, folder) == expected


def test_copies_are_scanned(folder) -> None:
    found = names_of(requests()["copies"], folder)
    assert found[:3] == ["P0A001", "P0A001_x2", "P0A001_x3"]
    assert len(found) == 10 and "P0A001_x2__P0A002_x2" in found


def test_a_region_takes_modifications_alignment_and_template_with_it(folder) -> None:
    text = requests()["details"].replace("kinase + ccd:ATP", "'kinase:2-20 + ccd:ATP'")
    [found] = jobs_of(text.replace("{2: TPO}", "{2: TPO, 30: TPO}"), folder)
    chain = found.entities[0]
    assert isinstance(chain, Polymer)
    assert chain.sequence == CRAMBIN[1:20]
    assert [(m.code, m.position) for m in chain.modifications] == [("TPO", 1)]
    assert chain.unpaired_msa == f">query\n{CRAMBIN[1:20]}\n>hit\n{'A' * 19}\n"
    assert chain.templates is not None
    assert chain.templates[0].query_indices == tuple(range(19))
    assert chain.templates[0].template_indices == tuple(range(1, 20))


def test_a_library_gives_a_job_for_every_ligand_it_can(folder) -> None:
    names = "".join(f"C{'C' * n}N ligand {n}\n" for n in range(199))
    (folder / "library.smi").write_text(f"{names}xx broken\n# comment\n")
    screen = screen_of(requests()["ligands"], folder)
    found = list(screen.jobs())
    assert len(found) == 199
    assert all(f.seeds == (1, 2) for f in found)
    [problem] = screen.problems
    assert (problem.field, problem.value) == ("line 200, smiles", "xx")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "name,ccd,smiles\natp,ATP,\nalcohol,,CCO\n"),
        ("a.tsv", "smiles\tname\nCCO\talcohol\n"),
        ("a.csv", "SMILES;Name\nCCO;alcohol\n"),
    ],
)
def test_tables_of_ligands_have_codes_or_smiles(folder, name, text) -> None:
    (folder / name).write_text(text)
    screen = f"sequences: proteins.fasta\npairs: {{bait: P0A001, prey: {name}}}\n"
    found = jobs_of(screen, folder)
    assert "P0A001__alcohol" in [f.name for f in found]
    ligand = found[-1].entities[-1]
    assert isinstance(ligand, Ligand) and (ligand.smiles or ligand.codes)


def test_a_sd_file_is_a_library(folder) -> None:
    from rdkit import Chem

    with Chem.SDWriter(str(folder / "x.sdf")) as writer:
        molecule = Chem.MolFromSmiles("c1ccccc1O")
        molecule.SetProp("_Name", "phenol")
        writer.write(molecule)
    text = "sequences: proteins.fasta\npairs: {bait: P0A001, prey: x.sdf}\n"
    assert names_of(text, folder) == ["P0A001__phenol"]


def test_a_double_strand_has_both_strands(folder) -> None:
    found = jobs_of(requests()["dna"], folder)[1]
    strands = [e.sequence for e in found.entities if e.kind == "dna"]  # type: ignore[union-attr]
    assert strands == ["AATTGTGAGCGGATAACAATT", "AATTGTTATCCGCTCACAATT"]
    assert [c.partner for c in place_of(found).chains] == [
        "P0A002",
        "operator",
        "operator",
    ]


def test_a_glycan_is_bonded_inside_and_to_its_protein(folder) -> None:
    [found] = jobs_of(requests()["server"], folder)
    assert [len(e.ids) for e in found.entities] == [4, 2, 1]
    bonds = [tuple((e.chain_id, e.residue_id, e.atom_name) for e in bond)
             for bond in found.bonds]  # fmt: skip
    assert bonds[-1] == (("A", 12, "ND2"), ("G", 1, "C1"))
    assert len(bonds) == 7  # six between the seven sugars


def test_a_pair_is_one_however_it_was_asked_for(folder) -> None:
    text = """sequences: proteins.fasta
pairs:
  - {bait: P0A001, prey: [P0A002, P0A003]}
  - {bait: [P0A002, P0A003], prey: P0A001}
all_against_all: [P0A002, P0A001]
complexes: [P0A003 + P0A001, 2*P0A001]
with_self: true
"""
    found = names_of(text, folder)
    assert sorted(found) == sorted(set(found))
    assert set(found) == {
        *("P0A001__P0A002", "P0A001__P0A003", "P0A001_x2", "P0A002_x2"),
    }
    assert screen_of(text, folder).tally.num_complexes == 4


def test_two_names_of_one_sequence_are_one_and_both_are_kept(folder) -> None:
    text = f"""sequences: proteins.fasta
define: {{aardvark: {CRAMBIN}}}
pairs: {{bait: P0A002, prey: [P0A001, aardvark]}}
"""
    screen = screen_of(text, folder)
    assert [f.name for f in screen.jobs()] == ["P0A001__P0A002"]
    assert screen.aliases == {"P0A001": ("aardvark",)}


@pytest.mark.parametrize("mode", ["", "mode: pooled\npools: {tokens: 150}\n"])
def test_jobs_are_equal_whatever_the_order_of_the_input(folder, mode: str) -> None:
    one = f"sequences: proteins.fasta\nall_against_all: '*'\n{mode}"
    first = {f.name: f for f in jobs_of(one, folder)}
    records = (folder / "proteins.fasta").read_text().split(">")[1:]
    random.Random(1).shuffle(records)
    (folder / "proteins.fasta").write_text("".join(f">{r}" for r in records))
    assert {f.name: f for f in jobs_of(one, folder)} == first


@pytest.mark.parametrize("name", [n for n in requests() if n != "server"])
def test_sizes_are_known_before_jobs_are_written(folder, name) -> None:
    screen = screen_of(requests()[name].replace("background: 10", ""), folder)
    components = Components()
    found = [count_tokens(f, components) for f in screen.jobs()]
    if screen.pool_tokens is not None:
        assert max(found) <= screen.pool_tokens
    elif name == "details":
        # The atom that a modified residue loses within a chain is counted too.
        assert screen.tally.by_tokens[found[0] + 1] == 1
    else:
        assert (
            np.bincount(found).tolist()
            == np.trim_zeros(screen.tally.by_tokens, "b").astype(int).tolist()
        )


@pytest.mark.slow
def test_twelve_million_pairs_are_counted_not_written(folder) -> None:
    lengths = np.random.default_rng(0).integers(30, 60, 5000)
    choose = random.Random(0).choices
    letters = "ACDEFGHIKLMNPQRSTVWY"
    (folder / "many.fasta").write_text(
        "".join(
            f">P{n:04}\n{''.join(choose(letters, k=k))}\n"
            for n, k in enumerate(lengths.tolist())
        )
    )
    text = "all_against_all: many.fasta\n"
    screen = screen_of(text, folder)
    assert screen.tally.num_complexes == 5000 * 4999 // 2
    sums = lengths[:, None] + lengths[None, :]
    expected = np.bincount(sums[np.triu_indices(5000, 1)])
    assert (screen.tally.by_tokens[: len(expected)] == expected).all()
    [error] = refusals(text, folder)
    assert error.value == "12,497,500 complexes"
    assert error.allowed.startswith(f"{DEFAULT_LIMIT:,} jobs without a budget")


def test_a_sample_is_decided_by_content_and_a_larger_one_holds_it(folder) -> None:
    text = "sequences: proteins.fasta\nall_against_all: '*'\n"
    names = [
        set(names_of(f"{text}budget: {{complexes: {n}, over: sample}}\n", folder))
        for n in (3, 6)
    ]
    assert len(names[0]) == 3 and len(names[1]) == 6 and names[0] < names[1]


def test_a_budget_of_hours_is_kept(folder) -> None:
    text = """sequences: proteins.fasta
all_against_all: '*'
seeds: [1, 2]
budget: {gpu_hours: 1.0, over: sample}
"""
    screen = screen_of(text, folder)
    chosen = screen.choose(lambda tokens: np.full(len(tokens), 600.0))
    assert chosen.num_jobs == 3  # of 20 minutes each
    assert "3 of 10 complexes" in chosen.sentence


def test_complexes_of_three_are_counted_by_size_without_writing_them(folder) -> None:
    text = "sequences: proteins.fasta\nall_against_all: {of: '*', size: 3}\n"
    screen = screen_of(text, folder)
    sizes = [sum(map(len, c)) for c in combinations(SEQUENCES.values(), 3)]
    counts = np.bincount(sizes)
    assert screen.tally.num_complexes == len(names_of(text, folder)) == 10
    assert (screen.tally.by_tokens[: len(counts)] == counts).all()


@pytest.mark.parametrize(
    ("text", "place", "value", "allowed"),
    [
        ("pairs:\n  bait: P0A01\n  prey: '*'", "line 3, pairs.bait", "P0A01",
         "did you mean P0A001?"),
        ("pairs:\n  bait: 'P0A001:40-47'\n  prey: '*'", "line 3, pairs.bait", "40-47",
         "residues 1-46"),
        ("pairs:\n  bait: []\n  prey: '*'", "line 3, pairs.bait", "[]", "at least one"),
        ("pairs: {bait: P0A001, preys: '*'}", "line 2, pairs.preys", "preys",
         "did you mean 'prey'?"),
        ("pairs: {bait: P0A001}", "line 2, pairs.prey", "(missing)", "names"),
        ("define:\n  a: {of: b}\n  b: {of: a}\npairs: {bait: a, prey: b}",
         "line 3, define.a", "a -> b -> a", "does not lead back"),
        ("define: {a: {of: P0A001, modifications: {47: SEP}}}\nall_against_all: '*'",
         "line 2, define.a.modifications.47", "47", "from 1 to 46"),
        ("all_against_all: nothing.fasta", "line 2, all_against_all", "nothing.fasta",
         "readable file"),
        ("all_against_all: P0A001", "line 2, all_against_all", "1 different",
         "at least 2"),
        ("all_against_all: '*'\nseeds: 9-1", "line 3, seeds", "9-1", "range"),
        ("all_against_all: '*'\nmode: pool", "line 3, mode", "pool", "pooled"),
        ("all_against_all: '*'\nbonds: ['P0A001:47:CA - P0A002:1:CA']",
         "line 3, bonds[0]", "P0A001:47:CA - P0A002:1:CA", "from 1 to 46"),
        ("all_against_all: '*'\nbudget: 9", "line 3, budget", "10 complexes",
         "a budget of 9 jobs"),
        ("all_against_all: '*'\nmode: pooled\npools: {tokens: 100}", "line 4, pools",
         "tokens", "fit a pool of 100"),
        ("complexes: '0*P0A001'", "line 2, complexes", "0*P0A001", "copies from 1"),
        ("complexes: ['P0A001 +']", "line 2, complexes[0]", "P0A001 +", "a name"),
        ("all_against_all: ['P0A001', 'dna:GATU']", "line 2, all_against_all[1]",
         "'U' at position 4", "A, C, G, T"),
        ("best: {of: nowhere, top: 5}", "line 2, best.of", "nowhere", "has results"),
        ("best: {of: nowhere}", "line 2, best", "nowhere", "share or top"),
        ("all_against_all: [unclosed", "line", "", "valid YAML"),
        ("all_against_all: &a [*a]", "line 2", "an alias", "contain itself"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(
    folder: Path, text: str, place: str, value: str, allowed: str
) -> None:
    [error] = refusals(f"sequences: proteins.fasta\n{text}\n", folder)
    assert error.field.startswith(place)
    assert value in error.value
    assert allowed in error.allowed


def test_everything_wrong_is_told_at_once(folder) -> None:
    text = """sequences: proteins.fasta
pairs: {bait: X1, prey: '*'}
complexes: Y1 + P0A001
seeds: 5-1
"""
    fields = [error.field for error in refusals(text, folder)]
    assert fields == ["line 2, pairs.bait", "line 3, complexes", "line 4, seeds"]


def test_a_thousand_million_complexes_are_refused_at_once(folder) -> None:
    letters = "ACDEFGHIKLMNPQRSTVWY"
    (folder / "many.fasta").write_text(
        "".join(
            f">P{n}\n{''.join(letters[n // 20**k % 20] for k in range(3))}\n"
            for n in range(1819)
        )
    )
    text = "all_against_all:\n  of: many.fasta\n  size: 3\n"
    [error] = refusals(text, folder)
    assert (error.field, error.value) == (
        "line 1, all_against_all",
        "1,001,452,269 complexes",
    )


def test_names_that_yaml_would_change_stay_as_they_are(folder) -> None:
    records = "".join(f">{n}\n{s}\n" for n, s in zip(
        ("NO", "1e10", "007", "12"), SEQUENCES.values(), strict=False))  # fmt: skip
    (folder / "odd.fasta").write_text(records)
    text = "sequences: odd.fasta\npairs: {bait: NO, prey: [1e10, 12, '007']}\n"
    assert set(names_of(text, folder)) == {"1e10__NO", "12__NO", "007__NO"}


def test_a_screen_is_an_input_like_the_others(folder) -> None:
    path = folder / "screen.yaml"
    path.write_text(requests()["ligands"])
    with (folder / "library.smi").open("a") as library:
        library.write("nonsense broken\n")
    jobs, errors = read_jobs(path)
    assert [job.name for job in jobs] == [f"P0A001__alcohol{n}" for n in range(5)]
    assert [error.field for error in errors] == ["line 6, smiles"]
    assert str(path) in find_inputs([folder])[0]


_PIECES = st.sampled_from(
    ["*", "-", ": ", "[", "]", "{", "}", '"', "\n", "  ", "0", "1-6", "99999999", "~",
     "!x", "&a", "*a", "ccd:", "smiles:", " + ", "P0A001", "folds.txt", "é", "1e10",
     "?", "P0A001:0-1", "0*ccd:ATP", "seeds: 5-1", "mode: pooled", "with_self: true",
     "best: {of: ., top: 1}", "combine: [[],[]]", "define: {a: {of: a}}", "\0", "\t"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(sorted(requests())),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6), _PIECES), max_size=4),
)
def test_broken_screens_never_crash_the_reader(name, edits) -> None:
    text = requests()[name]
    for place, cut, piece in edits:
        at = round(place * len(text))
        text = text[:at] + piece + text[at + cut :]
    with tempfile.TemporaryDirectory() as folder:
        path = make_folder(Path(folder)) / "screen.yaml"
        path.write_text(text, encoding="utf-8")
        jobs, errors = read_jobs(path)
    assert jobs or errors

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from af3_core.msa import (
    Msa,
    deduplicate,
    encode,
    encode_sequence,
    format_a3m,
    merge,
    parse_a3m,
    species_id,
)


def msa(*sequences: str) -> Msa:
    return Msa(tuple(f"row{i}" for i in range(len(sequences))), sequences)


def test_a3m_is_read_across_lines_and_line_ends() -> None:
    text = "#A3M\n\n>query  with words \r\nMK\r\nTA\n\n>hit\n--\nlowTA\n>empty"
    parsed = parse_a3m(text)
    assert parsed.descriptions == ("query  with words", "hit", "empty")
    assert parsed.sequences == ("MKTA", "--lowTA", "")


def test_a_written_alignment_is_read_back() -> None:
    alignment = msa("MKTA", "M-TaaA")
    assert parse_a3m(format_a3m(alignment)) == alignment


def test_of_rows_equal_but_for_insertions_the_first_stays() -> None:
    kept = deduplicate(msa("MKTA", "MKaTA", "M-TA", "MKTccA", "M-TA"))
    assert kept.descriptions == ("row0", "row2")


def test_merging_puts_one_alignment_below_the_other() -> None:
    merged = merge([msa("MKTA", "MKTC"), msa("MKTA", "MKTD")])
    assert merged.sequences == ("MKTA", "MKTC", "MKTA", "MKTD")


def test_alignments_of_different_queries_do_not_merge() -> None:
    with pytest.raises(ValueError, match="one common query"):
        merge([msa("MKTA"), msa("MKTC")])


@pytest.mark.parametrize(
    ("description", "species"),
    [
        ("tr|A0A146SKV9|A0A146SKV9_FUNHE", "FUNHE"),
        ("sp|P0C2L1|A3X1_LOXLA/12-90 [subseq from] toxin", "LOXLA"),
        ("tr|A0A146SKV9_1|A0A146SKV9_FUNHE", "FUNHE"),
        ("  tr|A0A146SKV9|A0A146SKV9_9BACT/1-3", "9BACT"),
        ("UniRef90_A0A146SKV9/1-95", ""),
        ("tr|A0A1|A0A1_HUMAN", ""),
        ("query", ""),
        ("", ""),
    ],
)
def test_species_come_from_uniprot_headers(description, species) -> None:
    assert species_id(description) == species


def test_insertions_are_counted_at_the_next_column() -> None:
    encoded = encode(["AAAAAA", "Ai-CiDiiiEFa"], "protein")
    np.testing.assert_array_equal(encoded.rows[1], [0, 21, 4, 3, 6, 13])
    np.testing.assert_array_equal(encoded.deletions[1], [0, 1, 0, 1, 3, 0])


@pytest.mark.parametrize(
    ("sequence", "kind", "classes"),
    [
        ("ARNDCQEGHILKMFPSTWYVX-", "protein", list(range(22))),
        ("BJOUZ", "protein", [3, 20, 20, 4, 6]),
        ("-AGCUTNX", "rna", [21, 22, 23, 24, 25, 30, 30, 30]),
        ("-AGCTUN", "dna", [21, 26, 27, 28, 29, 30, 30]),
    ],
)
def test_letters_become_residue_classes(sequence, kind, classes) -> None:
    assert encode_sequence(sequence, kind).tolist() == classes


def test_long_insertions_count_in_full_for_the_mean() -> None:
    encoded = encode(["AC", "A" + "g" * 200 + "C"], "protein")
    assert encoded.deletions[1].tolist() == [0, 127]
    assert encoded.deletion_totals.tolist() == [0, 200]


def test_an_alignment_without_columns_has_rows() -> None:
    assert encode(["", "aa"], "protein").deletions.shape == (2, 0)


def test_classes_are_counted_by_column() -> None:
    counts = encode(["AC", "AA", "-C"], "protein").class_counts
    assert counts[0, [0, 21]].tolist() == [2, 1]
    assert counts[1, [0, 4]].tolist() == [1, 2]


@pytest.mark.parametrize("character", [".", "*", "1", " ", "é"])
def test_a_character_that_is_no_residue_is_refused(character) -> None:
    with pytest.raises(ValueError, match="row 2 .* at character 3"):
        encode(["ACD", f"AC{character}"], "protein")


@pytest.mark.parametrize("row", ["AC", "ACDE", "", "ACd"])
def test_a_row_of_another_width_is_refused(row) -> None:
    with pytest.raises(ValueError, match="row 2 .* the query has 3"):
        encode(["ACD", row, "AcCD"], "protein")


def naive_rows(sequences: list[str]) -> list[list[tuple[str, int]]]:
    rows = []
    for sequence in sequences:
        inserted, row = 0, []
        for letter in sequence:
            if letter.islower():
                inserted += 1
            else:
                row.append((letter, inserted))
                inserted = 0
        rows.append(row)
    return rows


@given(st.data(), st.integers(1, 7))
def test_encoding_agrees_with_reading_letter_by_letter(data, width) -> None:
    insertion = st.text("acd", max_size=3)
    cell = st.builds(str.__add__, insertion, st.sampled_from("ACDWY-"))
    row = st.builds(
        lambda cells, tail: "".join(cells) + tail,
        st.lists(cell, min_size=width, max_size=width),
        insertion,
    )
    sequences = data.draw(st.lists(row, min_size=1, max_size=6))
    encoded = encode(sequences, "protein")
    expected = naive_rows(sequences)
    codes = {c: encode_sequence(c, "protein")[0] for c in "ACDWY-"}
    assert encoded.rows.tolist() == [[codes[c] for c, _ in row] for row in expected]
    assert encoded.deletions.tolist() == [[n for _, n in row] for row in expected]

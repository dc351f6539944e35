import numpy as np
import pytest
from biotite.structure.info.ccd import get_from_ccd
from biotite.structure.io.pdbx.bcif import BinaryCIFColumn
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from af3_core.chemistry.binary_cif import Strings, decode_column
from af3_core.chemistry.dictionary import Components

CODES = ["ALA", "NAG", "HEM", "MG", "PSU", "A1EYU", "B12", "UNK", "NA", "0AF"]


@pytest.mark.parametrize("code", CODES)
def test_components_equal_what_biotite_reads(code) -> None:
    component = Components.load()[code]
    atoms, bonds = (
        get_from_ccd(f"chem_comp_{kind}", code) for kind in ("atom", "bond")
    )
    assert component.atom_names == tuple(atoms["atom_id"].as_array(str))
    assert component.elements == tuple(atoms["type_symbol"].as_array(str))
    charges = ["?" if charge is None else str(charge) for charge in component.charges]
    assert charges == atoms["charge"].as_array(str).tolist()
    ideal = [
        atoms[f"pdbx_model_Cartn_{x}_ideal"].as_array(float, masked_value=np.nan)
        for x in "xyz"
    ]
    np.testing.assert_allclose(component.ideal_positions, np.transpose(ideal))
    pairs = [(b.atom_1, b.atom_2, b.order, b.aromatic) for b in component.bonds]
    names = ("atom_id_1", "atom_id_2", "value_order", "pdbx_aromatic_flag")
    columns = [bonds[n].as_array(str) for n in names] if bonds else [[]] * 4
    assert pairs == list(zip(*columns, strict=True))


def as_encoded(values: np.ndarray) -> dict:
    """A column as biotite would write it, with the encodings it finds best."""
    from biotite.structure.io.pdbx import compress

    return compress(BinaryCIFColumn(values)).serialize()


@settings(deadline=None)
@given(
    arrays(np.int32, st.integers(1, 400), elements=st.integers(-300, 300)),
    st.integers(0, 400),
    st.integers(0, 400),
)
def test_any_rows_of_any_encoded_numbers_are_read(values, first, second) -> None:
    start, stop = sorted((min(first, len(values)), min(second, len(values))))
    column = decode_column(as_encoded(values))
    assert column.numbers(start, stop) == tuple(values[start:stop].tolist())


@settings(deadline=None)
@given(st.lists(st.sampled_from(["A", "BC", "", "DEF"]), min_size=1, max_size=60))
def test_any_encoded_texts_are_read(texts) -> None:
    column = decode_column(as_encoded(np.array(texts)))
    assert column.texts(0, len(texts)) == tuple(texts)


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=30))
def test_rows_of_equal_texts_are_found(sizes) -> None:
    encoding = [
        {"kind": "Delta", "origin": 0, "srcType": 3},
        {"kind": "RunLength", "srcType": 3, "srcSize": sum(sizes)},
        {"kind": "ByteArray", "type": 3},
    ]
    steps = np.diff(np.repeat(np.arange(len(sizes)), sizes), prepend=0)
    pairs = [x for step in steps.tolist() for x in (step, 1)]
    texts = "".join(chr(65 + i) for i in range(len(sizes)))
    column = decode_column(
        {
            "mask": None,
            "data": {
                "data": b"",
                "encoding": [
                    {
                        "kind": "StringArray",
                        "stringData": texts,
                        "offsets": np.arange(len(sizes) + 1, dtype="<i4").tobytes(),
                        "offsetEncoding": [{"kind": "ByteArray", "type": 3}],
                        "dataEncoding": encoding,
                    }
                ],
            }
            | {"data": np.array(pairs, dtype="<i4").tobytes()},
        }
    )
    stops = np.cumsum(sizes).tolist()
    starts = [0, *stops[:-1]]
    found = [column.find(text) for text in texts]
    assert found == list(zip(starts, stops, strict=True))
    assert column.find("absent") is None


@settings(deadline=None)
@given(st.lists(st.text("AB1", min_size=1, max_size=3), unique=True), st.text("AB1"))
def test_a_string_is_found_where_it_stands_alone(strings, wanted) -> None:
    offsets = np.cumsum([0, *map(len, strings)])
    index = Strings("".join(strings), offsets).find(wanted)
    assert index == (strings.index(wanted) if wanted in strings else None)


def test_texts_are_not_taken_for_numbers() -> None:
    with pytest.raises(ValueError, match="holds texts"):
        decode_column(as_encoded(np.array(["A", "B"]))).numbers(0, 1)

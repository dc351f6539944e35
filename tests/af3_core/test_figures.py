"""Figures show the numbers they are given."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from af3_core.figures import draw_msa, draw_pae, draw_plddt, identity_with_query
from af3_core.msa import GAP

CHAINS = np.array(["A"] * 6 + ["B"] * 4)


def tick_names(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_xticklabels()]


def test_plddt_is_drawn_as_it_is_with_chains_named() -> None:
    plddt = np.linspace(30.0, 95.0, 10)
    figure = draw_plddt(plddt, CHAINS)
    assert np.array_equal(figure.axes[0].lines[0].get_ydata(), plddt)
    assert tick_names(figure) == ["A", "B"]


def test_pae_has_aligned_tokens_as_rows() -> None:
    pae = np.arange(100.0).reshape(10, 10) / 4
    figure = draw_pae(pae, CHAINS)
    assert np.array_equal(figure.axes[0].images[0].get_array(), pae)
    assert figure.axes[0].get_ylabel() == "Aligned on"


def test_alignment_is_sorted_by_identity_and_gaps_are_left_white() -> None:
    rows = np.array([[1, 2, 3, 4], [9, 9, 3, 4], [1, 2, 3, GAP]], np.int8)
    figure = draw_msa(rows, np.array(["A"] * 4))
    shown = figure.axes[0].images[0].get_array()
    assert shown[1].tolist() == [1.0, 1.0, 1.0, None]
    assert shown[2].tolist() == [0.5] * 4
    assert figure.axes[0].lines[0].get_ydata().tolist() == [3, 3, 3, 2]


def test_a_row_of_gaps_has_no_identity() -> None:
    rows = np.array([[1, 2], [GAP, GAP]], np.int8)
    assert identity_with_query(rows).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("num_tokens", [1, 2, 40])
def test_figures_have_the_width_of_a_column_at_300_dots_per_inch(num_tokens) -> None:
    figure = draw_pae(np.ones((num_tokens, num_tokens)), np.array(["A"] * num_tokens))
    file = io.BytesIO()
    figure.savefig(file, format="png")
    assert Image.open(file).width == 1050

"""Figures for papers: pLDDT along the sequence, PAE, the alignment, and score
distributions of a campaign.

Each function returns a Matplotlib figure in the width of a journal's single column
(89 mm), drawn without the global state of pyplot; whoever calls it saves it.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float, Int, Int8, Shaped
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy import ndarray

from af3_core.msa import GAP

COLUMN_WIDTH = 3.5  # inches
DPI = 300
PLDDT_BANDS = (
    (90, 100, "#0053d6"),
    (70, 90, "#65cbf3"),
    (50, 70, "#ffdb13"),
    (0, 50, "#ff7d45"),
)
"""AlphaFold's four bands: from, to, colour."""
MAX_PAE = 30.0  # Å; where the colour scale ends

_FONT_SIZE = 7
_INK = "#16202c"
_BAR = "#0b5c8f"
_PAE_COLOURS = LinearSegmentedColormap.from_list(
    "pae", ["#00441b", "#238b45", "#74c476", "#c7e9c0", "#f7fcf5"]
)


def draw_plddt(
    token_plddt: Float[ndarray, "n"], chain_id: Shaped[ndarray, "n"]
) -> Figure:
    """pLDDT (0–100) of every token over AlphaFold's bands of confidence."""
    figure, axes = _single_panel(1.6)
    for low, high, colour in PLDDT_BANDS:
        axes.axhspan(low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(np.arange(1, len(token_plddt) + 1), token_plddt, color=_INK, lw=0.8)
    axes.set(ylim=(0, 100), yticks=[0, 50, 70, 90, 100], ylabel="pLDDT")
    _mark_chains(axes, chain_id)
    return figure


def draw_pae(pae: Float[ndarray, "n n"], chain_id: Shaped[ndarray, "n"]) -> Figure:
    """Predicted aligned error in Å; rows are aligned on, columns are scored."""
    figure, axes = _single_panel(3.0)
    n = len(pae)
    image = axes.imshow(
        pae,
        cmap=_PAE_COLOURS,
        vmin=0,
        vmax=MAX_PAE,
        extent=(0.5, n + 0.5, n + 0.5, 0.5),
        interpolation="nearest",
    )
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.03)
    bar.set_label("Predicted aligned error (Å)", size=_FONT_SIZE)
    bar.ax.tick_params(labelsize=_FONT_SIZE, width=0.5, length=2)
    bar.outline.set_linewidth(0.5)
    _mark_chains(axes, chain_id)
    for first, last, name in _chains(chain_id):
        if first:
            axes.axhline(first + 0.5, color=_INK, lw=0.5)
        axes.annotate(
            name,
            (-0.02, (first + last + 1) / 2 + 0.5),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="center",
            size=_FONT_SIZE,
        )
    axes.set(yticks=[], xlabel="Scored", ylabel="Aligned on")
    axes.yaxis.labelpad = 12
    return figure


def draw_msa(rows: Int8[ndarray, "s n"], chain_id: Shaped[ndarray, "n"]) -> Figure:
    """The alignment, most similar sequences lowest, and its depth at each token.

    Colour is a row's identity with the query where both have a residue; gaps are
    white.
    """
    figure, axes = _single_panel(2.2)
    identity = identity_with_query(rows)
    order = np.argsort(-identity, kind="stable")
    present = rows[order] != GAP
    shown = np.where(present, identity[order, None], np.nan)
    depth, n = rows.shape
    image = axes.imshow(
        shown,
        cmap="viridis_r",
        vmin=0,
        vmax=1,
        aspect="auto",
        extent=(0.5, n + 0.5, depth, 0),
        interpolation="nearest",
    )
    axes.plot(np.arange(1, n + 1), present.sum(axis=0), color=_INK, lw=0.8)
    axes.set(ylim=(0, max(depth, 1)), ylabel="Sequences")
    bar = figure.colorbar(image, ax=axes, pad=0.03)
    bar.set_label("Identity with the query", size=_FONT_SIZE)
    bar.ax.tick_params(labelsize=_FONT_SIZE, width=0.5, length=2)
    bar.outline.set_linewidth(0.5)
    _mark_chains(axes, chain_id)
    return figure


def draw_distributions(
    scores: Mapping[str, Float[ndarray, "jobs"]], tops: Mapping[str, float]
) -> Figure:
    """Histograms of scores over jobs, one below the other, with their medians.

    Args:
        scores: by label; NaN where a job has none.
        tops: the highest value that each score can have; 1 where not given.
    """
    height = 0.35 + 0.75 * len(scores)
    figure = Figure(figsize=(COLUMN_WIDTH, height), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(scores), 1, squeeze=False)[:, 0]
    for axes, (label, values) in zip(panels, scores.items(), strict=True):
        _style(axes)
        known = values[np.isfinite(values)]
        top = tops.get(label, 1.0)
        axes.hist(known, bins=40, range=(0, top), color=_BAR)
        if len(known):
            axes.axvline(float(np.median(known)), color=_INK, lw=0.8)
        axes.set(xlim=(0, top), xlabel=f"{label} (n = {len(known):,})", ylabel="Jobs")
    return figure


def identity_with_query(rows: Int8[ndarray, "s n"]) -> Float[ndarray, "s"]:
    """Share of a row's residues that equal the first row's; 0 for a row of gaps."""
    present = rows != GAP
    equal = (rows == rows[:1]) & present
    return equal.sum(axis=1) / np.maximum(present.sum(axis=1), 1)


def _single_panel(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(COLUMN_WIDTH, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    _style(axes)
    return figure, axes


def _style(axes: Axes) -> None:
    axes.tick_params(labelsize=_FONT_SIZE, width=0.5, length=2)
    axes.xaxis.label.set_fontsize(_FONT_SIZE)
    axes.yaxis.label.set_fontsize(_FONT_SIZE)
    for spine in axes.spines.values():
        spine.set_linewidth(0.5)


def _mark_chains(axes: Axes, chain_id: Shaped[ndarray, "n"]) -> None:
    """Lines between chains, their ids below; token numbers where there is only one."""
    n = len(chain_id)
    axes.set_xlim(0.5, n + 0.5)
    chains = list(_chains(chain_id))
    if len(chains) == 1:
        axes.set_xlabel(f"Token of chain {chains[0][2]}")
        return
    for first, _, _ in chains[1:]:
        axes.axvline(first + 0.5, color=_INK, lw=0.5)
    wide = [chain for chain in chains if chain[1] - chain[0] >= n / 40]
    middles = [(first + last + 1) / 2 + 0.5 for first, last, _ in wide]
    axes.set_xticks(middles, [name for *_, name in wide])
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("Chain")


def _chains(chain_id: Shaped[ndarray, "n"]) -> Iterator[tuple[int, int, str]]:
    """First and last token (0-based) and id of each chain."""
    starts = _chain_starts(chain_id)
    ends = np.append(starts[1:], len(chain_id)) - 1
    for first, last in zip(starts.tolist(), ends.tolist(), strict=True):
        yield first, last, str(chain_id[first])


def _chain_starts(chain_id: Shaped[ndarray, "n"]) -> Int[ndarray, "chains"]:
    return np.flatnonzero(np.append(True, chain_id[1:] != chain_id[:-1]))

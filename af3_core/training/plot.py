"""The losses of a run as a figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy import ndarray

_WIDTH, _HEIGHT = 7.0, 2.6  # inches
_MAX_NAMED = 20
_TITLES = {
    "structure": ("mse", "smooth_lddt", "bond", "distogram"),
    "confidence": ("plddt", "pae", "pde", "resolved"),
}


def draw_losses(rows: Sequence[Mapping[str, str]]) -> Figure:
    """Each term over the steps of its stage: a colour for each structure learnt, grey
    for those that only the confidence head sees.

    Args:
        rows: of `losses.csv`: step, stage, subject and the terms before weights.
    """
    stages = [s for s in _TITLES if any(row["stage"] == s for row in rows)]
    figure = Figure(
        figsize=(_WIDTH, _HEIGHT * max(len(stages), 1)), layout="constrained"
    )
    learnt = sorted({row["subject"] for row in rows if row["stage"] == "structure"})
    colours = {name: f"C{index}" for index, name in enumerate(learnt)}
    for index, stage in enumerate(stages):
        chosen = [row for row in rows if row["stage"] == stage]
        subjects = {row["subject"] for row in chosen}
        grey_first = sorted(subjects, key=lambda subject: (subject in colours, subject))
        for column, term in enumerate(_TITLES[stage]):
            axes = figure.add_subplot(len(stages), 4, 4 * index + column + 1)
            for subject in grey_first:
                mine = [row for row in chosen if row["subject"] == subject]
                steps = np.array([int(row["step"]) for row in mine], np.float64)
                values = np.array([float(row[term]) for row in mine])
                colour = colours.get(subject, "0.8")
                axes.plot(steps, smooth(values), lw=0.7, color=colour)
            axes.set_title(term.replace("_", " "), fontsize=7)
            axes.set_xlabel("step", fontsize=6)
            axes.tick_params(labelsize=6)
            axes.set_ylim(bottom=0)
    keys = [Line2D([], [], color=colours[name], label=name) for name in learnt]
    if 0 < len(keys) <= _MAX_NAMED:
        figure.legend(handles=keys, fontsize=5, ncols=5, loc="outside lower center")
    return figure


def smooth(values: Float[ndarray, "m"], width: int = 15) -> Float[ndarray, "m"]:
    """The mean of each value and up to `width` - 1 before it."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - width, 0)
    return (total[last] - total[first]) / (last - first)

"""Draw the pictures of the documentation that need no training: ``python docs/figures.py``."""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import colormaps, rc_context

from reflosses import CrossEntropy, LabelSmoothing, SigmoidFocal, SparseLSR, gradient
from reflosses.plots import axes_of_figure, family, plot

FOLDER = Path(__file__).parent / "figures"
SMOOTHINGS = 0.001, 0.005, 0.01, 0.05, 0.1, 0.15, 0.2
CLASSES = 100


def sparse_lsr():
    """Return the figure of the SparseLSR repository: what a class with and without the label pays.

    A row's loss is the sum over its classes of a label times what that label costs.  For label
    smoothing the label is what smoothing leaves or gives, and SparseLSR asks nothing of the classes
    without the label: it charges the label's class for them.
    """
    p = np.linspace(0.01, 0.99, 199)
    logits = np.zeros((len(p), CLASSES))
    logits[:, 0] = np.log(p / (1 - p) * (CLASSES - 1))

    def payment(loss, label):
        return label * gradient(loss, logits, np.zeros(len(p), np.int64), wrt="labels")[:, 0]

    rows = {
        "cross entropy": lambda s, y: payment(CrossEntropy(), y),
        "label smoothing": lambda s, y: payment(CrossEntropy(), y * (1 - s) + s / CLASSES),
        "SparseLSR": lambda s, y: payment(SparseLSR(s), y),
    }
    figure, grid = axes_of_figure(len(rows), sharex=True, sharey="col")
    colours = colormaps["copper_r"](np.linspace(0, 1, len(SMOOTHINGS)))
    for axes, (name, formula) in zip(grid, rows.items(), strict=True):
        axes[0].set_ylabel(f"{name}\nloss")
        for panel, y in zip(axes, (1, 0), strict=True):
            panel.grid(alpha=0.3)
            for s, colour in zip(SMOOTHINGS, colours, strict=True):
                panel.plot(p, formula(s, y), color=colour, label=f"smoothing = {s}")
    for panel, title in zip(grid[0], ("target, y = 1", "non-target, y = 0"), strict=True):
        panel.set_title(title)
    figure.supxlabel(f"probability of the class, C = {CLASSES}", fontsize="medium")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def smoothing_of_rows():
    """Return what whole rows pay under label smoothing and SparseLSR, and the slopes in one logit."""
    losses = CrossEntropy(), LabelSmoothing(smoothing=0.2), SparseLSR(0.2)
    return plot(losses, ["value", "gradient"], over="probability", classes=CLASSES)


def sigmoid_focal():
    """Return the curves that the README's command draws."""
    return plot(family(SigmoidFocal(), "gamma", [0, 1, 2, 5]), ["value", "gradient"], over="probability")


FIGURES = sigmoid_focal, smoothing_of_rows, sparse_lsr


def main(arguments=None):
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures go")
    folder = parser.parse_args(arguments).folder
    folder.mkdir(exist_ok=True)
    for figure in FIGURES:
        # the same bytes in every run; text as text, which is shorter than its outlines
        with rc_context({"svg.hashsalt": figure.__name__, "svg.fonttype": "none"}):
            figure().savefig(folder / f"{figure.__name__}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()

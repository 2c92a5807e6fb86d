"""What wrong labels do to a network, and what temperatures do about it: ``python docs/examples/noisy_labels.py``.

Two rings of points, whose labels are flipped next to the border between them, far from it, or
anywhere; and scikit-learn's digits, whose labels are replaced by wrong ones.  Printed are the
accuracies on points and digits with right labels; drawn are the decisions in the plane.  After the
experiments of Amid et al. 2019.
"""

import numpy as np
from network import accuracy, activations, trained
from report import options, progress, publish, save, spread, table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from reflosses import BiTempered, CrossEntropy, tempered_softmax
from reflosses.plots import axes_of_figure

# Name -> the margins of the points of the rings that may have a wrong label; none is below 0.
KINDS = {
    "no noise": (0.0, 0.0),
    "small-margin noise": (0.0, 0.5),
    "large-margin noise": (0.5, 1.0),
    "random noise": (0.0, 1.0),
}
FLIPPED = 0.2  # of the rings' labels: where half of them may be wrong, still fewer than half of those are
WRONG = 0.0, 0.2, 0.4  # of the digits' labels
RING_LOSSES = CrossEntropy(), BiTempered(1.0, 4.0), BiTempered(0.2, 1.0), BiTempered(0.2, 4.0)
DIGIT_LOSSES = CrossEntropy(), BiTempered(0.8, 1.2), BiTempered(0.5, 2.0), BiTempered(0.5, 4.0)
RING_SIZES, DIGIT_SIZES = (2, 32, 16, 2), (64, 128, 64, 10)


def main(arguments=None):
    """Train, print the tables and save the picture."""
    chosen = options(__doc__.splitlines()[0], arguments)
    seeds, ring_epochs, digit_epochs = (range(1), 15, 8) if chosen.quick else (range(5), 300, 100)
    steps = len(KINDS) * len(RING_LOSSES) * ring_epochs + len(WRONG) * len(DIGIT_LOSSES) * digit_epochs
    with progress(len(seeds) * steps) as after_epoch:
        rings, panels = on_rings(seeds, ring_epochs, after_epoch)
        digits = on_digits(seeds, digit_epochs, after_epoch)
    print(f"{rings}\n\n{digits}")
    save(draw(panels), chosen.folder / "noisy_labels.png")
    if not chosen.quick:
        publish("rings", rings)
        publish("digits", digits)


def temperatures(loss):
    """Return the name of a loss for tables and pictures."""
    return f"t1 = {loss.t1:g}, t2 = {loss.t2:g}" if isinstance(loss, BiTempered) else "cross entropy"


def summary(head, cases, losses, accuracies):
    """Return the table of accuracies with a row for each case and a column for each loss, in per cent."""
    rows = [[name, *(spread(accuracies[case, loss]) for loss in losses)] for name, case in cases.items()]
    return table([f"{head}, accuracy in %", *map(temperatures, losses)], rows)


# Rings ------------------------------------------------------------------------------------------


def disc(count, random):
    """Return points of a disc of radius √2, labels that say whether they are outside 1, and their margins."""
    square = 2 * random.random(count)  # of the radius: as many points inside as outside
    angle = 2 * np.pi * random.random(count)
    radius = np.sqrt(square)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), (radius > 1) * 1, np.abs(square - 1)


def flipped(labels, margins, low, high, random):
    """Return labels of which a share, all with margins from low to high, are wrong."""
    among = np.flatnonzero((margins >= low) & (margins < high))
    count = min(int(FLIPPED * len(labels)), len(among))
    wrong = random.choice(among, count, replace=False)
    return np.where(np.isin(np.arange(len(labels)), wrong), 1 - labels, labels)


def on_rings(seeds, epochs, after_epoch):
    """Return the table of accuracies, and of the first seed what ``draw`` shows."""
    accuracies, panels = {}, []
    for seed in seeds:
        random = np.random.default_rng(seed)
        x, right, margins = disc(1000, random)
        x_test, y_test, _ = disc(4000, random)
        for kind, (low, high) in KINDS.items():
            y = flipped(right, margins, low, high, random)
            for loss in RING_LOSSES:
                layers = trained(loss, x, y, RING_SIZES, epochs=epochs, seed=seed, after_epoch=after_epoch)
                accuracies.setdefault((kind, loss), []).append(accuracy(layers, x_test, y_test))
                if seed == seeds[0]:
                    panels.append((loss, layers, x, y))
    return summary("rings", {kind: kind for kind in KINDS}, RING_LOSSES, accuracies), panels


def draw(panels):
    """Return the figure: a column for each kind of noise, a row for each loss."""
    figure, grid = axes_of_figure(len(RING_LOSSES), len(KINDS), size=(1.8, 1.7), sharex=True, sharey=True)
    side = np.linspace(-1.5, 1.5, 150)
    plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    for axes, (loss, layers, x, y) in zip(grid.T.flat, panels, strict=True):
        p = tempered_softmax(activations(layers, plane)[-1], getattr(loss, "t2", 1.0))[:, 1]
        p = p.reshape(len(side), -1)
        axes.contourf(side, side, p, np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.6)
        axes.contour(side, side, p, [0.5], colors="black")
        axes.scatter(*x[:400].T, c=y[:400], s=1, cmap="RdBu_r", vmin=-0.2, vmax=1.2)
        axes.set(aspect="equal", xticks=[], yticks=[])
    for axes, kind in zip(grid[0], KINDS, strict=True):
        axes.set_title(kind, fontsize="small")
    for axes, loss in zip(grid[:, 0], RING_LOSSES, strict=True):
        axes.set_ylabel(temperatures(loss), fontsize="small")
    return figure


# Digits -----------------------------------------------------------------------------------------


def replaced(labels, share, random):
    """Return labels of which a share are those of another class, all others being as likely."""
    wrong = random.permutation(len(labels)) < round(share * len(labels))
    return np.where(wrong, (labels + random.integers(1, 10, len(labels))) % 10, labels)


def on_digits(seeds, epochs, after_epoch):
    """Return the table of accuracies."""
    images, digits = load_digits(return_X_y=True)
    accuracies = {}
    for seed in seeds:
        random = np.random.default_rng(seed)
        parts = train_test_split(images / 16, digits, test_size=0.5, stratify=digits, random_state=seed)
        x, x_test, right, y_test = parts
        for share in WRONG:
            y = replaced(right, share, random)
            for loss in DIGIT_LOSSES:
                layers = trained(loss, x, y, DIGIT_SIZES, epochs=epochs, seed=seed, after_epoch=after_epoch)
                accuracies.setdefault((share, loss), []).append(accuracy(layers, x_test, y_test))
    return summary("wrong digits", {f"{100 * share:.0f} %": share for share in WRONG}, DIGIT_LOSSES, accuracies)


if __name__ == "__main__":
    main()

"""What label smoothing does to the penultimate layer: ``python docs/examples/penultimate.py``.

A network learns scikit-learn's digits with cross entropy, with label smoothing and with SparseLSR.
Printed are the accuracies on digits it has not seen; drawn is where t-SNE puts the penultimate
layer's answers to them.  After Raymond et al. 2023, who do so for AlexNet and CIFAR-10.
"""

import numpy as np
from network import accuracy, activations, trained
from report import options, progress, publish, save, spread, table
from sklearn.datasets import load_digits
from sklearn.manifold import TSNE
from sklearn.model_selection import train_test_split

from reflosses import CrossEntropy, LabelSmoothing, SparseLSR
from reflosses.plots import axes_of_figure

SMOOTHING = 0.25
LOSSES = {
    "cross entropy": CrossEntropy(),
    f"label smoothing, {SMOOTHING}": LabelSmoothing(smoothing=SMOOTHING),
    f"SparseLSR, {SMOOTHING}": SparseLSR(SMOOTHING),
}
SIZES = 64, 64, 16, 10


def main(arguments=None):
    """Train, print the table and save the picture."""
    chosen = options(__doc__.splitlines()[0], arguments)
    seeds, epochs = (range(1), 10) if chosen.quick else (range(5), 100)
    points = 200 if chosen.quick else None  # for t-SNE
    images, digits = load_digits(return_X_y=True)
    accuracies = {name: [] for name in LOSSES}
    clouds = {}
    with progress(len(seeds) * len(LOSSES) * epochs) as after_epoch:
        for seed in seeds:
            parts = train_test_split(images / 16, digits, test_size=0.5, stratify=digits, random_state=seed)
            x, x_test, y, y_test = parts
            for name, loss in LOSSES.items():
                layers = trained(loss, x, y, SIZES, epochs=epochs, seed=seed, after_epoch=after_epoch)
                accuracies[name].append(accuracy(layers, x_test, y_test))
                clouds.setdefault(name, (activations(layers, x_test)[-2][:points], y_test[:points]))
    text = table(["loss", "accuracy, %"], [[name, spread(found)] for name, found in accuracies.items()])
    print(text)
    save(draw(clouds), chosen.folder / "penultimate.png")
    if not chosen.quick:
        publish("penultimate", text)


def draw(clouds):
    """Return the figure: a panel for each loss, a colour for each digit."""
    figure, (row,) = axes_of_figure(columns=len(clouds))
    for axes, (name, (layer, digits)) in zip(row, clouds.items(), strict=True):
        x, y = TSNE(random_state=0).fit_transform(layer.astype(np.float32)).T
        dots = axes.scatter(x, y, c=digits, s=6, cmap="tab10", vmin=-0.5, vmax=9.5)
        axes.set(title=name, xticks=[], yticks=[])
    figure.colorbar(dots, ax=list(row), ticks=range(10), label="digit")
    return figure


if __name__ == "__main__":
    main()

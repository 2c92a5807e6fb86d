"""A loss of more rows than fit into memory, on dask: ``python docs/examples/hundred_million_rows.py``.

Rows are made where they are needed, a block at a time: logits of a linear model of features that are drawn
at random, and labels that follow its probabilities.  Printed are the mean loss and its gradient in the
coefficients of the model, the time, and how much memory the process held at most.
"""

import argparse
import resource
import sys
import time

import dask
import dask.array as da
import numpy as np
from dask.diagnostics import ProgressBar

import reflosses.dask
from reflosses import CrossEntropy, softmax

CLASSES, FEATURES = 3, 4


def main(arguments=None):
    """Evaluate and differentiate the loss, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--block", type=int, default=1_000_000, help="rows of one block")
    parser.add_argument("--workers", type=int, default=2, help="blocks at a time")
    chosen = parser.parse_args(arguments)
    coefficients = np.random.default_rng(0).standard_normal((FEATURES, CLASSES))
    features, labels = rows(chosen.rows, chosen.block, coefficients)
    logits = features @ (0.9 * coefficients)  # a model that is nearly right
    value, slopes = reflosses.dask.value_and_gradient(CrossEntropy(), logits, labels, reduction="mean")
    start = time.perf_counter()
    with ProgressBar(out=sys.stderr), dask.config.set(scheduler="threads", num_workers=chosen.workers):
        value, gradient = dask.compute(value, features.T @ slopes)
    print(f"mean loss of {chosen.rows:,} rows: {value:.6f}")
    print(f"largest derivative in a coefficient: {np.abs(gradient).max():.6f}")
    print(f"{time.perf_counter() - start:.0f} s; the process held {peak():.2f} GB at most")
    print(f"features and logits would be {size(features, logits):.2f} GB")


def rows(count, block, coefficients):
    """Return lazy features and the labels that a linear model gives them."""
    random = da.random.default_rng(1)
    features = random.standard_normal((count, FEATURES), chunks=(block, FEATURES))
    chances = random.random(count, chunks=block)

    def drawn(x, chance):
        return (softmax(x @ coefficients).cumsum(axis=1)[:, :-1] < chance[:, np.newaxis]).sum(axis=1)

    labels = da.blockwise(drawn, "i", features, "ij", chances, "i", concatenate=True, dtype=np.int64)
    return features, labels


def peak():
    """Return the most memory that this process ever held, in gigabytes."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (1e9 if sys.platform == "darwin" else 1e6)


def size(*arrays):
    """Return the size of arrays, in gigabytes."""
    return sum(array.nbytes for array in arrays) / 1e9


if __name__ == "__main__":
    main()

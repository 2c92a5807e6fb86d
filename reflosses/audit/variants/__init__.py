"""Correct implementations, drawn by number, none of which an audit may accuse.

``python -m reflosses.audit.variants`` audits a thousand: a loss with drawn parameters, computed in one of
many equal ways (``ways``), in NumPy, PyTorch, JAX or mpmath, as a function, an object or a class, with
arguments in either order and with options.  A variant that loses digits may get a lower grade for it;
a finding of kind "convention" or "mistake" is an accusation, and so is the grade F.
"""

from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from ... import losses as l
from ...spelling import spelled
from ..limits import judge_target
from ..target import recognise
from ..truth import batches
from .formulas import formula
from .ways import numpy_like
from .wrappers import wrapped

CLASSES = 3  # rows of more cost seconds a loss, and show nothing else
ACCUSING = {"convention", "mistake"}


class Variant(NamedTuple):
    """A correct implementation: its number, its loss, how it was made, and what ``recognise`` takes."""

    number: int
    loss: tuple
    dtype: str
    made: tuple
    function: object
    framework: str
    arguments: list | None

    def asked_in(self, dtype):
        """Return it in another dtype; JAX and mpmath keep float64."""
        return self if {"jax", "mpmath"} & set(self.made) else self._replace(dtype=dtype)

    def __str__(self):
        return f"{self.number}: {spelled(self.loss)} in {self.dtype}: {'; '.join(self.made)}"


class Choice:
    """A source of choices that remembers the names of what it took."""

    def __init__(self, number):
        self.random, self.made = np.random.default_rng([7, number]), []

    def of(self, table):
        """Return an entry of a table, remembered by its name."""
        name = list(table)[self.random.integers(len(table))]
        self.made.append(name)
        return table[name]

    def among(self, *options):
        return options[self.random.integers(len(options))]

    def number(self, low, high, *usual):
        """Return a usual number, or any between two."""
        return float(self.among(*usual, self.random.uniform(low, high)))

    def weights(self):
        return tuple(self.number(0.2, 5, 0.5, 1.0, 2.0) for _ in range(3))


# Losses ---------------------------------------------------------------------------------------


def _rows_entropy(x):
    return l.CrossEntropy(x.among(None, x.weights()))


def _single_entropy(x):
    return l.BinaryCrossEntropy(x.number(0.1, 20, 1.0, 1.0, 3.0))


def _focus(x):
    return x.number(0, 5, 0.0, 1.0, 2.0, 2.0, 3.0)


def losses():
    """Return by name how a loss with its parameters is drawn."""
    return {
        "cross entropy": _rows_entropy,
        "label smoothing": lambda x: l.LabelSmoothing(_rows_entropy(x), x.number(0.01, 0.6, 0.1)),
        "smoothing to others": lambda x: l.OtherClassesSmoothing(_rows_entropy(x), x.number(0.01, 0.4, 0.1)),
        "smoothing of nonzero": lambda x: l.SoftLabelSmoothing(_rows_entropy(x), x.number(0.01, 0.4, 0.1)),
        "categorical focal": lambda x: l.CategoricalFocal(_focus(x), x.among(None, x.weights())),
        "MAE": lambda x: l.ClassificationMAE(),
        "SparseLSR": lambda x: l.SparseLSR(x.number(0.01, 0.9, 0.1)),
        "bi-tempered": lambda x: l.BiTempered(x.number(0.1, 0.9, 0.8), x.number(1.1, 3.0, 1.2)),
        "binary cross entropy": _single_entropy,
        "binary smoothing": lambda x: l.BinaryLabelSmoothing(_single_entropy(x), x.number(0.01, 0.6, 0.1)),
        "sigmoid focal": lambda x: l.SigmoidFocal(_focus(x), x.among(None, x.number(0.05, 0.95, 0.25))),
        "binary focal": lambda x: l.BinaryFocal(_focus(x), x.among(None, x.number(0.05, 0.95, 0.25))),
        "cross entropy of p": lambda x: l.ProbabilityCrossEntropy(x.among(0.0, 1e-7, 0.01)),
        "rescaled p": lambda x: l.RescaledProbabilityCrossEntropy(x.among(0.0, 1e-7)),
        "binary cross entropy of p": lambda x: l.BinaryProbabilityCrossEntropy(x.among(0.0, 1e-7), x.among(0.0, 1e-7)),
    }


# What is drawn --------------------------------------------------------------------------------


def frameworks():
    """Return the installed frameworks, the quick ones more often."""
    named = ["numpy"] * 50 + ["torch"] * 45 + ["jax"] + ["mpmath"] * 4
    return [x for x in named if find_spec(x)]


def variant(number):
    """Return the correct implementation with a number, the same ever again."""
    x = Choice(number)
    loss = x.of(losses())(x)
    framework = x.among(*frameworks())
    dtype = x.among("float32", "float64") if framework in ("numpy", "torch") else "float64"
    framework = "numpy" if type(loss) is l.BiTempered else framework
    x.made.append(framework)
    function = formula(loss, numpy_like(framework), x, slopes=framework in ("numpy", "mpmath"))
    function, arguments = wrapped(function, loss, framework, x)
    return Variant(
        number, loss, dtype, tuple(x.made), function, framework if framework != "mpmath" else "numpy", arguments
    )


def examined(variant):
    """Return the ``Verdict`` on a variant, on rows of few classes."""
    dtype = np.dtype(variant.dtype)
    implementation = recognise(variant.function, variant.loss, "variant", variant.framework, variant.arguments)
    given = [x for x in batches(variant.loss, dtype) if x.logits.ndim == 1 or x.logits.shape[1] <= CLASSES]
    return judge_target(implementation, variant.loss, dtype, given=given)


def accusations(verdict):
    """Return what is said against an implementation: that it is not what it should be, or the grade for that."""
    found = [f"{x.kind} {x.name}: {x.sentence}" for x in verdict.findings if x.kind in ACCUSING]
    return tuple(found or ["another function"] * (verdict.grade == "F"))

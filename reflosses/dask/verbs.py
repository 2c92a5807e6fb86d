"""Value and gradient of dask arrays, lazily.

The verbs have the arguments of those in ``reflosses.api``, any of which may be dask arrays, and return
dask arrays in blocks of the logits' rows: one block is one call of the verb of the same name, so
that the results are its results to the bit.  Nothing is computed, and no label looked at, before the
results are; shapes, dtypes and parameters are checked at once.

Sums are the same however the rows are cut.  A block adds up in about twice the precision of float64
and rounds once, and so does each of the few levels of merging, of up to 32 sums each: for 10^6 blocks
the error is below 10^-15 of the sum of the terms' magnitudes.  One rounding to the dtype of the logits
comes last.

The gradient of ``reduction="weighted_mean"`` needs the sum of all weights before any row can be
finished.  If weights and logits are made of the same data, dask will keep all of it meanwhile: persist
the weights, or take the sum and divide.

A block is computed by as many threads as ``reflosses.thread_count()`` says.  Where every core has a
worker of its own, start these with REFLOSSES_NUM_THREADS=1.
"""

import math
from functools import partial
from operator import itemgetter

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.layers import ArraySliceDep

from .. import api
from ..arrays import rounded
from ..stamp import stamp

__all__ = ["gradient", "value", "value_and_gradient"]

VERBS = {(0,): api.value, (1,): api.gradient, (0, 1): api.value_and_gradient}
MERGED = 32  # sums at a time: four levels for a million blocks, each of which rounds once


def value(loss, logits, labels, *, weight=None, upstream=None, reduction="none", normalized=True):
    """Return the loss: one value per row (or per logit), or their reduction, as a dask array.

    Parameters
    ----------
    loss, reduction, normalized
        As in ``reflosses.value``.
    logits, labels, weight, upstream : dask.array.Array or array_like
        As in ``reflosses.value``; others are cut as the logits are.  Logits whose classes are in
        several blocks are rechunked.

    Raises
    ------
    TypeError, ValueError
        As in ``reflosses.value``: at once for parameters, shapes and dtypes, and when the results are
        computed for illegal labels and probabilities, with a note saying in which block they are.
        ValueError too for blocks of unknown length.

    Examples
    --------
    >>> import dask.array as da
    >>> from reflosses import CrossEntropy
    >>> from reflosses.dask import value
    >>> logits = da.zeros((10**9, 4), chunks=(10**7, 4))  # 32 gigabytes
    >>> labels = da.ones(10**9, dtype=int, chunks=10**7)
    >>> value(CrossEntropy(), logits, labels)
    dask.array<value, shape=(1000000000,), dtype=float64, chunksize=(10000000,), chunktype=numpy.ndarray>
    >>> value(CrossEntropy(), logits[:3000], labels[:3000], reduction="mean").compute()
    np.float64(1.3862943611198908)
    """
    return _Call(loss, logits, labels, weight, upstream, reduction, normalized).results(0)[0]


def gradient(loss, logits, labels, *, weight=None, upstream=None, reduction="none", normalized=True, wrt="logits"):
    """Return the derivative in the logits, or with ``wrt="labels"`` in the labels, as a dask array.

    It has the shape of the logits and their blocks of rows.  Arguments and errors are those of ``value``.

    Examples
    --------
    >>> import dask.array as da
    >>> from reflosses import CrossEntropy
    >>> from reflosses.dask import gradient
    >>> gradient(CrossEntropy(), da.zeros((3, 2), chunks=(2, 1)), [0, 1, 1], reduction="sum").compute()
    array([[-0.5,  0.5],
           [ 0.5, -0.5],
           [ 0.5, -0.5]])
    """
    return _Call(loss, logits, labels, weight, upstream, reduction, normalized, wrt).results(1)[0]


def value_and_gradient(
    loss, logits, labels, *, weight=None, upstream=None, reduction="none", normalized=True, wrt="logits"
):
    """Return (value, gradient), two dask arrays that share their work if they are computed together.

    Arguments and errors are those of ``value``.

    Examples
    --------
    >>> import dask
    >>> import dask.array as da
    >>> from reflosses import BinaryCrossEntropy
    >>> from reflosses.dask import value_and_gradient
    >>> logits, labels = da.from_array([0.0, 2.0], chunks=1), [1, 1]
    >>> dask.compute(*value_and_gradient(BinaryCrossEntropy(), logits, labels, reduction="mean"))
    (np.float64(0.4100375958014589), array([-0.25      , -0.05960146]))
    """
    return _Call(loss, logits, labels, weight, upstream, reduction, normalized, wrt).results(0, 1)


class _Call:
    """The checked arguments of one call of a verb, in blocks that fit, and what is made of them."""

    def __init__(self, loss, logits, labels, weight, upstream, reduction, normalized, wrt="logits"):
        prepared = api.prepare(loss)
        if reduction not in api.REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(api.REDUCTIONS)}, got {reduction!r}")
        self.loss, self.classes, self.reduction = loss, prepared.classes, reduction
        self.normalized, self.wrt = normalized, wrt
        logits, labels = known(logits, "logits"), known(labels, "labels")
        self.shape = logits.shape
        self.batch = self.shape[:-1] if prepared.rows else self.shape
        if labels.shape not in (self.batch, self.shape):
            expected = " or ".join(str(shape) for shape in dict.fromkeys((self.batch, self.shape)))
            raise ValueError(
                f"labels of shape {labels.shape} do not fit logits of shape {self.shape}: expected {expected}"
            )
        self.logits = logits.rechunk({len(self.batch): -1}) if prepared.rows else logits
        self.labels = labels.rechunk(self.logits.chunks[: labels.ndim])
        self.weight, self.upstream = self.spread(weight, "weight"), self.spread(upstream, "upstream")

    def spread(self, x, name):
        """Return one number for each value, in the blocks of the rows."""
        if x is None:
            return None
        x = known(x, name)
        try:
            fits = np.broadcast_shapes(x.shape, self.batch) == self.batch
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"{name} of shape {x.shape} does not fit values of shape {self.batch}")
        return da.broadcast_to(x, self.batch).rechunk(self.logits.chunks[: len(self.batch)])

    def results(self, *wanted):
        """Return value and gradient, those that are wanted (0, 1)."""
        options = {"normalized": self.normalized} | ({"wrt": self.wrt} if 1 in wanted else {})
        nothing = dict(zip(wanted, _tuple(self.on_no_rows(VERBS[wanted], options)), strict=True))
        divisor = self.divisor()
        factor = divisor.map_blocks(_reciprocal, meta=np.empty(()))
        rows, entries = tuple(range(len(self.batch))), tuple(range(len(self.shape)))
        arguments = (
            *(self.logits, entries, self.labels, entries[: self.labels.ndim]),
            *(
                self.weight,
                None if self.weight is None else rows,
                self.upstream,
                None if self.upstream is None else rows,
            ),
            *(factor, (), ArraySliceDep(self.logits.chunks[: len(rows)]), rows),
        )
        # dask's own names tell losses by their class's name and fields
        name = tokenize(stamp(*self.classes), self.classes, self.loss, self.reduction, options, wanted, arguments)
        blocks = da.blockwise(
            partial(_block, self.loss, self.reduction, options, wanted),
            rows,
            *arguments,
            name=f"{VERBS[wanted].__name__}-{name}",
            align_arrays=False,
            meta=np.empty((0,) * len(rows)),
        )
        return tuple(self.pick(k, blocks, nothing[k].dtype, divisor) for k in wanted)

    def pick(self, k, blocks, dtype, divisor):
        """Return the value or the gradient from what the blocks return."""
        rows, more = tuple(range(len(self.batch))), dict(enumerate(self.shape[len(self.batch) :], len(self.batch)))
        take = partial(da.blockwise, itemgetter(k), token=VERBS[k,].__name__)
        if k:
            return take((*rows, *more), blocks, rows, new_axes=more, meta=np.empty((0,) * len(self.shape), dtype))
        if self.reduction == "none":
            return take(rows, blocks, rows, meta=np.empty((0,) * len(rows), dtype))
        sums = take(rows, blocks, rows, adjust_chunks=dict.fromkeys(rows, 1), meta=np.empty((0,) * len(rows)))
        quotient = partial(_quotient, dtype)
        return da.map_blocks(quotient, self.total(sums), divisor, meta=np.empty((), dtype), token="value")

    def on_no_rows(self, verb, options):
        """Return the verb's results for no rows: their dtypes, and its complaints about all but labels."""

        def empty(x):
            return None if x is None else np.empty((0,) * max(len(self.batch), 1) + x.shape[len(self.batch) :], x.dtype)

        logits, labels, weight, upstream = map(empty, (self.logits, self.labels, self.weight, self.upstream))
        return verb(self.loss, logits, labels, weight=weight, upstream=upstream, **options)

    def divisor(self):
        """Return what the sum is divided by."""
        if self.reduction != "weighted_mean":
            return da.asarray(float(math.prod(self.batch) if self.reduction == "mean" else 1))
        weight = self.spread(1.0, "weight") if self.weight is None else self.weight
        if self.batch == self.labels.shape != self.shape and self.labels.dtype.kind not in "biu":
            weight = da.where(da.isnan(self.labels) & (weight != 0), np.nan, weight)  # as the verb has it
        return self.total(weight)

    def total(self, x):
        """Return the sum of all numbers, a float64."""
        add = partial(_sum, self.loss)
        return da.reduction(x, add, add, dtype=np.float64, concatenate=True, split_every=MERGED, meta=np.empty(()))


def known(x, name):
    """Return a dask array, each of whose blocks has a known length."""
    x = da.asarray(x)
    if any(map(math.isnan, x.shape)):
        raise ValueError(f"{name} have blocks of unknown length; call their compute_chunk_sizes() first")
    return x


def _tuple(results):
    return results if isinstance(results, tuple) else (results,)


# What runs where the blocks are -------------------------------------------------------------------


def _block(loss, reduction, options, wanted, logits, labels, weight, upstream, factor, place):
    """Return {0: value, 1: gradient} of one block of rows, those that are wanted; a sum if there is a reduction."""
    # the classes, which the result has no axis for, come as a list of their one block
    logits, labels = (x[0] if isinstance(x, list) else x for x in (logits, labels))
    arguments = {"weight": weight, "upstream": upstream, **options}
    try:
        if reduction == "none":
            results = dict(zip(wanted, _tuple(VERBS[wanted](loss, logits, labels, **arguments)), strict=True))
        else:
            results = api.part(loss, logits, labels, wanted=wanted, factor=float(factor), **arguments)
    except ValueError as error:
        where = ", ".join(f"{part.start}:{part.stop}" for part in place)
        error.add_note(f"This is counted within one block, logits[{where}].")
        raise
    if reduction != "none" and 0 in wanted:
        results[0] = np.full((1,) * len(place), results[0])
    return results


def _sum(loss, x, axis, keepdims):
    """Return Σ x of one block, or of the sums of some."""
    total = api.prepare(loss).drivers.sum_of(np.ascontiguousarray(x, dtype=np.float64).reshape(-1))
    return np.full((1,) * x.ndim, total) if keepdims else np.float64(total)


def _reciprocal(divisor):
    return np.asarray(1.0 / float(divisor) if divisor else math.nan)


def _quotient(dtype, total, divisor):
    """Return the total, divided and rounded."""
    return rounded(np.array(float(total) / float(divisor) if divisor else math.nan), dtype)[()]

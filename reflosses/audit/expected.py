"""What a call owes, derived from certified rows by exact rules.

Rows: an ignored row pays 0, whatever it holds, and has the gradient 0; sample weights multiply.
The mean of rows with classes divides by Σ of the class weights of the rows that count (PyTorch), of
rows with soft labels and of single logits by their number; where sample weights are given, their sum
is as good a divisor.  An upstream derivative multiplies.
"""

import numpy as np

from ..oracle import certify
from .call import with_options
from .model import settings

_rows: dict = {}


def row(loss, z, y):
    """Return the certified value and gradient of one row as float64, remembered."""
    key = type(loss), repr(loss), z.tobytes(), np.asarray(y).tobytes(), z.dtype.name
    if key not in _rows:
        if len(_rows) > 5000:
            _rows.clear()
        value, gradient = (certify(loss, z, y, verb) for verb in ("value", "gradient"))
        _rows[key] = float(value[0].mid()), np.array([float(x.mid()) for x in gradient]).reshape(np.shape(z))
    return _rows[key]


def counted(call):
    """Return which rows count."""
    index = call.options.get("ignore_index")
    n = len(call.logits)
    if index is None or call.labels.ndim != 1 or call.logits.ndim == 1:
        return np.ones(n, bool)
    return call.labels != index


def expected(loss, call):
    """Return value and gradient of a call, unreduced or reduced as its options say."""
    options, counts = call.options, counted(call)
    loss = with_options(loss, options)
    value, gradient = np.zeros(len(call.logits)), np.zeros(call.logits.shape)
    for i in np.flatnonzero(counts):
        value[i], gradient[i] = row(loss, call.logits[i], call.labels[i])
    weight = np.asarray(options.get("sample_weight", np.ones(len(value))), np.float64)
    along = weight.reshape(-1, *[1] * (gradient.ndim - 1))
    value, gradient = value * weight, gradient * along
    reduction = options.get("reduction", "none")
    if reduction != "none":
        share = 1.0 if reduction == "sum" else 1 / divisors(loss, call)["weights of the rows that count"]
        up = 1.0 if call.upstream is None else float(call.upstream)
        return value.sum() * share, gradient * share * up
    if call.upstream is not None:
        gradient = gradient * call.upstream.astype(np.float64).reshape(along.shape)
    return value, gradient


def divisors(loss, call):
    """Return everything by which people divide a sum of rows, by name."""
    counts = counted(call)
    n, classes = len(counts), call.logits.shape[-1] if call.logits.ndim > 1 else 1
    weight = call.options.get("class_weight", settings(loss).get("class_weight"))
    labels = call.labels if call.labels.ndim == 1 and call.logits.ndim > 1 else np.zeros(n, int)
    w = np.ones(classes) if weight is None or call.labels.ndim > 1 else np.asarray(weight, np.float64)
    of_rows = w[np.where((labels >= 0) & (labels < classes), labels, -1)]
    every = w[np.clip(labels, 0, classes - 1)]
    halves = np.array_split(np.arange(n), 2)
    return {
        "weights of the rows that count": (of_rows * counts).sum(),
        "rows that count": float(counts.sum()),
        "rows, ignored ones included": float(n),
        "weights of all rows, ignored ones included": every.sum(),
        "weights of all rows, ignored ones counted with the last class's": of_rows.sum(),
        "rows that do not count": float(n - counts.sum()),
        "nothing: it is the sum": 1.0,
        "rows times classes": float(counts.sum() * classes),
        "rows times classes, ignored ones included": float(n * classes),
        "classes": float(classes),
        "half of the rows, as if two half batches were added": float(counts.sum() / len(halves)),
        "rows less one": float(counts.sum() - 1),
        "the sum of the class weights": w.sum(),
        "squared number of rows": float(counts.sum() ** 2),
    }

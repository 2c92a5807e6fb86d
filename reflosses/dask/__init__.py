"""Losses of data that no memory holds, or that many machines have: on dask.

``value``, ``gradient`` and ``value_and_gradient`` are the verbs of those names for dask arrays; ``fit`` fits
a linear classifier to them; and ``Metric`` is what the dask estimators of XGBoost should watch.

Examples
--------
>>> import dask.array as da
>>> from reflosses import BinaryCrossEntropy
>>> import reflosses.dask
>>> logits = da.linspace(-1, 1, 10**6, chunks=10**5)
>>> reflosses.dask.value(BinaryCrossEntropy(), logits, logits > 0, reduction="mean").compute().round(6)
np.float64(0.483819)
"""

from ..lazy import attributes

HOMES = {
    **dict.fromkeys(("gradient", "value", "value_and_gradient"), "verbs"),
    "fit": "linear",
    "Metric": "metric",
}

__all__ = ["Metric", "fit", "gradient", "value", "value_and_gradient"]

__getattr__ = attributes(__name__, HOMES, "dask")

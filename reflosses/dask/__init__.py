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

from importlib import import_module

HOMES = {
    **dict.fromkeys(("gradient", "value", "value_and_gradient"), "verbs"),
    "fit": "linear",
    "Metric": "metric",
}

__all__ = ["Metric", "fit", "gradient", "value", "value_and_gradient"]


def __getattr__(name):
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{HOMES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        message = f"reflosses.dask needs {error.name}, which is not installed: pip install 'reflosses[dask]'"
        raise ModuleNotFoundError(message, name=error.name) from None

"""Where errors are: every result's error over the log-odds of the class that it is about."""

import numpy as np

from ..domain import REAL, predictions


def scatter(outcomes):
    """Return what a plot of errors over logits shows, an array of (log-odds, error in ulps) of all results.

    The log-odds of a class are its logit minus the logarithm of the sum of the others'
    exponentials: for a loss of single logits the logit itself.  A value is about the label's class,
    an entry of a gradient about its own.
    """
    pairs = [np.stack([log_odds(x.batch, x.verb).ravel(), x.ulps.ravel()], axis=1) for x in outcomes]
    return np.concatenate(pairs)


def log_odds(batch, verb):
    """Return the log-odds that the results of a batch are about, in the shape of these results."""
    z = batch.logits.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if z.ndim == 1:
            return z if predictions(batch.loss) == REAL else np.log(z) - np.log1p(-z)
        z = z if predictions(batch.loss) == REAL else np.log(z)
        odds = np.nan_to_num(z - _others(z), nan=0.0, posinf=np.inf, neginf=-np.inf)
    if verb != "value":
        return odds
    labels = batch.labels if batch.labels.ndim == 1 else batch.labels.argmax(axis=1)
    return np.take_along_axis(odds, labels[:, None], axis=1)[:, 0]


def _others(z):
    """Return for every logit the logarithm of the sum of the exponentials of the others in its row."""
    total = np.logaddexp.reduce(z, axis=1, keepdims=True)
    others = total + np.log1p(-np.exp(np.minimum(z - total, 0.0)))  # exact enough while p is at most 1/2
    top = z.argmax(axis=1)[:, None]
    rest = z.copy()
    np.put_along_axis(rest, top, -np.inf, axis=1)
    np.put_along_axis(others, top, np.logaddexp.reduce(rest, axis=1, keepdims=True), axis=1)
    return others

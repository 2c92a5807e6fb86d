"""What probes stand on: the question, the target to call, and the smallest call that still fails."""

import contextlib
import io
import re
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...domain import classes_of
from ...transfer import predicted
from ..call import Call

GIT = "https://github.com/"
NEAR = 1e-3  # relative to the largest: probes look for other rules, not for lost digits
SECONDS = 3.0  # for making a failure smaller


class Probe(NamedTuple):
    """One question about behaviour."""

    name: str
    reason: str
    ask: Callable  # Bench -> None, or (finding's name, phrase, link)
    needs: tuple = ()  # the options without which there is nothing to ask
    lowers: str = "A"
    compares: bool = False  # whether its first call is the yardstick of its last: lines to paste show both


class Asked(NamedTuple):
    """A call that was made, and what text makes its logits of a literal."""

    call: Call
    layout: str


class Bench:
    """A target, its loss, and rows to call it on; ``asked`` are the calls that were made."""

    def __init__(self, implementation, loss, dtype, z=None, y=None):
        self.implementation, self.loss, self.dtype = implementation, loss, np.dtype(dtype)
        self.rows, self.asked = loss.targets.rows, []
        if z is None:
            random, classes = np.random.default_rng(5), classes_of(loss, 3)
            z = 1.5 * random.standard_normal((6, classes) if self.rows else 6)
            z = predicted(loss, z.astype(self.dtype))
            y = np.arange(6) % classes if self.rows else (np.arange(6) % 2).astype(self.dtype)
        self.z, self.hard = z, y
        self.classes = z.shape[1] if self.rows else 1
        self.y = self.labels(y)

    def labels(self, y):
        if self.rows and self.implementation.one_hot:
            return (y[:, None] == np.arange(self.classes)).astype(self.dtype)
        return y

    def ask(self, z, y, options=None, upstream=None, layout="{}"):
        """Return the target's answer, and remember what it was asked; ``layout`` is the text of a view."""
        call = Call(z, y, options or {}, upstream)
        self.asked.append(Asked(call._replace(logits=z.copy(), labels=y.copy()), layout))
        return self.quietly(call)

    def quietly(self, call):
        """Return the target's answer, with whatever it prints or warns kept quiet."""
        with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return self.implementation.call(call)

    def plain(self):
        return self.ask(self.z.copy(), self.y.copy())

    def weights(self):
        return tuple(np.linspace(0.5, 2.0, self.classes).tolist())

    def with_rows(self, z, y):
        return Bench(self.implementation, self.loss, self.dtype, z, y)

    def smaller(self):
        """Yield benches with fewer rows, then fewer classes, then simpler numbers."""
        z, y, n = self.z, self.hard, len(self.z)
        for kept in [*(np.arange(k) for k in range(1, n // 2 + 1)), *(np.delete(np.arange(n), i) for i in range(n))]:
            if 0 < len(kept) < n:
                yield self.with_rows(z[kept], y[kept])
        if self.rows and self.classes > 2 and classes_of(self.loss) is None:
            yield self.with_rows(z[:, :2].copy(), y % 2)
        digits = z.astype(np.float64)
        for simple in (np.zeros_like(digits) + 0.5 * (digits > 0), digits.round(), digits.round(1)):
            simple = predicted(self.loss, simple).astype(z.dtype)
            if len(str(simple.tolist())) < len(str(z.tolist())):
                yield self.with_rows(simple, y)


def failure(probe, bench):
    """Return what a probe finds wrong, or None; whatever the target raises is wrong."""
    try:
        return probe.ask(bench)
    except Exception as error:
        said = f"the probe of {probe.name} raises {type(error).__name__}: {' '.join(str(error).split())[:120]}"
        return "raises", said, None


def smallest(probe, bench, wrong):
    """Return the smallest bench found on which a probe finds the same thing wrong, and what it finds there."""
    end, better = time.monotonic() + SECONDS, True
    while better and time.monotonic() < end:
        better = False
        for smaller in bench.smaller():
            again = failure(probe, smaller)
            if again is not None and _words(again) == _words(wrong):
                bench, wrong, better = smaller, again, True
                break
    return bench, wrong


def _words(wrong):
    """Return a failure without its numbers, which shrink with the input."""
    return wrong[0], re.sub(r"-?[\d.]+", "", wrong[1])


def differs(found, wanted):
    """Whether an array is visibly another one."""
    if found is None:
        return False
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    if found.shape != wanted.shape:
        return True
    scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)
    return not np.allclose(found, wanted, rtol=NEAR, atol=NEAR * scale + 1e-30, equal_nan=True)

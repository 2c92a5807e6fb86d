"""Audits of strangers' code, in a process of its own: whatever it does there, here it is a sentence.

A target named ``module:callable`` is loaded, recognised and judged in a child process, which reports
after every call that it is alive; one that is silent for longer than the time limit is ended.  A
callable that has no such name cannot be sent and is judged where it is: an alarm ends a call that
lasts too long, if it is in Python and in the main thread.
"""

import os
import pickle
import signal
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from types import ModuleType

import numpy as np

from .call import AnswerError
from .frames import PACKAGES, missing
from .frameworks import keras_backend
from .limits import judge_target
from .target import TargetError, load, recognise, told

LIMIT = 20.0  # seconds for one call
START = 120.0  # for imports: frameworks take their time


def examine(target, loss, dtypes=(np.float32,), framework=None, arguments=None, timeout=LIMIT):
    """Return a ``Verdict`` for every dtype on a target, a callable or ``module:callable``.

    Raises
    ------
    TargetError
        With one sentence, if the target cannot be audited: it cannot be imported, raises, hangs for
        longer than ``timeout`` seconds in a call, ends its process or answers nonsense.
    """
    dtypes = [np.dtype(x) for x in dtypes]
    if wanted := missing(framework):
        raise TargetError(wanted)
    if not isinstance(target, str):
        return _examined_here(target, loss, dtypes, framework, arguments, timeout)
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    work = target, loss, dtypes, framework, arguments, os.getcwd()
    child = context.Process(target=_work, args=(theirs, work), daemon=True)
    with _script_left_out(work):
        child.start()
    theirs.close()
    try:
        return _listen(ours, child, target, timeout)
    finally:
        if child.is_alive():
            child.kill()
        child.join()
        ours.close()


@contextmanager
def _script_left_out(work):
    """Keep a new process from running the caller's script again, unless the loss itself is defined there."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        pickle.dumps(work)
    except (pickle.PicklingError, AttributeError):
        sys.modules["__main__"] = script
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _examined_here(target, loss, dtypes, framework, arguments, timeout):
    try:
        with _alarm(timeout):  # the first calls, together
            implementation = recognise(target, loss, getattr(target, "__name__", "target"), framework, arguments)
        implementation.call.watch = partial(_alarm, timeout)
        return [judge_target(implementation, loss, dtype) for dtype in dtypes]
    except _Late:
        raise TargetError(f"a call of the target does not return within {timeout:g} seconds") from None
    except SystemExit as error:
        raise TargetError(f"the target ends the process that runs it, with exit code {error.code}") from None
    except AnswerError as error:
        raise TargetError(str(error)) from None


class _Late(BaseException):
    """A call lasts too long; no handler of a stranger's exceptions may take it for one."""


@contextmanager
def _alarm(seconds):
    """Raise ``_Late`` in what stands within if it lasts longer, where there are signals."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number, frame):
        raise _Late

    handler = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)  # somebody else's, which loses the time this took
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)


def _listen(pipe, child, target, timeout):
    """Return what the child sends at last; end it if a call lasts too long."""
    since, busy, limit = time.monotonic(), True, START
    while True:
        if pipe.poll(0.1):
            try:
                word, content = pipe.recv()
            except (EOFError, OSError):
                child.join(5)
                code = child.exitcode
                how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
                raise TargetError(f"{target!r} ends the process that runs it, {how}") from None
            if word == "done":
                return content
            if word == "refused":
                raise TargetError(content)
            since, busy, limit = time.monotonic(), word == "calls", timeout
        elif busy and time.monotonic() - since > limit:
            what = "a call of" if limit == timeout else "importing"
            raise TargetError(f"{what} {target!r} does not return within {limit:g} seconds")


@contextmanager
def _told(pipe):
    """Tell the parent when a call begins and when it ends."""
    pipe.send(("calls", None))
    try:
        yield
    finally:
        pipe.send(("returns", None))


def _work(pipe, work):
    target, loss, dtypes, framework, arguments, folder = work
    try:
        os.chdir(folder)
        _silence()
        keras_backend()  # which a module that imports Keras needs
        function = load(target)
        if framework in PACKAGES:
            import_module(framework)
        pipe.send(("calls", None))  # the first ones, together
        implementation = recognise(function, loss, target.rpartition(":")[2], framework, arguments)
        implementation.call.watch = partial(_told, pipe)
        pipe.send(("returns", None))
        pipe.send(("done", [judge_target(implementation, loss, dtype) for dtype in dtypes]))
    except BaseException as error:  # whatever a stranger raises, SystemExit included
        pipe.send(("refused", told(error)))


def _silence():
    """Send whatever is printed from here on to nowhere; that a target prints is found by a probe."""
    with open(os.devnull, "wb") as nowhere:
        for stream in 1, 2:
            os.dup2(nowhere.fileno(), stream)

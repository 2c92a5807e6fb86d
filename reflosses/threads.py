"""Rows shared out among threads.

Drivers release the interpreter lock and rows do not know of each other, so a call is cut into
chunks which the calling thread and a few helpers take one after the other.  The caller never
waits for a chunk that nobody has begun: calls from many Python threads at once share the
helpers without deadlock, and every chunking gives the same bits.

Numba's own ``prange`` starts faster (4 against about 20 microseconds), but its default layer
kills the process on concurrent calls and its OpenMP layer does not survive a fork.
"""

import ctypes
import os
import threading
from contextlib import suppress
from itertools import count
from queue import SimpleQueue

SERIAL = 100_000  # numbers to write below which waking a thread costs more than it saves
CHUNKS_PER_THREAD = 4  # a slow or interrupted thread then holds up only a small part


def thread_count():
    """Return how many threads a call may use: REFLOSSES_NUM_THREADS, or the cores this process has."""
    return _threads


def set_thread_count(threads):
    """Set how many threads a call may use, this one included."""
    global _threads
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    _threads = int(threads)


def _available():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_threads = int(os.environ.get("REFLOSSES_NUM_THREADS", 0)) or _available()
_tasks: SimpleQueue = SimpleQueue()
_helpers: list = []
_cores: set = set()  # where helpers may run now
_lock = threading.Lock()
_core_of_caller = getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None


def _forget():
    """A forked child has none of its parent's threads."""
    global _tasks, _helpers, _lock, _cores
    _tasks, _helpers, _lock, _cores = SimpleQueue(), [], threading.Lock(), set()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _help(tasks):
    while True:
        tasks.get()()


def _hire(helpers):
    """See that there are enough helpers, none of them on the caller's core.

    Linux likes to wake a thread where its waker runs, and leaves both there for milliseconds:
    longer than most calls take.
    """
    global _cores
    with _lock:
        fresh = len(_helpers) < helpers
        while len(_helpers) < helpers:
            _helpers.append(threading.Thread(target=_help, args=(_tasks,), name="reflosses", daemon=True))
            _helpers[-1].start()
        if _core_of_caller is None:
            return
        cores = os.sched_getaffinity(0) - {_core_of_caller()}
        if cores and (fresh or cores != _cores):
            _cores = cores
            with suppress(OSError):  # where a sandbox forbids it, calls are merely slower
                for helper in _helpers:
                    os.sched_setaffinity(helper.native_id, cores)


class _Job:
    """A call in chunks, its results and its first exception."""

    def __init__(self, work, chunks):
        self.work, self.chunks = work, chunks
        self.tickets = count()  # next() is atomic
        self.done = threading.Semaphore(0)
        self.results, self.error = [None] * chunks, None

    def __call__(self):
        while (chunk := next(self.tickets)) < self.chunks:
            try:
                self.results[chunk] = self.work(chunk)
            except BaseException as error:
                self.error = error
            self.done.release()


def run(driver, shared, arrays, size):
    """Return ``driver(*shared, *arrays)``'s results, one for each range of rows it was given.

    Parameters
    ----------
    driver : callable
        A driver of ``cpu``.
    shared : tuple
        What every chunk gets whole.
    arrays : tuple
        What is cut along its first axis; ``None`` stays ``None``.
    size : int
        How many numbers the call touches.
    """
    rows = arrays[0].shape[0]
    chunks = min(_threads * CHUNKS_PER_THREAD, rows, size // (SERIAL // CHUNKS_PER_THREAD))
    if _threads == 1 or size < SERIAL or chunks < 2:
        return [driver(*shared, *arrays)]
    bounds = [rows * chunk // chunks for chunk in range(chunks + 1)]

    def work(chunk):
        part = slice(bounds[chunk], bounds[chunk + 1])
        return driver(*shared, *(x if x is None else x[part] for x in arrays))

    job = _Job(work, chunks)
    helpers = min(_threads, chunks) - 1
    _hire(helpers)
    for _ in range(helpers):
        _tasks.put(job)
    job()
    for _ in range(chunks):
        job.done.acquire()
    if job.error is not None:
        raise job.error
    return job.results

"""Many judgements at once: one process for every group of losses, so that certified results are made once."""

import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from multiprocessing import get_context

from .judge import judge
from .rivals import IMPLEMENTATIONS


def survey(work, report):
    """Yield a verdict for each (implementation, loss, dtype), in any order.

    Every processor gets the work on some of the losses, in a process of its own: a batch is
    certified for one loss and serves all implementations of it.

    Parameters
    ----------
    work : list of (Implementation, loss, dtype)
        Implementations out of ``rivals.IMPLEMENTATIONS``.
    report : callable
        Called with an implementation and the exception that it raises; there is no verdict then.
    """
    classes = list(dict.fromkeys(type(loss) for _, loss, _ in work))
    count = min(len(classes), os.cpu_count() or 1)
    with ExitStack() as stack:
        context = get_context("spawn")  # forking a process with threads is not safe
        workers = [stack.enter_context(ProcessPoolExecutor(1, mp_context=context)) for _ in range(count)]
        futures = {}
        for implementation, loss, dtype in work:
            worker = workers[classes.index(type(loss)) % count]
            future = worker.submit(_judge, IMPLEMENTATIONS.index(implementation), loss, dtype)
            futures[future] = implementation
        for future in as_completed(futures):
            error = future.exception()
            if error is None:
                yield future.result()
            else:
                report(futures[future], error)


def _judge(index, loss, dtype):
    """Judge by number: an implementation is a function in a table, which cannot be sent."""
    return judge(IMPLEMENTATIONS[index], loss, dtype)

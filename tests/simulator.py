"""Numba's CUDA simulator with threads that take turns, in an order that can be turned round.

The simulator of Numba runs the threads of a block at once, and looks time and again whether all of
them wait; a missing barrier shows now and then.  Here one thread runs until it waits or ends, then
the next, and shared memory begins as nan, or as the least of the integers.  A kernel that lacks a
barrier reads what nobody has written yet, or gives other results when the threads take turns from
the last to the first.
"""

import sys
import threading
from contextlib import contextmanager, suppress

import numpy as np

backwards = False  # whether the last thread of a block takes the first turn


class Turns:
    """The threads of a block, one after the other from barrier to barrier."""

    def __init__(self, function, grid, block, debug):
        self.function, self.grid, self.block = function, grid, block
        self.block_state = np.zeros(block, dtype=np.bool_)

    def run(self, point, *arguments):
        """Run a block."""
        from numba.cuda.simulator import kernel

        self._block_dim = self.block
        members = []
        for place in np.ndindex(*self.block):
            member = kernel.BlockThread(quietly(self.function, arguments), self, point, place, False)
            member.go, member.paused = threading.Semaphore(0), threading.Semaphore(0)
            members.append(member)
        members = members[::-1] if backwards else members
        if len(members) == 1:
            alone(members[0])
            return
        for member in members:
            member.start()
        waiting = members
        while waiting:
            for member in waiting:
                member.go.release()
                member.paused.acquire()
            errors = [member for member in members if member.exception]
            ended = [member for member in waiting if member.ended]
            for member in waiting:
                if errors and not member.ended:
                    member.abort = True
                    member.go.release()
            if errors:
                kind, trace = errors[0].exception
                raise kind.with_traceback(trace)
            assert len(ended) in (0, len(waiting)), "some threads of a block wait for others that have ended"
            waiting = [] if ended else waiting


def quietly(function, arguments):
    """Return a call that does not warn of overflow, as compiled code does not either."""

    def call():
        with np.errstate(all="ignore"):
            function(*arguments)

    return call


def alone(member):
    """Run a block of one thread as that thread."""
    member.ended = False
    member.syncthreads = lambda: None
    current, threading.current_thread = threading.current_thread, lambda: member
    try:
        member._target()
    finally:
        threading.current_thread = current


def _run(member):
    member.ended = False
    member.go.acquire()
    with suppress(SystemExit):  # of a thread that ends because another one has failed
        member.plain_run()
    member.ended = True
    member.paused.release()


def _wait(member):
    member.paused.release()
    member.go.acquire()
    if member.abort:
        raise SystemExit


def poisoned(shape, dtype):
    """Return memory as somebody else may have left it."""
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else np.iinfo(dtype).min, dtype)


def take_turns():
    """Let the simulator's threads take turns from now on."""
    from numba.cuda.simulator import kernel, kernelapi

    class Shared(kernelapi.FakeCUDAShared):
        def array(self, shape, dtype, alignment=None):
            caller = sys._getframe(1)
            place = caller.f_code, caller.f_lineno
            if place not in self._allocations:
                self._allocations[place] = poisoned(shape, dtype)
            return self._allocations[place]

    kernel.BlockManager = Turns
    kernelapi.FakeCUDAShared = Shared
    kernel.BlockThread.plain_run = kernel.BlockThread.run
    kernel.BlockThread.run = _run
    kernel.BlockThread.syncthreads = _wait


@contextmanager
def reversed_turns():
    """Let the last thread of a block take the first turn."""
    global backwards
    backwards = True
    try:
        yield
    finally:
        backwards = False

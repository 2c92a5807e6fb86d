"""Work for threads and child processes, in a module that a child can import."""

from strategies import sample

import reflosses
from reflosses import threads

LARGE = 3 * threads.SERIAL  # numbers: enough for the work to be shared out


def large(loss):
    """Return logits and labels that keep several threads busy."""
    return sample(loss, rows=LARGE // 3 if loss.targets.rows else LARGE)


def digest(loss):
    """Return the bytes of value and gradient of a large input; run in threads and children."""
    return b"".join(x.tobytes() for x in reflosses.value_and_gradient(loss, *large(loss)))

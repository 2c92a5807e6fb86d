"""What may have gone wrong in a loss, as changes of one stage of its model: executable, and free to be combined.

A hypothesis holds numbers to be fitted (none, one or two), where to start looking for them, and
``change``, which makes another ``Model`` of a model.  Its phrase continues "matches <loss> …".
Sources: the conventions of docs/conventions.md, and the threads that ``link`` names; a hypothesis
stands for a mathematical difference, not for a thread.  There is a module for every stage.
"""

from .answers import answers
from .labels import labels
from .logits import logits
from .payment import payment
from .weights import weights

STAGES = weights, labels, logits, payment, answers


def hypotheses(loss):
    """Return all hypotheses about a loss, of every stage."""
    return [x._replace(stage=stage.__name__) for stage in STAGES for x in stage(loss)]

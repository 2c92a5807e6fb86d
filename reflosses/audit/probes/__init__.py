"""How a target behaves beside its numbers: options, upstream derivatives, layouts, repetition, guards.

One list, ``PROBES``: every probe says why it exists and where the world met it, calls the target, and
returns what is wrong, or None.  ``lowers`` is the grade that a failure leaves at best; advice about
calls that nobody owes an answer to lowers none.
"""

from ...spelling import spelled
from ..findings import Finding
from . import calls, options, shapes
from .bench import Bench, Probe, failure, smallest
from .bench import differs as differs
from .snippet import lines

PROBES = (
    Probe("repeated", "a call must not change what the next one gives", calls.repeated, lowers="F", compares=True),
    Probe("inputs kept", "inputs are the caller's", calls.unchanged, lowers="D"),
    Probe("layout", "an array is its numbers, however they lie in memory", calls.laid_out, lowers="F", compares=True),
    Probe("rows alone", "rows know nothing of each other", calls.alone, lowers="F", compares=True),
    Probe("rows far apart", "a flat index may have 32 bits", shapes.far_apart, lowers="F", compares=True),
    Probe("upstream", "tests with upstream ones pass whatever multiplies them", calls.upstreamed, lowers="F"),
    Probe("label types", "1 - y and -y wrap in uint8", calls.typed, lowers="F", compares=True),
    Probe("batch", "a number for a batch is its sum or its mean", options.batch_of_numbers, lowers="F"),
    Probe("reductions", "sums and means, over what counts", options.reduced, ("reduction",), "F"),
    Probe("ignored rows", "they pay nothing, whatever they hold", options.ignoring, ("ignore_index",), "F"),
    Probe("class weights", "and what their mean divides by", options.weighted, ("class_weight",), "F"),
    Probe("sample weights", "they multiply rows", options.sampled, ("sample_weight",), "F"),
    Probe("pos_weight", "it multiplies the part of y = 1", options.pos_weighted, ("pos_weight",), "F"),
    Probe("quiet", "a function returns, it does not print", calls.printed),
    Probe("dtype", "results have the dtype of the logits", calls.kept_dtype),
    Probe("three axes", "there are logits for every word and pixel", shapes.axes, compares=True),
    Probe("no rows", "the last batch of an epoch may be empty", shapes.empty),
    Probe("one class", "a softmax of one class is always 1", shapes.one_class),
    Probe("label sums", "rows of labels need not sum to 1", shapes.unnormalised),
    Probe("illegal labels", "a label that is no class must not become another one", calls.refused),
    Probe("shapes", "(n,) and (n, 1) broadcast to (n, n)", calls.misshapen),
)


def probed(implementation, loss, dtype):
    """Return the grade that the probes leave at best, and what they found, what lowers it most first."""
    lowest, found = "A", []
    for probe in PROBES:
        bench = Bench(implementation, loss, dtype)
        if not set(probe.needs) <= set(implementation.takes):
            continue
        wrong = failure(probe, bench)
        if wrong is None:
            continue
        shown, (name, phrase, link) = smallest(probe, bench, wrong)
        lowest = max(lowest, probe.lowers)
        said = f"{spelled(loss)}: {phrase}" + (f": this is {link}" if link else "")
        kind = "advice" if probe.lowers == "A" else "mistake"
        finding = Finding(kind, name, said, link, 1.0, snippet=lines(shown, probe, name))
        found.append((probe.lowers, finding))
        if name == "state-kept":  # whatever else is asked, the answer depends on what was asked before
            break
    return lowest, [x for _, x in sorted(found, key=lambda pair: pair[0], reverse=True)]

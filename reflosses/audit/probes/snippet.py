"""Lines to paste that repeat the calls by which a probe failed; ``{target}`` stands for the target's name."""

import numpy as np

from ..call import Call
from ..literals import array
from .bench import Asked


def lines(bench, probe, name):
    """Return lines that show the last call of a probe, beside its first one if that is its yardstick."""
    asked = [bench.asked[0], bench.asked[-1]] if probe.compares else bench.asked[-1:]
    adapted = bench.implementation.call
    if name == "inputs-changed":
        call = asked[-1].call
        z, y = (array(x, adapted.framework) for x in (call.logits, call.labels))
        return (f"z, y = {z}, {y}", adapted.text("z", "y"), "print(z, y)")
    return tuple(called(adapted, x) for x in asked)


def repetition(bench):
    """Return lines that call twice with the same inputs, and with others in between."""
    asked = [Asked(Call(z, y), "{}") for z, y in ((bench.z[:2], bench.y[:2]), (bench.z[1::-1], bench.y[1::-1]))]
    return tuple(called(bench.implementation.call, x) for x in (asked[0], asked[1], asked[0]))


def called(adapted, asked):
    """Return a call that was made as a line; ``{target}`` stands for the target's name."""
    call = asked.call
    z = array(call.logits, adapted.framework, asked.layout)
    z = z.replace("spread(", "__import__('reflosses.audit.probes.shapes', fromlist=['']).spread(")
    y = array(call.labels, adapted.framework)
    options = {k: v for k, v in adapted.named(call).items() if v is not None}
    if call.upstream is None or "upstream" in adapted.takes:
        return adapted.text(z, y, options)
    up = array(np.asarray(call.upstream), adapted.framework)
    if adapted.framework == "torch":
        return f"z = {z}.requires_grad_(); {adapted.text('z', y, options)}.backward({up}); print(z.grad)"
    if adapted.framework == "jax":
        return f"import jax; print(jax.vjp(lambda z: {adapted.text('z', y, options)}, {z})[1]({up}))"
    return adapted.text(z, y, options)

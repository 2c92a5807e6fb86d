"""Lines to paste that repeat the calls by which a probe failed; ``{target}`` stands for the target's name."""

import numpy as np

from ..call import Call
from ..sentences import literal
from ..target import ARRAYS
from .bench import Asked


def lines(bench, probe, name):
    """Return lines that show the last call of a probe, beside its first one if that is its yardstick."""
    asked = [bench.asked[0], bench.asked[-1]] if probe.compares else bench.asked[-1:]
    adapted = bench.implementation.call
    if name == "inputs-changed":
        call = asked[-1].call
        z, y = array(adapted, call.logits), array(adapted, call.labels)
        return (f"z, y = {z}, {y}", adapted.text("z", "y"), "print(z, y)")
    return tuple(_call(adapted, x) for x in asked)


def repetition(bench):
    """Return lines that call twice with the same inputs, and with others in between."""
    asked = [Asked(Call(z, y), "{}") for z, y in ((bench.z[:2], bench.y[:2]), (bench.z[1::-1], bench.y[1::-1]))]
    return tuple(_call(bench.implementation.call, x) for x in (asked[0], asked[1], asked[0]))


def _call(adapted, asked):
    call = asked.call
    z = array(adapted, call.logits, asked.layout)
    y = array(adapted, call.labels)
    options = {k: v for k, v in adapted.named(call).items() if v is not None}
    if call.upstream is None or "upstream" in adapted.takes:
        return adapted.text(z, y, options)
    up = array(adapted, np.asarray(call.upstream))
    if adapted.framework == "torch":
        return f"z = {z}.requires_grad_(); {adapted.text('z', y, options)}.backward({up}); print(z.grad)"
    if adapted.framework == "jax":
        return f"import jax; print(jax.vjp(lambda z: {adapted.text('z', y, options)}, {z})[1]({up}))"
    return adapted.text(z, y, options)


def array(adapted, x, layout="{}"):
    """Return an array as text, as the framework takes it."""
    made = f"np.array({literal(x)}, dtype=np.{x.dtype.name})" if x.size == 0 or x.dtype.kind in "iub" else None
    made = layout.format(made or f"np.{x.dtype.name}({literal(x)})")
    made = made.replace("spread(", "__import__('reflosses.audit.probes.shapes', fromlist=['']).spread(")
    shares = "torch.from_numpy({})" if adapted.framework == "torch" else ARRAYS.get(adapted.framework, "{}")  # strides
    return shares.format(made)

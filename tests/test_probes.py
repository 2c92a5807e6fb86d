"""Probes: what fails is shown by the smallest call that still does, in lines that run when they are pasted."""

import inspect
import re

import numpy as np
import pytest

from reflosses.audit.judge import judge
from reflosses.audit.probes import PROBES, probed
from reflosses.audit.report import Report
from reflosses.audit.target import recognise
from reflosses.audit.zoo import FAULTS
from reflosses.audit.zoo.parts import of_rows, rows
from reflosses.losses import BinaryCrossEntropy, CrossEntropy

KINDS = {
    "wrong gradient (upstream)",
    "non-contiguous",
    "ignore_index x weight",
    "ignored-row gradient",
    "state mutation",
    "reduction order",
    "label OOB",
    "dtype promotion",
}


def run(snippet, **names):
    """Paste lines; return what every line gives that is an expression."""
    names |= {"np": np}
    found = []
    for line in snippet:
        try:
            found.append(eval(line, names))
        except SyntaxError:
            exec(line, names)
    return found


def flat(answer):
    return [np.asarray(x, np.float64) for x in (answer if isinstance(answer, tuple) else (answer,)) if x is not None]


def differ(a, b):
    return any(x.shape != y.shape or not np.allclose(x, y, equal_nan=True) for x, y in zip(flat(a), flat(b)))


@pytest.mark.parametrize("fault", [x for x in FAULTS if x.kind in KINDS], ids=lambda x: x.link[19:])
def test_the_lines_of_a_probe_run(fault):
    made = inspect.isclass(fault.function)
    target = fault.function() if made else fault.function
    verdict = judge(recognise(target, fault.loss, "f", "numpy"), fault.loss, np.float32)
    found = [x for x in Report((verdict,)).findings if x.kind in ("mistake", "advice")]
    assert found and all(x.snippet for x in found), [x.name for x in found]
    compared = {"layout", "label-dtype", "rows-mixed", "state-kept"}
    for finding in found:
        answers = run(finding.snippet, f=fault.function() if made else fault.function)
        if finding.name in compared:
            assert differ(answers[0], answers[-1]), finding.snippet
        sizes = [len(re.findall(r"-?\d", x)) for x in finding.snippet]
        assert answers and (made or max(sizes) < 60)


def accepts(function, loss, framework="numpy"):
    implementation = recognise(function, loss, "f", framework)
    return {x.name: x for x in probed(implementation, loss, np.float32)[1]}


def test_a_failure_is_as_small_as_it_can_be():
    """One row gets its own upstream derivative: it takes two rows, two classes and plain numbers to show it."""

    def first(z, y, upstream=1.0):
        value, g = of_rows(z, rows(z, y))
        return value, g * np.ravel(upstream)[0]

    found = accepts(first, CrossEntropy())["upstream-of-row-0"]
    z = np.array(eval(re.search(r"np\.float32\((\[.*?\]\])\)", found.snippet[-1])[1]))
    assert z.shape == (2, 2) and set(z.ravel()) <= {0.0, 0.5}


def test_inputs_that_are_changed_are_printed():
    def shifts(z, y):
        if y.ndim == 2:
            y += 0.1
        return of_rows(z, rows(z, y))

    found = accepts(shifts, CrossEntropy())["inputs-changed"]
    names = {"np": np, "f": shifts}
    exec("\n".join(found.snippet[:-1]).replace("{target}", "f"), names)
    assert not np.allclose(names["y"].sum(axis=1), 1) and found.snippet[-1] == "print(z, y)"


def test_lines_have_the_order_and_the_options_of_the_target():
    def loss(y_true, y_pred, reduction="mean"):
        value = np.logaddexp(0, y_pred) - y_true * y_pred
        return value if reduction == "none" else value.sum()

    found = accepts(loss, BinaryCrossEntropy())["mean-divisor"]
    (answer,) = run([x.replace("{target}", "f") for x in found.snippet], f=loss)
    z, y = np.float32([0.5, 0]), np.float32([0, 1])
    assert differ(answer, loss(y, z, "none").mean()) and "reduction" not in found.snippet[-1], "it is the default"
    shown = recognise(loss, BinaryCrossEntropy(), "f", "numpy").line
    assert shown == "{target}({y}, {z}, reduction='none')"


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_lines_take_gradients_as_the_framework_does(framework):
    module = pytest.importorskip(framework)
    numpy = module if framework == "torch" else module.numpy

    def scaled(logits, labels):  # autograd sees the mean of the batch's weights in every row
        plain = numpy.logaddexp(numpy.zeros_like(logits), logits) - labels * logits
        stopped = plain.detach() if framework == "torch" else module.lax.stop_gradient(plain)
        return stopped + plain.mean() - (stopped.mean() if framework == "torch" else stopped.mean())

    found = accepts(scaled, BinaryCrossEntropy(), framework)
    wrong = next(x for name, x in found.items() if name.startswith("upstream"))
    lines = [x.replace("{target}", "f") for x in wrong.snippet]
    run(lines, f=scaled, **{framework: module})
    assert ("backward" if framework == "torch" else "vjp") in lines[-1]


def test_every_probe_says_why():
    assert all(x.reason and x.lowers in "ADF" for x in PROBES) and len({x.name for x in PROBES}) == len(PROBES)


# Shapes -----------------------------------------------------------------------------------------


def narrow(z, y):
    """Cross entropy whose flat index has 32 bits; what lies at a negative one is not a number."""
    steps = np.array(z.strides) // z.itemsize
    at = (np.arange(len(z))[:, None] * steps[0] + np.arange(z.shape[1]) * steps[1]).astype(np.int32)
    memory = np.lib.stride_tricks.as_strided(z, (int(at.max()) + 1,), (z.itemsize,))
    read = np.where(at < 0, np.nan, memory[np.maximum(at, 0)]).astype(z.dtype)
    return of_rows(read, rows(z, y))


def test_an_index_of_32_bits_is_found_without_the_memory():
    found = accepts(narrow, CrossEntropy())
    assert found["index-overflow"].kind == "mistake" and "layout" not in found
    first, last = run([x.replace("{target}", "f") for x in found["index-overflow"].snippet], f=narrow)
    assert differ(first, last)


def test_a_target_that_copies_everything_is_refused_the_memory():
    def greedy(z, y):
        if z.strides[0] > 2**24:
            span = (len(z) - 1) * z.strides[0] // z.itemsize
            z = z + 0 * np.lib.stride_tricks.as_strided(z, (span,), (z.itemsize,)).copy()[: z.shape[1]]
        return of_rows(z, rows(z, y))

    assert "index-overflow" not in accepts(greedy, CrossEntropy())


def over(axis, labels):
    def function(z, y):
        e = np.exp(z - z.max(axis=axis, keepdims=True))
        log_p = np.log(e / e.sum(axis=axis, keepdims=True))
        return -np.take_along_axis(log_p, np.expand_dims(y, labels), axis=labels).squeeze(labels)

    return function


@pytest.mark.parametrize("softmax, labels, wrong", [(-1, -1, False), (1, 1, False), (1, -1, True), (-1, 1, True)])
def test_a_softmax_over_the_wrong_axis_is_found_on_three(softmax, labels, wrong):
    found = accepts(over(softmax, labels), CrossEntropy())
    assert ("wrong-axis" in found) == wrong
    if wrong:  # of nobody who has two axes in mind
        assert found["wrong-axis"].kind == "advice"
        assert run([x.replace("{target}", "f") for x in found["wrong-axis"].snippet], f=over(softmax, labels))


def test_shapes_that_nobody_is_owed_are_advice():
    def sloppy(z, y):
        value, g = of_rows(z, t := rows(z, y))
        if z.shape[1] == 1:
            value = value + 1
        return (value, g + t - t * t.sum(axis=1, keepdims=True)) if len(z) else (np.zeros(()), g)

    def careful(z, y):
        return of_rows(z, rows(z, y))

    found = {k: x for k, x in accepts(sloppy, CrossEntropy()).items() if k in ("empty-batch", "one-class")}
    assert {x.kind for x in found.values()} == {"advice"} and len(found) == 2
    assert not accepts(careful, CrossEntropy())


def test_a_gradient_that_forgets_the_sum_of_labels_is_told():
    def plain(z, y):
        value, g = of_rows(z, t := rows(z, y))
        return value, g + np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True)) * (1 - t.sum(1, keepdims=True))

    found = accepts(plain, CrossEntropy())
    assert found["labels-sum-dropped"].kind == "advice" and len(found) == 1

"""The verbs on a GPU, or on a simulated one: ``pytest --device cuda`` or ``pytest --device simulator``."""

from pathlib import Path
from types import ModuleType, SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from accuracy import measure, too_far
from strategies import ALL_VERBS, DTYPES, USUAL, arrays, each_kind, sample

import reflosses
from reflosses import api, device
from reflosses import cuda as drivers
from reflosses.arrays import on_device
from reflosses.audit.measure import errors
from reflosses.dispatch import contract
from reflosses.oracle import certify
from reflosses.transfer import (
    exp_t,
    log_sigmoid,
    log_softmax,
    log_t,
    sigmoid,
    softmax,
    tempered_sigmoid,
    tempered_softmax,
)

SPARSE = [loss for loss in USUAL if getattr(loss, "sparse", False)]
SHARED = [loss for loss in USUAL if loss.targets.rows and contract(loss) in ("classwise", "tempered")]
SIMULATED = device.toolkit().simulated
simulator_only = pytest.mark.skipif(not SIMULATED, reason="the order of threads can be chosen in the simulator only")
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


class Foreign:
    """An array of another library on the GPU, which shows no more than the interface."""

    def __init__(self, x, stream=None, read_only=False):
        x = np.asarray(x)
        self.x = x if SIMULATED else device.toolkit().cuda.to_device(x)
        bfloat16 = {"typestr": "<V2"} if x.dtype.name == "bfloat16" else {}
        shown = self.x.__array_interface__ if SIMULATED else self.x.__cuda_array_interface__
        pointer, _ = shown["data"]
        more = {"stream": stream, "version": 3, "data": (pointer, read_only)}
        self.__cuda_array_interface__ = {**shown, **bfloat16, **more}


def fetched(x):
    """Return a result as NumPy's array."""
    x = x.x if isinstance(x, Foreign) else x
    return x.copy_to_host() if hasattr(x, "copy_to_host") else np.asarray(x)


# The same numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize("loss, kind", each_kind(USUAL), ids=str)
def test_every_verb_gives_what_the_cpu_gives(loss, kind):
    for dtype in DTYPES if kind else DTYPES[::3]:
        logits, labels = sample(loss, kind=kind, dtype=dtype)
        for name, verb in ALL_VERBS.items():
            if dtype is not np.float64 and name in ("hessian", "label_gradient", "parameter_gradient"):
                continue
            found, expected = verb(loss, logits, labels), verb(loss, logits, labels, device="cpu")
            for a, b in zip(arrays(found), arrays(expected), strict=True):
                assert (a.dtype, a.shape) == (b.dtype, b.shape)
                limit = 2e-15 if dtype is np.float64 else float(ml_dtypes.finfo(dtype).eps)
                np.testing.assert_allclose(a.astype(float), b.astype(float), rtol=limit, atol=1e-16, err_msg=name)


def hard_points(classes, dtype):
    """Return rows of logits that are hard to be right about, and their labels."""
    random = np.random.default_rng(classes)
    gaps = [0.0, 1e-3, 3.0, 20.0, 40.0, 104.0, 299.0, 301.0, 650.0, 720.0, 800.0]
    gaps = [gap for gap in gaps if gap < 200 or np.dtype(dtype).itemsize > 2]
    rows = [3 * random.standard_normal(classes) for _ in gaps for _ in range(2)]
    for i, gap in enumerate(gaps):
        rows[2 * i][0] += gap
        rows[2 * i + 1][0] -= gap
    rows.append(np.r_[1.0, np.full(classes - 1, -np.inf)])
    rows.append(np.r_[-np.inf, np.ones(classes - 1)])
    logits = np.array(rows).astype(dtype)
    return logits, np.r_[np.zeros(len(gaps) * 2, int), classes - 1, classes - 1]


@each_dtype
@pytest.mark.parametrize("loss", SPARSE, ids=repr)
@pytest.mark.parametrize("classes", [2, 5, 11])
def test_hard_labels_are_as_exact_as_on_the_cpu(loss, dtype, classes):
    """One thread a row, a few, or all of a block: each sums in its own way."""
    found = measure(loss, [hard_points(classes, dtype)], ("value", "gradient"))
    assert not (wrong := too_far(found, dtype)), wrong


@each_dtype
@pytest.mark.parametrize("loss", SHARED, ids=repr)
@pytest.mark.parametrize("classes", [2, 5, 11])
def test_shared_rows_are_as_exact_as_on_the_cpu(loss, dtype, classes):
    logits, labels = hard_points(classes, dtype)
    rows = np.random.default_rng(0).dirichlet(np.ones(classes), len(labels)).astype(dtype)
    groups = [(logits[:-2], labels[:-2]), (logits[:-2], rows[:-2])]
    found = measure(loss, groups, ("value", "gradient", "hessian_diagonal"))
    assert not (wrong := too_far(found, dtype)), wrong


@pytest.mark.parametrize("loss", SPARSE, ids=repr)
def test_native_float32_is_within_four_ulps(loss):
    logits, labels = hard_points(11, np.float32)
    logits, labels = logits[:-2], labels[:-2]
    values, slopes = reflosses.value_and_gradient(loss, logits, labels, precision="native")
    for z, y, value, slope in zip(logits, labels, values, slopes, strict=True):
        for verb, result in (("value", value), ("gradient", slope)):
            assert (errors(np.ravel(result), certify(loss, z, y, verb)) <= 4).all(), (loss, z.tolist(), y, verb)


def test_a_precision_that_is_none():
    with pytest.raises(ValueError, match="precision must be one of reference, native, got 'fast'"):
        reflosses.value(USUAL[0], [[0.0, 1.0]], [0], precision="fast")


# Arrays -----------------------------------------------------------------------------------------

CROSS_ENTROPY = reflosses.CrossEntropy()
Z, Y = sample(CROSS_ENTROPY, rows=6)


@each_dtype
def test_arrays_stay_on_the_gpu(dtype):
    logits = Z.astype(dtype)
    expected = api.value_and_gradient(CROSS_ENTROPY, logits, Y)
    found = api.value_and_gradient(CROSS_ENTROPY, Foreign(logits), Foreign(Y))
    for a, b in zip(found, expected, strict=True):
        assert on_device(a) and a.shape == b.shape
        a = fetched(a)
        np.testing.assert_allclose(a.view(dtype).astype(float), b.astype(float), rtol=float(ml_dtypes.finfo(dtype).eps))


@each_dtype
def test_outputs_are_filled_where_they_lie(dtype):
    logits, outs = Z.astype(dtype), (Foreign(np.zeros(6, dtype)), Foreign(np.zeros(Z.shape, dtype)))
    found = api.value_and_gradient(CROSS_ENTROPY, Foreign(logits), Foreign(Y), out=outs)
    assert found[0] is outs[0] and found[1] is outs[1]
    expected = api.value_and_gradient(CROSS_ENTROPY, logits, Y)
    for a, b in zip(outs, expected, strict=True):
        a = fetched(a).view(dtype).astype(float)
        np.testing.assert_allclose(a, b.astype(float), rtol=float(ml_dtypes.finfo(dtype).eps))


@simulator_only
@pytest.mark.parametrize("verb", ["value", "hessian_diagonal"])
def test_layouts_do_not_matter(verb):
    expected = getattr(api, verb)(CROSS_ENTROPY, Z, Y)
    for z in (np.asfortranarray(Z), np.repeat(Z, 2, axis=1)[:, ::2], Z[::-1].copy()[::-1], Z[:, None][:, 0]):
        for y in (Y, Y.astype(np.uint8), Y.astype(float), np.repeat(Y, 3)[::3], Y.astype(np.float16)):
            found = getattr(api, verb)(CROSS_ENTROPY, Foreign(z), Foreign(y), weight=Foreign(np.ones((6, 2))[:, 1]))
            np.testing.assert_allclose(fetched(found), expected, rtol=1e-15)
    strided = np.zeros((6, 6))
    api.gradient(CROSS_ENTROPY, Foreign(Z), Foreign(Y), out=Foreign(strided[:, ::2]))
    np.testing.assert_allclose(strided[:, ::2], api.gradient(CROSS_ENTROPY, Z, Y), rtol=1e-14)
    assert not strided[:, 1::2].any()


def test_an_output_may_overlap_an_input():
    z = Z.copy()
    shared = Foreign(z)
    api.gradient(CROSS_ENTROPY, shared, Foreign(Y), out=shared)
    np.testing.assert_allclose(fetched(shared), api.gradient(CROSS_ENTROPY, Z, Y), rtol=1e-14)


@pytest.mark.parametrize("reduction", ["sum", "mean", "weighted_mean"])
@pytest.mark.parametrize("verb", ["value_and_gradient", "parameter_gradient"])
def test_reductions_stay_on_the_gpu(verb, reduction):
    weight = np.linspace(0.5, 2.0, 6)
    loss = reflosses.CategoricalFocal(1.5, (0.5, 1.0, 2.0))
    found = getattr(api, verb)(loss, Foreign(Z), Foreign(Y), weight=Foreign(weight), reduction=reduction)
    expected = getattr(api, verb)(loss, Z, Y, weight=weight, reduction=reduction)
    for a, b in zip(found, expected, strict=True):
        assert on_device(a)
        np.testing.assert_allclose(fetched(a), b, rtol=1e-14)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((Z, Foreign(Y)), {}, "labels is on the GPU and logits are not"),
        ((Foreign(Z), Y), {}, "labels is not on the GPU and logits are"),
        ((Foreign(Z), Foreign(Y)), {"weight": np.ones(6)}, "weight is not on the GPU"),
        ((Foreign(Z), Foreign(Y)), {"device": "cpu"}, 'device="cpu" was asked for, but an array is on the GPU'),
        ((Foreign(Z), Foreign(Y)), {"out": np.empty(6)}, "out is not on the GPU"),
        ((Foreign(Z), Foreign(Y)), {"out": Foreign(np.empty(5))}, r"out must be an array of shape \(6,\)"),
        ((Foreign(Z), Foreign(Y)), {"out": Foreign(np.empty(6, np.float32))}, "out must be an array of .* float64"),
        ((Foreign(Z), Foreign(Y)), {"out": Foreign(np.empty(6), read_only=True)}, "out is read-only"),
        ((Z, Y), {"device": "tpu"}, 'device must be "cpu" or "cuda", got \'tpu\''),
        ((Foreign(Z), Foreign(Y + 3)), {}, r"labels\[0\] = \d must be in \[0, 3\)"),
        ((Foreign(Z), Foreign(Y - 1)), {}, r"labels\[\d\] = -1 must be in \[0, 3\)"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(arguments, options, message):
    with pytest.raises(ValueError, match=message) as error:
        api.value(CROSS_ENTROPY, *arguments, **options)
    assert "\n" not in str(error.value)


def test_numbers_need_no_array():
    found = api.value(CROSS_ENTROPY, Foreign(Z), Foreign(Y), weight=2.0)
    np.testing.assert_allclose(fetched(found), 2 * api.value(CROSS_ENTROPY, Z, Y), rtol=1e-15)


@simulator_only
def test_the_work_is_done_in_the_order_of_the_callers_streams(monkeypatch):
    """Kernels run in the logits' stream, once it has waited for the other arrays' streams."""
    seen = []

    class Event:
        def __init__(self, timing):
            assert not timing

        def record(self, stream):
            seen.append(("record", stream.number))

        def wait(self, stream):
            seen.append(("wait", stream.number))

    class Stream(SimpleNamespace):
        def synchronize(self):
            seen.append(("synchronize", self.number))

    cuda = device.toolkit().cuda
    monkeypatch.setattr(cuda, "external_stream", lambda number: Stream(number=number))
    monkeypatch.setattr(cuda, "event", Event)
    result = api.value(CROSS_ENTROPY, Foreign(Z, stream=7), Foreign(Y, stream=9))
    assert seen == [("record", 9), ("wait", 7), ("synchronize", 7)]  # the labels' check, and nothing after it
    assert result.stream.number == 7


# Transfer functions -----------------------------------------------------------------------------

ROWS_OF_LOGITS = {
    "softmax": (softmax, ()),
    "log_softmax": (log_softmax, ()),
    "sigmoid": (sigmoid, ()),
    "log_sigmoid": (log_sigmoid, ()),
    "tempered_softmax": (tempered_softmax, (0.7,)),
    "tempered_sigmoid": (tempered_sigmoid, (1.5,)),
    "log_t": (log_t, (1.5,)),
    "exp_t": (exp_t, (0.7,)),
}


@each_dtype
@pytest.mark.parametrize("name", ROWS_OF_LOGITS)
def test_transfer_functions_stay_on_the_gpu(name, dtype):
    """More rows than threads, of two layouts: every result is the CPU's, and where the logits are."""
    function, t = ROWS_OF_LOGITS[name]
    z = np.abs(np.random.default_rng(0).standard_normal((2, 11, 3))).astype(dtype)
    v = np.linspace(-2.0, 3.0, z.size).reshape(z.shape).astype(dtype)
    calls = {"vjp": (v,), "jvp": (v,), "derivative": (), "second_derivative": (), "derivative_in_temperature": ()}
    for verb, more in {"__call__": (), "normalization": (), **calls}.items():
        if not hasattr(function, verb):
            continue
        expected = getattr(function, verb)(z, *t, *more).astype(float)
        for x in [z] if not SIMULATED else [z, np.asfortranarray(z)]:
            found = getattr(function, verb)(Foreign(x), *t, *map(Foreign, more))
            assert on_device(found) and found.shape == expected.shape
            limit = 2e-15 if dtype is np.float64 else float(ml_dtypes.finfo(dtype).eps)
            np.testing.assert_allclose(fetched(found).view(dtype).astype(float), expected, limit, 1e-16, err_msg=verb)


@simulator_only
def test_transfer_functions_work_in_the_callers_stream(monkeypatch):
    monkeypatch.setattr(device.toolkit().cuda, "external_stream", lambda number: SimpleNamespace(number=number))
    found = softmax(Foreign(Z, stream=7))
    assert found.stream.number == 7, "and nobody has waited: the stream could not"


def test_transfer_functions_refuse_what_does_not_go_together():
    with pytest.raises(ValueError, match="vector is not on the GPU and logits are"):
        softmax.vjp(Foreign(Z), Z)
    with pytest.raises(ValueError, match="vector is on the GPU and logits are not"):
        log_t.vjp(Z, 1.5, Foreign(Z))
    with pytest.raises(ValueError, match='device="cpu" was asked for'):
        tempered_softmax(Foreign(Z), 1.5, device="cpu")
    with pytest.raises(ValueError, match=r"vector of shape \(6,\) does not fit logits of shape \(6, 3\)"):
        softmax.vjp(Foreign(Z), Foreign(np.ones(6)))
    with pytest.raises(ValueError, match="C >= 1"):
        softmax(Foreign(np.ones((3, 0))))


# Threads ----------------------------------------------------------------------------------------

LONG = np.random.default_rng(1).standard_normal((19, 13))
LONG[::2, 11] += 800.0  # overflows if it is not found to be the largest
LABELS = np.arange(19) % 13
FOCAL = reflosses.CategoricalFocal()  # whose second derivatives one thread a row computes
WEIGHTS = np.linspace(0.1, 1.0, 19)


def results():
    """Return results of kernels whose threads work together, as bytes, and what the CPU says."""
    options = {"weight": WEIGHTS, "reduction": "weighted_mean"}
    found = reflosses.value_and_gradient(CROSS_ENTROPY, LONG, LABELS, **options)
    few = reflosses.value_and_gradient(CROSS_ENTROPY, LONG[:, :5], LABELS % 5)
    many = reflosses.hessian_diagonal(CROSS_ENTROPY, LONG, LABELS)
    alone = reflosses.hessian_diagonal(FOCAL, LONG, LABELS)
    expected = (
        *api.value_and_gradient(CROSS_ENTROPY, LONG, LABELS, **options),
        *api.value_and_gradient(CROSS_ENTROPY, LONG[:, :5], LABELS % 5),
        api.hessian_diagonal(CROSS_ENTROPY, LONG, LABELS),
        api.hessian_diagonal(FOCAL, LONG, LABELS),
    )
    return (*found, *few, many, alone), expected


def check_threads():
    """Fail if the results are wrong, or depend on the order in which threads take their turns."""
    from simulator import reversed_turns

    forwards, expected = results()
    with reversed_turns():
        backwards, _ = results()
    for a, b, c in zip(forwards, backwards, expected, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), "the order of threads matters"
        np.testing.assert_allclose(a, c, rtol=1e-14)


@simulator_only
def test_the_order_of_threads_does_not_matter():
    check_threads()


IN_SUM = "sums[me], error = two_sum(sums[me], sums[me + half])"
IN_LARGEST = "room[me] = larger(room[me], room[me + half])"
AFTER = "wait()  # before anybody writes there again\n    return "
ROWS_OF_THREAD = "in range(me, logits.shape[0], cuda.gridsize(1)):\n            row(i"
MISTAKES = {  # what is wrong: the right lines and the wrong ones
    "a barrier before the sum": ("= total, low\n    wait()\n", "= total, low\n"),
    "a barrier within the sum": ("lows[me + half] + error\n        wait()\n", "lows[me + half] + error\n"),
    "a barrier after the sum": (AFTER + "total", "return total"),
    "a barrier before the largest": ("room[me] = x\n    wait()\n", "room[me] = x\n"),
    "a barrier within the largest": ("room[me + half])\n        wait()\n", "room[me + half])\n"),
    "a barrier after the largest": (AFTER + "x", "return x"),
    "half of the sum": (IN_SUM, "error = 0.0"),
    "half of the largest": (IN_LARGEST, "room[me] = room[me]"),
    "a row's stride": ("np.uint64(cuda.blockDim.x)\n", "np.uint64(cuda.blockDim.x + 1)\n"),
    "somebody else's class": ("if y % width == me:", "if me == 0:"),
    "the grid's stride": (ROWS_OF_THREAD, ROWS_OF_THREAD.replace("cuda.gridsize(1)", "2 * cuda.gridsize(1)")),
    "the block's stride": ("cuda.gridDim.x * cuda.blockDim.y\n", "2 * cuda.gridDim.x * cuda.blockDim.y\n"),
    "the label's class": ("0.0 if k == y else e)", "e)"),
}


@simulator_only
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_drivers_are_found(mistake, monkeypatch):
    source = Path(drivers.__file__).read_text(encoding="utf-8")
    right, wrong = MISTAKES[mistake]
    assert right in source, "the mistake is made in code that is no longer there"
    module = ModuleType("reflosses.mistaken")
    module.__package__ = "reflosses"
    exec(compile(source.replace(right, wrong), "mistaken.py", "exec"), vars(module))
    kit = SimpleNamespace(**{**vars(device.toolkit()), "drivers": module})
    monkeypatch.setattr(device, "toolkit", lambda: kit)
    with np.errstate(all="ignore"), pytest.raises((AssertionError, ArithmeticError, IndexError)):
        check_threads()


def test_rows_longer_than_memory_for_all_threads_are_done_by_fewer(monkeypatch):
    monkeypatch.setattr(device, "ROOM_BYTES", 1)
    found = reflosses.hessian_diagonal(FOCAL, LONG, LABELS)
    np.testing.assert_allclose(found, api.hessian_diagonal(FOCAL, LONG, LABELS))

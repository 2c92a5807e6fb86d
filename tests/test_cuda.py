"""CUDA on every machine: the device's tests in Numba's simulator, and every driver compiled to PTX."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numba
import numpy as np
import pytest
from strategies import ALL_VERBS, CLASSES, USUAL, each_kind, sample

import reflosses
from reflosses import CategoricalFocal, CrossEntropy, SigmoidFocal, device, transfer, value
from reflosses.dispatch import Single, contract
from reflosses.domain import classes_of

ptx = pytest.importorskip("reflosses.ptx")
from paper_gpu import GPU_BITS, PaperGPU, hand_over  # noqa: E402

from reflosses import cuda as drivers  # noqa: E402

ROOT = Path(__file__).parent.parent
DEVICE = drivers.build("tests")
F32, F64, F16, BF16 = np.float32, np.float64, np.float16, np.uint16  # bfloat16 goes as its bits
USUAL_GPU, *_ = ALL_GPUS = (8, 0), (7, 5), (9, 0)


# In the simulator ---------------------------------------------------------------------------------


def pytest_in_the_simulator(*arguments):
    """Return what a pytest of its own says with ``--device simulator``; its environment stays its own."""
    command = [sys.executable, "-m", "pytest", "-q", "--numprocesses=0", "--device", "simulator", *arguments]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    summary = done.stdout[-6000:] + done.stderr[-2000:]
    assert done.returncode == 0, summary
    return summary


def test_the_device_in_the_simulator():
    assert " passed" in pytest_in_the_simulator("tests/test_device.py")


EDGES = (
    "has_no_answer_is_nan or two_infinite or illegal_labels or illegal_probabilities or masked_label or sum_to_one "
    "or every_dtype or empty_batches or leading_axes or dtype_of_the_logits or one_class or reduction or weight_zero "
    "or layouts or out_may or unsuitable or numbers"
)


def test_the_edges_in_the_simulator():
    """What SPEC says of edges holds on the device: the same tests, on fewer of the verbs."""
    verbs = "not hessian and not label_gradient and not parameter_gradient"
    assert " passed" in pytest_in_the_simulator("tests/test_edges.py", "-k", f"({EDGES}) and {verbs}")


def test_the_transfer_functions_in_the_simulator():
    assert " passed" in pytest_in_the_simulator("tests/test_transfer.py", "tests/test_tempered.py")


def test_the_benchmarks_in_the_simulator(tmp_path):
    """Their times mean nothing there, but every line of ours runs."""
    given = ["--device", "cuda", "--shape", "6x3", "2x13", "--rounds", "1", "--seconds", "0", "--out"]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "benchmarks", *given, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, env=environment, check=True)
    about, header, *lines = (tmp_path / "cuda.csv").read_text().splitlines()
    assert "simulator" in about and len(lines) == 2 * 2 * 2 * 3  # losses, shapes, dtypes, contenders
    errors = [float(line.rsplit(",", 1)[1]) for line in lines if "native" in line]
    assert max(errors) < 0.01


# Without a GPU ------------------------------------------------------------------------------------


def test_a_missing_package_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(device.importlib.util, "find_spec", lambda name: None)
    device.toolkit.cache_clear()
    with pytest.raises(RuntimeError, match=r"the GPU needs the package numba-cuda: pip install 'reflosses\[cuda\]'$"):
        value(CrossEntropy(), [[0.0, 1.0]], [0], device="cuda")
    device.toolkit.cache_clear()


@pytest.mark.skipif(numba.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said_in_one_line():
    with pytest.raises(
        RuntimeError, match=r"^no GPU can be used: .*a driver and a GPU of NVIDIA's are needed$"
    ) as error:
        value(CrossEntropy(), [[0.0, 1.0]], [0], device="cuda")
    assert "\n" not in str(error.value)


def test_the_library_imports_no_cuda():
    code = "import sys, reflosses; print([name for name in sys.modules if name.startswith(('numba.cuda', 'cuda.'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# PTX ----------------------------------------------------------------------------------------------


def arrays_for(loss, dtype, kind):
    """Return logits, labels, one result a row and one a logit, of a loss at a dtype."""
    n = classes_of(loss, CLASSES)
    logits = np.zeros((2, n) if loss.targets.rows else 2, dtype)
    labels = np.zeros(2, np.int64) if loss.targets.rows and not kind else np.zeros_like(logits)
    return logits, labels, np.zeros(2, dtype), np.zeros_like(logits)


def general(loss, dtype, kind):
    """Return driver -> the arguments it is compiled for, of a loss at float32 or float64."""
    logits, labels, values, slopes = arrays_for(loss, dtype, kind)
    class_weight = np.ones(3) if loss.targets.rows and not kind else None
    if not loss.targets.rows:
        start = (loss, 1.0, logits, labels, None, np.ones(2))
        return {
            "pointwise": (*start, values, slopes, slopes),
            "pointwise_in_labels": (*start, values, slopes),
            "pointwise_in_parameters": (*start, np.zeros((2, 1)), np.zeros((2, 1))),
        }
    room = np.zeros((drivers.ROOM, logits.shape[1], 2))
    start = (loss, class_weight, 1.0, logits, labels, np.ones(2), None)
    shared = {"classwise": "softmax_rows", "tempered": "tempered_rows"}.get(contract(loss))
    found = {shared: (*start, values, slopes, slopes)} if shared else {}
    found |= {
        "rows": (*start, values, slopes, slopes, room),
        "rows_hessian": (*start, np.zeros((2, 3, 3), dtype), room),
        "rows_hessian_vector": (*start, np.zeros_like(logits, F64), slopes, room),
        "rows_in_labels": (*start, values, slopes, room),
        "rows_in_class_weights": (loss, *start[2:], np.zeros(logits.shape), room),
    }
    if len(loss):
        found["rows_in_parameters"] = (*start, np.zeros((2, 1)), room, np.zeros((2, 1)))
    return found


def hard(loss, dtype):
    """Return the arguments of the driver of hard labels."""
    logits, labels, values, slopes = arrays_for(loss, dtype, 0)
    return loss, None, 1.0, logits, labels, None, None, values, slopes


def check(code, name):
    """Assert what a kernel's PTX must be: no call left, nothing contracted, nothing in local memory."""
    assert re.search(r"\.visible \.entry", code), name
    assert not re.search(r"\bcall\b|\.extern \.func", code), name
    assert not re.search(r"\b(add|mul|sub)\.f(32|64)\b", code), f"{name}: ptxas may contract what has no rounding mode"
    assert ".local" not in code, f"{name}: memory of a thread's own is slow"


def compiled(name, arguments, capabilities):
    """Return a driver's PTX for each compute capability, from one front end."""
    signature = tuple(map(numba.typeof, arguments))
    library = ptx.library(getattr(DEVICE, name), signature, capabilities[0])
    return [library.get_asm_str(cc=capability) for capability in capabilities]


@pytest.mark.parametrize("loss, kind", each_kind(USUAL), ids=str)
def test_every_driver_of_every_loss_compiles(loss, kind):
    """float64 on the usual GPU, value and gradient on the others; integer labels and those of every class in turn."""
    given = general(loss, F64, kind)
    for k, (name, arguments) in enumerate(given.items()):
        if kind and k > 1:  # what labels change is in the first drivers
            continue
        for code in compiled(name, arguments, ALL_GPUS if k == 0 else ALL_GPUS[:1]):
            check(code, (name, loss))


@pytest.mark.parametrize("loss", [loss for loss in USUAL if getattr(loss, "no_cancellation", ())], ids=repr)
def test_float32_compiles_with_short_functions(loss):
    name, (_, *arguments) = next(iter(general(loss, F32, 0).items()))
    [code] = compiled(name, (Single(loss), *arguments), (USUAL_GPU,))
    check(code, name)


@pytest.mark.parametrize("dtype", [F64, F32, F16, BF16], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("loss", [loss for loss in USUAL if getattr(loss, "sparse", False)], ids=repr)
def test_hard_labels_compile_in_every_dtype(loss, dtype):
    kernel = loss if dtype is F64 else Single(loss)
    names = ["hard_rows"] if dtype is F64 else ["hard_rows", "hard_rows_native"]
    for name in names:
        arguments = (kernel, *hard(loss, dtype)[1:])
        for code, capability in zip(compiled(name, arguments, ALL_GPUS), ALL_GPUS, strict=True):
            check(code, (name, loss))
            assert "fma.rn.f64" in code, "the fused operations that were asked for"
            taken = ptx.resources(code, capability)
            bounded = name == "hard_rows_native"  # to 64 registers; what is spilled is not in a loop over classes
            assert taken["spills"] <= (96 if bounded else 0) and taken["registers"] <= (64 if bounded else 128), taken
            assert code.count("bar.sync") >= 6, "three barriers for the largest, and three for the sum"
        if dtype is F16 and name == "hard_rows":
            assert "cvt.rn.f16.f64" in code, "rounded once"
        if name == "hard_rows_native":
            assert "ex2.approx" in code and "add.rn.f32" in code, "exponentials in float32"


ROWS, SLOPES, MEANS = np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(2)
WORK = np.zeros((drivers.ROOM, 3, 2))
TRANSFER = {  # driver -> its arguments but the first
    "softmax": (ROWS, ROWS, *[SLOPES] * 5, WORK),
    "tempered_probabilities": (ROWS, SLOPES, WORK),
    "tempered_softmax": (ROWS, ROWS, MEANS, SLOPES, SLOPES, WORK),
    "pointwise": (1.0, MEANS, None, None, MEANS, *[MEANS] * 3),
}
UNTEMPERED = "softmax", "log_softmax", "sigmoid", "log_sigmoid"
DEFINITIONS = [
    ("softmax", transfer.Sigmoid()),
    ("tempered_probabilities", transfer._Tempered(1.5)),
    ("tempered_softmax", transfer._Tempered(1.5)),
    ("pointwise", transfer.Sigmoid()),
    ("pointwise", transfer.LogSigmoid()),
    ("pointwise", transfer.TemperedLogarithm(1.5)),
    ("pointwise", transfer.TemperedLogarithmInTemperature(1.5)),
    ("pointwise", transfer.TemperedExponential(1.5)),
    ("pointwise", transfer.TemperedExponentialInTemperature(1.5)),
    ("pointwise", transfer.TemperedSigmoid(1.5)),
    ("pointwise", transfer.TemperedSigmoidInTemperature(1.5)),
]


@pytest.mark.parametrize("name, definition", DEFINITIONS, ids=str)
def test_every_transfer_function_compiles(name, definition):
    """All results at once: float64 everywhere, and float32 on the usual GPU."""
    arguments = definition, *TRANSFER[name]
    for code in compiled(name, arguments, ALL_GPUS):
        check(code, (name, definition))
    float32 = [x.astype(F32) if x is not WORK and isinstance(x, np.ndarray) else x for x in TRANSFER[name]]
    narrow = definition if definition._fields else Single(definition)  # a temperature leaves nothing short
    [code] = compiled(name, (narrow, *float32), (USUAL_GPU,))
    check(code, (name, definition))


def test_what_is_compiled_for_a_gpu_is_not_contracted_by_default():
    """The same kernel through numba.cuda.jit alone: were it not contracted, ``ptx`` would not be needed."""
    from numba.cuda import compiler

    arguments = general(CrossEntropy(), F64, 0)["rows"]
    fused = lambda *given, **options: compiler.compile_cuda(*given, **options)  # noqa: E731
    given, ptx._compile_unfused = ptx._compile_unfused, fused
    try:
        code = ptx.assembly(DEVICE.rows, tuple(map(numba.typeof, arguments)), USUAL_GPU)
    finally:
        ptx._compile_unfused = given
    with pytest.raises(AssertionError, match="contract"):
        check(code, "rows")


def test_the_dispatcher_compiles_as_the_tests_do(monkeypatch):
    """The way that a call on a GPU goes, up to where it needs one: what is handed over is what the kernel expects."""
    gpu = PaperGPU(monkeypatch)
    given = general(CrossEntropy(), F64, 0)["rows"]
    found = ptx.kernel(DEVICE.rows.py_func).compile(tuple(map(numba.typeof, given)))
    code = found.library.get_asm_str(cc=USUAL_GPU)
    check(code, "rows")
    hand_over(found, [gpu.device_array(x.shape, x.dtype) if isinstance(x, np.ndarray) else x for x in given])
    again = pickle.loads(pickle.dumps(found))  # as the disk cache keeps it
    assert again.library.get_asm_str(cc=USUAL_GPU) == code and len(again.extensions) == 1


# A GPU on paper -----------------------------------------------------------------------------------


class Foreign:
    """An array of another library, which shows no more than the interface."""

    def __init__(self, x, **shown):
        self.x = np.asarray(x)
        self.__cuda_array_interface__ = {**self.x.__array_interface__, "version": 3, "stream": None, **shown}


@pytest.mark.parametrize("dtype", [F64, BF16], ids=["float64", "bfloat16"])
@pytest.mark.parametrize("loss", [CategoricalFocal(2.0, (0.5, 1.0, 2.0)), SigmoidFocal()], ids=repr)
def test_numbas_own_arrays_go_all_the_way(loss, dtype, monkeypatch):
    """Every verb, on arrays of other libraries and on NumPy's, up to the compiled kernel."""
    gpu = PaperGPU(monkeypatch)
    logits, labels = sample(loss)
    verbs = (
        ALL_VERBS if dtype is F64 else {verb: ALL_VERBS[verb] for verb in ("value_and_gradient", "hessian_diagonal")}
    )
    given = logits if dtype is F64 else logits.astype(ml_dtypes.bfloat16)
    bits = given if dtype is F64 else Foreign(given.view(np.uint16), typestr="<V2")
    there = (Foreign(given) if dtype is F64 else bits), Foreign(labels)
    for verb in verbs.values():
        for result in arrays_of(verb(loss, given, labels, device="cuda")):
            assert isinstance(result, np.ndarray | np.generic) and result.dtype == given.dtype
    for result in arrays_of(reflosses.value_and_gradient(loss, *there)):
        assert isinstance(result, gpu.array) and result.__cuda_array_interface__["stream"] is None
    used = {name for name, _ in gpu.compiled}
    quick = {"hard_rows" if dtype is F64 else "hard_rows_native"} if loss.targets.rows else {"pointwise"}
    assert quick <= used and (dtype is F64 or "from_bfloat16" in used and "to_bfloat16" in used)


def on_gpu(x, number):
    """Return an array that says that it lies on one of the GPUs on paper."""
    address, _ = x.__array_interface__["data"]
    return Foreign(x, data=(address | number << GPU_BITS, False))


@pytest.mark.parametrize("verb", ["value_and_gradient", "hessian", "hessian_vector_product", "parameter_gradient"])
def test_a_verb_computes_on_the_gpu_of_its_arrays(verb, monkeypatch):
    gpu = PaperGPU(monkeypatch)
    loss = CategoricalFocal()
    logits, labels = sample(loss)
    there = [on_gpu(x, 1) for x in (logits, labels, *[logits] * (verb == "hessian_vector_product"))]
    for result in arrays_of(getattr(reflosses, verb)(loss, *there)):
        assert device.gpu_of(result) == 1
    assert gpu.ran == {1} and gpu.entered == [0], "and the GPU that was the current one is that again"
    assert device.gpu_of(reflosses.softmax.vjp(there[0], there[0])) == 1 and gpu.ran == {1}
    assert device.gpu_of(reflosses.tempered_normalization(there[0], 1.5)) == 1 and gpu.entered == [0]


@pytest.mark.parametrize("name", ["labels", "weight", "upstream", "out", "vector"])
def test_arrays_of_two_gpus_are_refused(name, monkeypatch):
    gpu = PaperGPU(monkeypatch)
    loss = CrossEntropy()
    z, y = sample(loss)
    options = {"weight": np.ones(4), "upstream": np.ones(4), "out": np.ones_like(z)}
    options = {option: on_gpu(x, int(option == name)) for option, x in options.items()}
    labels, vector = on_gpu(y, int(name == "labels")), on_gpu(z, int(name == "vector"))
    with pytest.raises(ValueError, match=f"^{name} is on GPU 1 and logits are on GPU 0: copy one to where the other"):
        reflosses.hessian_vector_product(loss, on_gpu(z, 0), labels, vector, **options)
    assert gpu.entered == [0]
    with pytest.raises(ValueError, match="^vector is on GPU 0 and logits are on GPU 1"):
        reflosses.softmax.jvp(on_gpu(z, 1), on_gpu(z, 0))
    assert gpu.entered == [0]


@pytest.mark.parametrize("dtype", [F64, BF16], ids=["float64", "bfloat16"])
def test_transfer_functions_go_all_the_way(dtype, monkeypatch):
    gpu = PaperGPU(monkeypatch)
    z = np.ones((2, 3), F64 if dtype is F64 else ml_dtypes.bfloat16)
    there = Foreign(z) if dtype is F64 else Foreign(z.view(np.uint16), typestr="<V2")
    for name in transfer.__all__:
        function, t = getattr(reflosses, name), () if name in UNTEMPERED else (1.5,)
        for result in (function(there, *t), *([function.vjp(there, *t, there)] if hasattr(function, "vjp") else [])):
            assert isinstance(result, gpu.array) and result.dtype == (F64 if dtype is F64 else np.uint16)
        back = function(z, *t, device="cuda")
        assert isinstance(back, np.ndarray) and back.dtype == z.dtype
    assert {"softmax", "tempered_probabilities", "tempered_softmax", "pointwise"} <= {name for name, _ in gpu.compiled}


def test_layouts_weights_and_reductions_go_all_the_way(monkeypatch):
    gpu = PaperGPU(monkeypatch)
    loss = CrossEntropy()
    logits, labels = sample(loss)
    strided = Foreign(np.zeros((4, 6))[:, ::2])
    for z in (np.asfortranarray(logits), np.repeat(logits, 2, axis=1)[:, ::2], logits[::-1]):
        for y in (labels.astype(np.int32), labels.astype(np.uint8), labels.astype(np.float16), labels[::-1]):
            found = reflosses.gradient(loss, Foreign(z), Foreign(y), weight=Foreign(np.ones((4, 2))[:, 0]), out=strided)
            assert found is strided
    for reduction in ("sum", "mean", "weighted_mean"):
        total = reflosses.value(loss, Foreign(logits), Foreign(labels), weight=2.0, reduction=reduction)
        assert total.shape == () and isinstance(total, gpu.array)
    shared = Foreign(logits)
    assert reflosses.gradient(loss, shared, Foreign(labels), out=shared) is shared
    assert reflosses.value(loss, np.zeros((0, 3)), np.zeros(0, int), device="cuda").shape == (0,)
    assert reflosses.value(loss, np.zeros(3), 1, device="cuda").shape == ()
    assert {"copy", "copy_out", "find_classes", "mean", "reciprocal"} <= {name for name, _ in gpu.compiled}


def arrays_of(result):
    """Return all arrays of a result, wherever they are."""
    if isinstance(result, tuple):
        return [array for part in result for array in arrays_of(part)]
    return [] if result is None else [result]

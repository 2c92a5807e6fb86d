"""Threads, processes, caches and compilers: the same bits, and nothing that crashes."""

import inspect
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from strategies import USUAL, bits, sample
from workload import LARGE, digest, large

import reflosses
from reflosses import CrossEntropy, cpu, hessian, single, special, threads
from reflosses.api import prepare
from reflosses.dispatch import SHORT, Single, _with_short_functions, contract, core


@pytest.fixture
def serial():
    """Run what follows with one thread, and set the threads back."""
    count = reflosses.thread_count()
    reflosses.set_thread_count(1)
    yield [digest(loss) for loss in USUAL]
    reflosses.set_thread_count(count)


def test_any_number_of_threads_gives_the_same_bits(serial):
    for count in (2, 3, 8):
        reflosses.set_thread_count(count)
        assert [digest(loss) for loss in USUAL] == serial, count


def test_reductions_do_not_depend_on_threads(serial):
    sums = [reflosses.value(loss, *large(loss), reduction="mean") for loss in USUAL]
    reflosses.set_thread_count(8)
    assert [reflosses.value(loss, *large(loss), reduction="mean") for loss in USUAL] == sums


def test_eight_python_threads_at_once(serial):
    reflosses.set_thread_count(4)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(digest, USUAL * 6))
    assert found == serial * 6


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children(serial, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this platform cannot {method}")
    reflosses.set_thread_count(4)
    for loss in USUAL:
        digest(loss)  # the parent has helpers, which a forked child must not wait for
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python, and JAX if a test imported it, advise against forking with threads
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(digest, USUAL) == serial


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib(serial, backend):
    joblib = pytest.importorskip("joblib")
    found = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(digest)(loss) for loss in USUAL)
    assert found == serial


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this platform lets nobody choose a thread's cores")
def test_helpers_may_run_everywhere_but_on_the_callers_core():
    everywhere = os.sched_getaffinity(0)
    if len(everywhere) < 2:
        pytest.skip("this process has one core")
    reflosses.set_thread_count(2)
    threads.run(lambda x: None, (), (np.zeros(LARGE),), LARGE)
    for helper in threads._helpers:
        cores = os.sched_getaffinity(helper.native_id)
        assert cores < everywhere and len(cores) == len(everywhere) - 1


def test_an_error_in_a_helper_reaches_the_caller():
    def driver(x):
        raise ZeroDivisionError("in a chunk")

    with pytest.raises(ZeroDivisionError, match="in a chunk"):
        threads.run(driver, (), (np.zeros(LARGE),), LARGE)


def test_threads_must_be_positive():
    with pytest.raises(ValueError, match="at least 1"):
        reflosses.set_thread_count(0)


# Fresh interpreters -----------------------------------------------------------------------------


def run(code, **environment):
    """Return what a fresh Python prints; warnings are errors there too."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PRINT = """
import sys; sys.path.insert(0, {here!r})
import numpy as np, reflosses
from workload import LARGE, digest, large
from strategies import USUAL, bits, sample
for loss in USUAL:
    logits, labels = sample(loss, rows=5)
    for verb in ("value", "gradient", "hessian_diagonal"):
        for dtype in (np.float32, np.float64):
            print(getattr(reflosses, verb)(loss, logits.astype(dtype), labels).tobytes().hex())
"""


def results(**environment):
    """Return the bits of every loss in a fresh Python."""
    return run(PRINT.format(here=os.path.dirname(__file__)), **environment).split()


def test_a_cache_folder_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    home = {"HOME": str(blocked), "XDG_CACHE_HOME": str(blocked), "NUMBA_CACHE_DIR": str(blocked / "cache")}
    code = "import numpy as np, reflosses; print(reflosses.value(reflosses.CrossEntropy(), [[0.0, 0.0]], [0])[0])"
    assert float(run(code, **home)) == np.log(2)


def test_without_the_compiler():
    plain = [np.frombuffer(bytes.fromhex(x)) for x in results(NUMBA_DISABLE_JIT="1")[1::2]]
    compiled = [np.frombuffer(bytes.fromhex(x)) for x in results()[1::2]]
    for a, b in zip(plain, compiled, strict=True):  # float64; sums run in another order
        np.testing.assert_allclose(a, b, rtol=1e-15, atol=1e-16)


def test_import_is_quiet_and_light(tmp_path):
    heavy = ("scipy.linalg", "scipy.special", "flint", "click", "rich", "torch", "jax", "sklearn", "matplotlib")
    code = f"import reflosses, sys; print([name for name in {heavy} if name in sys.modules])"
    assert run(code, HOME=str(tmp_path), NUMBA_CACHE_DIR=str(tmp_path / "cache")) == "[]\n"
    assert not list(tmp_path.iterdir())


def test_the_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", reflosses.__version__)


# Machine code -----------------------------------------------------------------------------------


def reached(function):
    """Yield the functions, and what they are called by, that a kernel and its helpers name."""
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        body = getattr(value, "py_func", value)
        if inspect.isfunction(body):
            yield name, value
            if body.__module__ not in (special.__name__, single.__name__):
                yield from reached(body)


@pytest.mark.parametrize("loss", [type(loss) for loss in USUAL if hasattr(loss, "kernel")])
def test_kernels_of_float32_are_short_throughout(loss):
    """A helper of the full length between two short ones would cost five times as much as both."""
    short = _with_short_functions(loss.kernel)
    long = [name for name, value in reached(short) if id(value) in SHORT]
    assert not long
    if any(id(value) in SHORT for _, value in reached(loss.kernel)):
        assert any(getattr(value, "py_func", value).__module__ == single.__name__ for _, value in reached(short))


PACKED = {
    "x86_64": r"vfn?m(?:add|sub)\w*pd\s.*[yz]mm",
    "AMD64": r"vfn?m(?:add|sub)\w*pd\s.*[yz]mm",
    "aarch64": r"fml[as]\s+v\d+\.2d",
    "arm64": r"fml[as]\.2d",
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("loss", USUAL, ids=repr)
def test_loops_are_packed_arithmetic(loss, dtype):
    pattern = PACKED.get(platform.machine())
    if pattern is None:
        pytest.skip(f"no pattern for the vector instructions of {platform.machine()}")
    drivers = cpu.build(f"fresh {time.time()}")  # what comes from the disk cache cannot be inspected
    logits, labels = sample(loss)
    logits = logits.astype(dtype)
    kernel = loss if dtype is np.float64 or contract(loss) == "tempered" else Single(loss)
    if loss.targets.rows:
        names = ["rows", *(["hard_pairs", "hard_rows"] if getattr(loss, "sparse", False) else [])]
        names += ["short_rows"] if contract(loss) == "classwise" else []
        names += ["mass_pairs", "mass_rows"] if getattr(core(loss), "log_likelihood", False) else []
        names = ["hard_tempered_rows"] if contract(loss) == "tempered" else names
        shared = (kernel, None, 1.0)
    else:
        names, shared, labels = ["pointwise"], (kernel, 1.0), labels.astype(dtype)
    for name in names:
        z, y = (logits[:, :2].copy(), labels % 2) if name.endswith("pairs") else (logits, labels)
        hessian = () if name.startswith(("hard", "mass")) else (None,)
        values, gradient = np.empty(len(z), dtype), np.empty_like(z)
        getattr(drivers, name)(*shared, z, y, None, None, values, gradient, *hessian)
        (code,) = getattr(drivers, name).inspect_asm().values()
        assert len(re.findall(pattern, code)) >= 8, name  # an exponential alone has as many


def test_read_only_arrays_need_no_machine_code_of_their_own():
    loss = CrossEntropy()
    inputs = (*sample(loss, kind=1), np.linspace(0.5, 1.5, len(sample(loss)[0])))
    driver = prepare(loss).drivers.rows_hessian
    expected = hessian(loss, *inputs[:2], weight=inputs[2])
    compiled = set(driver.overloads)
    for x in inputs:
        x.flags.writeable = False
    assert bits(hessian(loss, *inputs[:2], weight=inputs[2])) == bits(expected)
    assert set(driver.overloads) == compiled

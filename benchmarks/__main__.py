"""Measure the losses beside their rivals and the memory, in one run, and write the results.

Timings on a shared machine wander by half; ratios measured turn by turn do not.  In every round each
contender has its turn: a pause, an untimed call, and calls for some milliseconds.  A ratio is taken
within the round, and medians and quartiles of the ratios are what is printed and written.
"""

import argparse
import csv
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

import reflosses
from reflosses import LOSSES, BiTempered, BiTemperedBinary, LabelSmoothing, OtherClassesSmoothing, SparseLSR, threads
from reflosses.transfer import predicted

from . import RESULTS
from .rivals import RIVALS

ROW_SHAPES = ((1_000_000, 2), (65_536, 10), (16_384, 100), (8_192, 1_000), (1_024, 32_768), (128, 131_072))
FLAT_SHAPES = ((10_000_000,),)
SHAPES = {  # of losses that have slow rivals
    BiTempered: ((131_072, 2), (32_768, 10), (4_096, 100), (1_024, 1_000), (32, 50_000)),
    BiTemperedBinary: ((1_000_000,),),
}
SPARSE = (10, 100, 1_000, 10_000, 100_000, 1_000_000)  # classes of rows of together some 4 million logits
FOCUS = (1.7,)  # a further γ for losses that have one: no small integer, so no shortcut
PAUSE = 0.02  # seconds: idle threads of OpenMP and XLA spin for a while and would slow whoever comes next
TURN = 0.01  # seconds that a contender at least runs when it has its turn
VERBS = ("value_and_gradient", "gradient_and_hessian_diagonal")
COLUMNS = (
    "loss",
    "verb",
    "shape",
    "dtype",
    "contender",
    "milliseconds",
    "ratio",
    "ratio_q1",
    "ratio_q3",
    "rounds",
    "error",
)
SPARSE_COLUMNS = ("classes", "dtype", "contender", "dense / sparse", "ratio_q1", "ratio_q3", "rounds")
LATENCY_COLUMNS = ("loss", "what", "shape", "dtype", "unit", "median")


def settings(loss_class):
    """Yield the loss at its defaults, at a γ that is no integer if it has one, and smoothed if it was published so."""
    yield loss_class()
    if loss_class is BiTempered:
        yield OtherClassesSmoothing(BiTempered())  # as it was published
    if "gamma" in loss_class._fields:
        yield from (loss_class(gamma=gamma) for gamma in FOCUS)


def inputs(loss, shape, dtype):
    """Return logits of scale 2, or the probabilities that they have, and hard labels."""
    random = np.random.default_rng(0)
    logits = predicted(loss, (2 * random.standard_normal(shape)).astype(dtype))
    if loss.targets.rows:
        return logits, random.integers(0, shape[-1], shape[0])
    return logits, (random.random(shape) < 0.5).astype(dtype)


def contenders(loss, verb, logits, labels, count):
    """Return {name: callable} of ours, the memory copies and the rivals that have the verb."""
    per_row = labels.shape if verb == "value_and_gradient" else logits.shape
    outs = (np.empty(per_row, logits.dtype), np.empty_like(logits))
    call = getattr(reflosses, verb)
    pairs = [(outs[1], logits)] if loss.targets.rows else [(outs[1], logits), (outs[0], labels)]
    if loss.targets.rows and verb != "value_and_gradient":
        pairs.append((outs[0], logits))

    def copy():
        for target, source in pairs:
            np.copyto(target, source)

    def threaded_copy():
        for target, source in pairs:
            threads.run(np.copyto, (), (target, source), target.size)

    found = {"reflosses": lambda: call(loss, logits, labels, out=outs)}
    found |= {"memory copy": copy, "memory copy, all threads": threaded_copy}
    for name, maker in RIVALS.items():
        try:
            rival = maker(loss, logits, labels, count).get(verb)
        except KeyError:  # a loss this rival does not have
            continue
        if rival is not None:
            found[name] = rival
    return found


def measure(calls, rounds, seconds):
    """Return {name: array of seconds}, all contenders taking turns."""
    for call in calls.values():
        call()
    times: dict = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    done = next(iter(times.values()))
    while len(done) < 3 or (len(done) < rounds and time.perf_counter() < end):
        for name, call in calls.items():
            time.sleep(PAUSE)
            call()
            start = time.perf_counter()
            repeats = 0
            while repeats < 1 or time.perf_counter() - start < TURN:
                call()
                repeats += 1
            times[name].append((time.perf_counter() - start) / repeats)
    return {name: np.array(found) for name, found in times.items()}


def gradient_error(mine, other):
    """Return how far a gradient is from ours, as a share of the largest entry of its row; ours is proved."""
    mine, other = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (mine, other))
    axis = None if mine.shape[0] == 1 else 1
    scale = np.abs(mine).max(axis=axis, keepdims=True)
    return float((np.abs(other - mine) / np.where(scale > 0, scale, 1)).max())


def errors_of(verb, calls):
    """Return {name: greatest error of its gradient} of the rivals that return one."""
    if verb != "value_and_gradient":
        return {}
    mine = calls["reflosses"]()[1].copy()  # the memory copies write where ours writes
    results = {name: call() for name, call in calls.items() if name != "reflosses"}
    return {name: gradient_error(mine, found[1]) for name, found in results.items() if isinstance(found, tuple)}


def rows_of(loss, verb, logits, times, errors):
    """Yield a CSV row for every contender."""
    for name, found in times.items():
        low, middle, high = np.percentile(found / times["reflosses"], (25, 50, 75))
        yield (
            repr(loss),
            verb,
            "x".join(map(str, logits.shape)),
            logits.dtype.name,
            name,
            f"{np.median(found) * 1e3:.4g}",
            f"{middle:.3g}",
            f"{low:.3g}",
            f"{high:.3g}",
            len(found),
            f"{errors[name]:.1e}" if name in errors else "",
        )


def throughput(arguments, write):
    """Time every loss of the list on large arrays."""
    for loss_class in LOSSES:
        for loss in settings(loss_class):
            if arguments.loss and loss_class.__name__ not in arguments.loss:
                continue
            for shape in SHAPES.get(loss_class, ROW_SHAPES if loss.targets.rows else FLAT_SHAPES):
                for dtype in arguments.dtype:
                    logits, labels = inputs(loss, shape, dtype)
                    for verb in VERBS:
                        if loss.targets.rows and verb != VERBS[0]:
                            continue
                        calls = contenders(loss, verb, logits, labels, threads.thread_count())
                        times = measure(calls, arguments.rounds, arguments.seconds)
                        for row in rows_of(loss, verb, logits, times, errors_of(verb, calls)):
                            write(row)


def sparse(arguments, write):
    """Time dense and sparse label smoothing over numbers of classes: is the sparse one the cheaper?"""
    for n in SPARSE:
        for dtype in arguments.dtype:
            logits, labels = inputs(SparseLSR(), (4_000_000 // n, n), dtype)
            calls = {}
            for loss in (SparseLSR(), LabelSmoothing()):
                found = contenders(loss, VERBS[0], logits, labels, threads.thread_count())
                names = [name for name in found if name == "reflosses" or "published" in name]
                calls |= {f"{name}, {type(loss).__name__}": found[name] for name in names}
            times = measure(calls, arguments.rounds, arguments.seconds)
            for name in dict.fromkeys(key.rpartition(", ")[0] for key in calls):
                ratios = times[f"{name}, LabelSmoothing"] / times[f"{name}, SparseLSR"]
                low, middle, high = np.percentile(ratios, (25, 50, 75))
                write((n, dtype, name, f"{middle:.3g}", f"{low:.3g}", f"{high:.3g}", len(ratios)))


def latency(arguments, write):
    """Time one small validated call, imports, first calls and compilation."""
    random = np.random.default_rng(0)
    logits = random.standard_normal((32, 10)).astype(np.float32)
    labels = random.integers(0, 10, 32)
    outs = (np.empty(32, np.float32), np.empty_like(logits))
    loss = reflosses.CrossEntropy()

    def many():
        for _ in range(1000):
            reflosses.value_and_gradient(loss, logits, labels, out=outs)

    many()
    times = [_timed(many) for _ in range(31)]
    write(("CrossEntropy()", "one call", "32x10", "float32", "microseconds", f"{np.median(times) * 1e3:.3g}"))
    first = (
        "import time, numpy as np, reflosses as r; z = np.zeros((32, 10), np.float32); y = np.zeros(32, np.int64); "
        "t = time.perf_counter(); r.value_and_gradient(r.CrossEntropy(), z, y); print(time.perf_counter() - t)"
    )
    with tempfile.TemporaryDirectory() as bytecode:
        _child(first, bytecode)
        rounds = [[_child(_clock_import(name), bytecode) for name in ("numba", "reflosses")] for _ in range(9)]
        ratio = np.median([ours / numba for numba, ours in rounds])
        write(("", "import", "", "", "times import numba", f"{ratio:.3g}"))
        warm = np.median([_child(first, bytecode) for _ in range(5)])
        write(("CrossEntropy()", "first call, warm cache", "32x10", "float32", "seconds", f"{warm:.3g}"))
        colds = []
        for _ in range(3):
            with tempfile.TemporaryDirectory() as folder:
                colds.append(_child(first, bytecode, NUMBA_CACHE_DIR=folder))
        cold = np.median(colds)
        write(("CrossEntropy()", "first call, cold cache", "32x10", "float32", "seconds", f"{cold:.3g}"))


def _timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _clock_import(name):
    return f"import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"


def _child(code, bytecode, **environment):
    """Return the number that a fresh Python prints; its modules are compiled to bytecode, as pip leaves them."""
    settings = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": bytecode, **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=settings)
    return float(done.stdout)


def about():
    """Return one line on the machine and the versions."""
    packages = ("numpy", "numba", "scipy", "torch", "jax", "optax", "scikit-learn")
    versions = []
    for package in packages:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), processor)
    count = threads.thread_count()
    return f"{processor}, {count} threads, Python {platform.python_version()}, " + ", ".join(versions)


TABLES = (  # of the CPU: file, columns, line to print, and what measures
    ("throughput", COLUMNS, "{:42} {:30} {:12} {:8} {:25} {:>9} ms  x{:<6} ({} - {}) {} {}", throughput),
    ("sparse", SPARSE_COLUMNS, "{:>8} classes {:8} {:25} dense / sparse {:<6} ({} - {}) {}", sparse),
    ("latency", LATENCY_COLUMNS, "{:18} {:24} {:6} {:8} {:18} {:>8}", latency),
)


def main():
    """Run the benchmarks that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=31, help="rounds per case (default 31)")
    parser.add_argument("--seconds", type=float, default=10.0, help="time limit per case (default 10)")
    parser.add_argument("--loss", action="append", help="only this loss; may be repeated")
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"], help="default: float32 float64")
    parser.add_argument("--only", choices=("throughput", "sparse", "latency"), help="default: all three")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV files")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: value and gradient on a GPU")
    shape = lambda text: tuple(map(int, text.split("x")))  # noqa: E731
    parser.add_argument("--shape", type=shape, nargs="+", help="on a GPU, such as 8192x32768")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.device == "cuda":
        from . import gpu

        line = "{:30} {:14} {:9} {:20} {:>9} ms  {:>6} of the copy  x{:<6} ({} - {}) {} {}"
        tables, machine = (("cuda", gpu.COLUMNS, line, gpu.run),), gpu.about()
    else:
        tables, machine = TABLES, about()
    print(machine)
    for name, columns, line, run in tables:
        if arguments.only in (None, name) or arguments.device == "cuda":
            with (arguments.out / f"{name}.csv").open("w", newline="") as file:
                file.write(f"# {machine}\n")
                writer = csv.writer(file)
                writer.writerow(columns)

                def write(row, file=file, writer=writer, line=line):
                    writer.writerow(row)
                    file.flush()
                    print(line.format(*row), flush=True)

                run(arguments, write)


if __name__ == "__main__":
    main()

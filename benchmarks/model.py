"""What is known of the CUDA drivers without a GPU: ``python -m benchmarks.model`` writes cuda_model.csv.

Registers and spills are ptxas's, from NVIDIA's own compiler; operations are counted in the loops of the
PTX, for each logit that a loop loads.  Two bounds follow for one H100: the time of the bytes that must
be read and written once, and that of the arithmetic in float64.  Neither is a measurement.
"""

import csv
import re

import numba
import numpy as np

from reflosses import BinaryCrossEntropy, BiTempered, CategoricalFocal, CrossEntropy, SigmoidFocal, SparseLSR
from reflosses import cuda as drivers
from reflosses.dispatch import Single
from reflosses.ptx import library, resources

from . import RESULTS
from .gpu import SHAPES

CAPABILITIES = (7, 5), (8, 0), (9, 0)
BANDWIDTH = 3.35e12  # bytes a second, NVIDIA's figure for an H100 SXM
FLOAT64 = 132 * 64 * 1.755e9  # operations a second of the same: multiprocessors, units, and cycles
COLUMNS = (
    "driver",
    "loss",
    "dtype",
    "capability",
    "registers",
    "spilled bytes",
    "float64 operations a logit",
    "float32 operations a logit",
    "bytes a logit",
    *(f"{'x'.join(map(str, shape))}: ms of memory, of float64" for shape in SHAPES),
)


def cases():
    """Yield (driver, loss, the name of the dtype, arguments, bytes a logit)."""
    labels, values = np.zeros(2, np.int64), np.zeros(2)
    room = np.zeros((drivers.ROOM, 3, 2))
    for name, dtype in (("float32", np.float32), ("bfloat16", np.uint16), ("float64", np.float64)):
        z, out = np.zeros((2, 3), dtype), np.zeros(2, dtype)
        for loss in CrossEntropy(), CategoricalFocal(), SparseLSR():
            kernel = loss if name == "float64" else Single(loss)
            arguments = (kernel, None, 1.0, z, labels, None, None, out, z)
            if name != "bfloat16":
                yield "hard_rows", loss, name, arguments, 2 * z.itemsize
            if name != "float64":
                yield "hard_rows_native", loss, name, arguments, 2 * z.itemsize
    z = np.zeros((2, 3))
    rows = np.zeros((2, 3))
    yield (
        "softmax_rows",
        CrossEntropy(),
        "float64",
        (CrossEntropy(), None, 1.0, z, rows, None, None, values, z, None),
        24,
    )
    shared = (None, 1.0, z, labels, None, None, values, z, None)
    yield "tempered_rows", BiTempered(), "float64", (BiTempered(), *shared), 16
    yield "rows", CategoricalFocal(), "float64", (CategoricalFocal(), *shared, room), 16
    for name, dtype in (("float32", np.float32), ("float64", np.float64)):
        x = np.zeros(2, dtype)
        for loss in BinaryCrossEntropy(), SigmoidFocal():
            kernel = loss if name == "float64" else Single(loss)
            yield "pointwise", loss, name, (kernel, 1.0, x, x, None, None, x, x, None), 4 * x.itemsize


def loops(code):
    """Yield the innermost loops of a kernel as lists of lines."""
    lines = code.splitlines()
    places = {found[1]: i for i, line in enumerate(lines) if (found := re.match(r"(\$L__BB\w+):", line))}
    found = []
    for i, line in enumerate(lines):
        jump = re.search(r"\bbra(?:\.uni)? \t?(\$L__BB\w+);", line)
        if jump and places.get(jump[1], i) < i:
            found.append((places[jump[1]], i))
    for first, last in found:
        if not any(first <= a and b < last for a, b in found):
            yield lines[first:last]


def operations(code, kind):
    """Return how many operations on float32 or float64 the loops have for each logit that they load."""
    total = 0.0
    for body in loops(code):
        loads = sum("ld.global" in line for line in body)
        done = sum(bool(re.search(rf"\b(?:add|sub|mul|fma|div|rcp|setp|cvt)\S*\.{kind}\b", line)) for line in body)
        total += done / loads if loads else 0.0
    return total


def rows():
    """Yield the rows of the table."""
    for driver, loss, dtype, arguments, size in cases():
        signature = tuple(map(numba.typeof, arguments))
        found = library(getattr(drivers.build("model"), driver), signature, CAPABILITIES[0])
        for capability in CAPABILITIES:
            code = found.get_asm_str(cc=capability)
            taken = resources(code, capability)
            wide, narrow = operations(code, "f64"), operations(code, "f32")
            bounds = [
                f"{n * c * size / BANDWIDTH * 1e3:.3g}, {n * c * wide / FLOAT64 * 1e3:.3g}" if driver != "rows" else ""
                for n, c in SHAPES
            ]
            spent = (taken["registers"], taken["spills"], f"{wide:.0f}", f"{narrow:.0f}", size)
            yield driver, repr(loss), dtype, f"sm_{capability[0]}{capability[1]}", *spent, *bounds


def main():
    """Write the table."""
    with (RESULTS / "cuda_model.csv").open("w", newline="") as file:
        file.write("# from compiled code, not measured; bounds for one H100 SXM of 3.35 TB/s and 14.8 T float64/s\n")
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows():
            writer.writerow(row)
            print(*row[:8])


if __name__ == "__main__":
    main()

"""Arrays in and out: dtypes, layouts, and the one rounding."""

from functools import cache
from types import SimpleNamespace

import numpy as np
from numba import config

NARROW = np.dtype(np.float32)
WIDE = np.dtype(np.float64)
ON_HOST = {np.ndarray, type(None), float, int, list, tuple}  # what needs no second look


def scalar(x):
    """Return a float; where plain Python stands for machine code, one that divides by 0 without an error."""
    return np.float64(float(x)) if getattr(config, "DISABLE_JIT", False) else float(x)


@cache
def _computing_dtype(dtype):
    """Return the dtype of the results and that of the drivers' input for logits of a dtype."""
    if dtype.kind in "biu":
        return WIDE, WIDE
    native = dtype.newbyteorder("=")
    if native in (WIDE, NARROW):
        return native, native
    if native == np.float16 or native.name == "bfloat16":
        return native, NARROW
    raise TypeError(f"logits must be float16, bfloat16, float32, float64 or integers, got {dtype}")


def as_logits(logits, rows):
    """Return logits as a contiguous array for the drivers, and the dtype of the results."""
    z = np.asarray(logits)
    dtype, computing = _computing_dtype(z.dtype)
    z = unlocked(np.ascontiguousarray(z, dtype=computing).reshape(z.shape))
    if rows and (z.ndim == 0 or z.shape[-1] == 0):
        raise ValueError(f"logits must have shape (..., C) with C >= 1, got {z.shape}")
    return z, dtype


def as_real(x, name):
    """Return real numbers as a contiguous float64 array."""
    x = np.asarray(x)
    if x.dtype.kind not in "biuf" and x.dtype.name != "bfloat16":
        raise TypeError(f"{name} must be real numbers, got {x.dtype}")
    return unlocked(np.ascontiguousarray(x, dtype=WIDE).reshape(x.shape))


def unlocked(x):
    """Return a read-only array as a writeable one: no driver writes to an input, or is compiled twice for these."""
    if x.flags.writeable:
        return x
    pointer, _ = x.__array_interface__["data"]
    return np.asarray(SimpleNamespace(__array_interface__={**x.__array_interface__, "data": (pointer, False)}, owner=x))


def place(out, shape, flat, dtype):
    """Return (result, buffer): what the caller gets and what the driver fills.

    They are the same memory where dtype and layout allow it.  Results of 16 bits are those of
    float32, rounded again on the way out: within 0.5001 ulp, and by the same machine code.
    """
    if out is None:
        out = np.empty(shape, dtype)
    if out.dtype.itemsize >= 4 and out.flags.c_contiguous:
        return out, out.reshape(flat)
    return out, np.empty(flat, NARROW if out.dtype.itemsize < 4 else out.dtype)


def finish(result, buffer):
    """Round the driver's buffer into the result, unless they are the same; unwrap scalars."""
    if result.dtype != buffer.dtype or not result.flags.c_contiguous:
        result[...] = rounded(buffer, result.dtype).reshape(result.shape)
    return result if result.ndim else result[()]


def rounded(x, dtype):
    """Round float64 to a narrower dtype once; ml_dtypes would go through float32 and round twice."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if dtype.name != "bfloat16" or x.dtype != WIDE:
            return x.astype(dtype)
        single = x.astype(NARROW)
        inexact = (single != x) & np.isfinite(x)
        toward_zero = np.where(np.abs(single) > np.abs(x), np.nextafter(single, NARROW.type(0)), single)
        odd = toward_zero.view(np.uint32) | inexact  # rounding to odd keeps what breaks a tie
        return odd.astype(np.uint32).view(NARROW).astype(dtype)


def on_device(x):
    """Whether x is an array on a GPU, of whatever library."""
    if type(x) in ON_HOST:
        return False
    return hasattr(x, "__cuda_array_interface__") or getattr(x, "__cuda_ndarray__", False)


def where(device, *arguments):
    """Return "cpu" or "cuda", where a call with these arguments is to be computed."""
    if device not in (None, "cpu", "cuda"):
        raise ValueError(f'device must be "cpu" or "cuda", got {device!r}')
    there = any(on_device(x) for x in arguments)
    if there and device == "cpu":
        raise ValueError('device="cpu" was asked for, but an array is on the GPU: copy it to the host first')
    return "cuda" if there or device == "cuda" else "cpu"

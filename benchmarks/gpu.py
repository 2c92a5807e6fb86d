"""What ``python -m benchmarks --device cuda`` measures: value and gradient beside a GPU's rivals and its memory.

Every contender works on arrays that are on the GPU, writes into memory of its own or that is given,
and has its turns like those of the CPU's contenders; the clock is read when the GPU has finished.
Our calls check the labels, and wait for the answer, within the clock.
"""

import importlib.util
import time

import numpy as np

import reflosses
from reflosses import BiTempered, CrossEntropy
from reflosses.device import toolkit

SHAPES = ((1_000_000, 10), (65_536, 1_000), (8_192, 32_768), (4_096, 131_072))
DTYPES = ("float32", "bfloat16")
COLUMNS = (
    "loss",
    "shape",
    "dtype",
    "contender",
    "milliseconds",
    "share of copy bandwidth",
    "ratio",
    "ratio_q1",
    "ratio_q3",
    "rounds",
    "error",
)
ITERATIONS = 5  # of the published bi-tempered loss


# ---- rivals: each returns a call that gives (value, gradient) ------------------------------------


def _differentiated(torch, forward, z, y):
    def call():
        z.grad = None
        value = forward(z, y)
        value.backward()
        return value.detach(), z.grad

    return call


def _cross_entropy(torch, z, y):
    return torch.nn.functional.cross_entropy(z, y, reduction="sum")


def torch_eager(torch, loss, z, y):
    """PyTorch as it is."""
    if type(loss) is BiTempered:
        return lambda: published_bi_tempered(torch, z, y, loss.t1, loss.t2)
    return _differentiated(torch, lambda z, y: _cross_entropy(torch, z, y), z.clone().requires_grad_(), y)


def torch_compiled(torch, loss, z, y):
    """PyTorch through torch.compile."""
    if type(loss) is BiTempered:
        compiled = torch.compile(lambda z, y: published_bi_tempered(torch, z, y, loss.t1, loss.t2))
        return lambda: compiled(z, y)
    forward = torch.compile(lambda z, y: _cross_entropy(torch, z, y))
    return _differentiated(torch, forward, z.clone().requires_grad_(), y)


def published_bi_tempered(torch, z, y, t1, t2):
    """The published algorithm for t2 > 1: five steps of its fixed point, and its gradient in closed form."""

    def log_t(x, t):
        return (x ** (1 - t) - 1) / (1 - t)

    def exp_t(x, t):
        return torch.relu(1 + (1 - t) * x) ** (1 / (1 - t))

    largest = z.max(dim=-1, keepdim=True).values
    shifted = start = z - largest
    for _ in range(ITERATIONS):
        total = exp_t(shifted, t2).sum(dim=-1, keepdim=True)
        shifted = start * total ** (1 - t2)
    total = exp_t(shifted, t2).sum(dim=-1, keepdim=True)
    p = exp_t(z + log_t(1 / total, t2) - largest, t2)
    labels = torch.nn.functional.one_hot(y, z.shape[-1]).to(z.dtype)
    values = labels * (log_t(labels + 1e-10, t1) - log_t(p, t1))
    values = values - (labels ** (2 - t1) - p ** (2 - t1)) / (2 - t1)
    slopes = (p - labels) * p ** (t2 - t1)
    escorts = p**t2 / (p**t2).sum(dim=-1, keepdim=True)
    return values.sum(), slopes - escorts * slopes.sum(dim=-1, keepdim=True)


def liger(torch, loss, z, y):
    """Liger-Kernel's Triton cross entropy, which writes the gradient over the logits."""
    from liger_kernel.transformers.functional import liger_cross_entropy

    if type(loss) is not CrossEntropy:
        return None
    return _differentiated(
        torch, lambda z, y: liger_cross_entropy(z * 1.0, y, reduction="sum"), z.clone().requires_grad_(), y
    )


def flash_attention(torch, loss, z, y):
    """The Triton cross entropy that comes with flash-attention."""
    from flash_attn.ops.triton.cross_entropy import cross_entropy_loss

    if type(loss) is not CrossEntropy:
        return None
    return _differentiated(torch, lambda z, y: cross_entropy_loss(z, y)[0].sum(), z.clone().requires_grad_(), y)


def cupy_elementwise(torch, loss, z, y):
    """CuPy's operations, one kernel each."""
    import cupy

    if type(loss) is not CrossEntropy or z.dtype != torch.float32:
        return None
    logits, labels = cupy.asarray(z.detach()), cupy.asarray(y)
    rows = cupy.arange(labels.size)

    def call():
        shifted = logits - logits.max(axis=1, keepdims=True)
        e = cupy.exp(shifted)
        total = e.sum(axis=1, keepdims=True)
        value = (cupy.log(total[:, 0]) - shifted[rows, labels]).sum()
        slopes = e / total
        slopes[rows, labels] -= 1
        return value, slopes

    return call


RIVALS = {
    "torch": ("torch", torch_eager),
    "torch.compile": ("torch", torch_compiled),
    "Liger-Kernel": ("liger_kernel", liger),
    "flash-attention": ("flash_attn", flash_attention),
    "CuPy": ("cupy", cupy_elementwise),
}


# ---- one case ------------------------------------------------------------------------------------


def tensors(shape, dtype):
    """Return logits and labels on the GPU, PyTorch's if it can, and PyTorch or ``None``."""
    random = np.random.default_rng(0)
    logits = 2 * random.standard_normal(shape, dtype=np.float32)
    labels = random.integers(0, shape[1], shape[0])
    if importlib.util.find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            return torch.from_numpy(logits).cuda().to(getattr(torch, dtype)), torch.from_numpy(labels).cuda(), torch
    cuda = toolkit().cuda
    if dtype != "float32":
        import ml_dtypes

        logits = logits.astype(getattr(ml_dtypes, dtype)).view(np.uint16)
        return _Bits(cuda.to_device(logits)), cuda.to_device(labels), None
    return cuda.to_device(logits), cuda.to_device(labels), None


class _Bits:
    """bfloat16 on the GPU without PyTorch: what its interface would say."""

    def __init__(self, bits):
        self.bits, self.shape = bits, bits.shape
        interface = bits.__array_interface__ if toolkit().simulated else bits.__cuda_array_interface__
        self.__cuda_array_interface__ = {**interface, "typestr": "<V2"}


def empty_like(x, shape, torch):
    """Return memory on the GPU for results of the dtype of x."""
    if torch is not None:
        return torch.empty(shape, dtype=x.dtype, device=x.device)
    if isinstance(x, _Bits):
        return _Bits(toolkit().cuda.device_array(shape, np.uint16))
    return toolkit().cuda.device_array(shape, x.dtype)


def contenders(loss, z, y, torch):
    """Return name -> call of ours, the memory copy, and the rivals that are there."""
    outs = empty_like(z, z.shape[:1], torch), empty_like(z, z.shape, torch)

    def ours(precision):
        return lambda: reflosses.value_and_gradient(loss, z, y, out=outs, precision=precision)

    def copy():
        if torch is not None:
            outs[1].copy_(z)
        else:
            getattr(outs[1], "bits", outs[1]).copy_to_device(getattr(z, "bits", z))

    found = {"reflosses": ours("reference"), "reflosses, native": ours("native"), "memory copy": copy}
    for name, (module, maker) in RIVALS.items():
        if torch is None or importlib.util.find_spec(module) is None:
            continue
        call = maker(torch, loss, z, y)
        if call is not None:
            found[name] = call
    return found


def measure(calls, rounds, seconds):
    """Return {name: array of seconds}, all contenders taking turns; what runs out of memory is left out."""
    cuda = toolkit().cuda
    times: dict = {}
    for name, call in calls.items():
        try:
            call()
        except Exception as error:
            if "memory" not in str(error).lower():
                raise
            print(f"{name} is left out: {error}")
        else:
            times[name] = []
    cuda.synchronize()
    end = time.perf_counter() + seconds
    while len(times["reflosses"]) < 3 or (len(times["reflosses"]) < rounds and time.perf_counter() < end):
        for name, found in times.items():
            calls[name]()
            cuda.synchronize()
            start, repeats = time.perf_counter(), 0
            while repeats < 1 or time.perf_counter() - start < 0.01:
                calls[name]()
                cuda.synchronize()
                repeats += 1
            found.append((time.perf_counter() - start) / repeats)
    return {name: np.array(found) for name, found in times.items()}


def gradient_of(result, dtype):
    """Return the gradient of a call as float64 on the host."""
    slopes = result[1]
    if hasattr(slopes, "detach"):
        return slopes.detach().double().cpu().numpy()
    slopes = getattr(slopes, "bits", slopes)
    slopes = slopes.copy_to_host() if hasattr(slopes, "copy_to_host") else slopes.get()
    if slopes.dtype == np.uint16:
        slopes = (slopes.astype(np.uint32) << 16).view(np.float32)
    return slopes.astype(np.float64)


def error_of(mine, other):
    """Return how far a gradient is from ours, as a share of the largest entry of its row."""
    scale = np.abs(mine).max(axis=1, keepdims=True)
    return float((np.abs(other - mine) / np.where(scale > 0, scale, 1)).max())


def run(arguments, write):
    """Measure every case."""
    for loss in (CrossEntropy(), BiTempered()):
        for shape in arguments.shape or SHAPES:
            for dtype in DTYPES:
                z, y, torch = tensors(shape, dtype)
                calls = contenders(loss, z, y, torch)
                times = measure(calls, arguments.rounds, arguments.seconds)
                few = shape[0] * shape[1] <= 2**27  # float64 of more would fill the host
                mine = gradient_of(calls["reflosses"](), dtype) if few else None
                for name, found in times.items():
                    low, middle, high = np.percentile(found / times["reflosses"], (25, 50, 75))
                    rival = few and name not in ("reflosses", "memory copy")
                    write(
                        (
                            repr(loss),
                            "x".join(map(str, shape)),
                            dtype,
                            name,
                            f"{np.median(found) * 1e3:.4g}",
                            f"{np.median(times['memory copy'] / found):.3g}",
                            f"{middle:.3g}",
                            f"{low:.3g}",
                            f"{high:.3g}",
                            len(found),
                            f"{error_of(mine, gradient_of(calls[name](), dtype)):.1e}" if rival else "",
                        )
                    )


def about():
    """Return one line on the GPU, its driver and the versions."""
    from importlib import metadata

    cuda = toolkit().cuda
    if toolkit().simulated:
        device = "the simulator, whose times mean nothing"
    else:
        gpu = cuda.get_current_device()
        name = gpu.name.decode() if isinstance(gpu.name, bytes) else gpu.name
        device = f"{name}, CUDA {'.'.join(map(str, cuda.runtime.get_version()))}"
    versions = []
    for package in ("numba", "numba-cuda", "torch", "triton", "liger-kernel", "flash-attn", "cupy-cuda13x"):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return f"{device}, " + ", ".join(versions)

"""How drivers are compiled for CUDA: without contraction of a·b + c, with or without a GPU at hand.

NVVM turns a·b + c into one rounded operation unless told not to, and numba-cuda does not hand that
wish on.  Where the rounding error of a product is known and added, a sum that had not rounded the
product would count the error twice, so kernels are compiled by a dispatcher that tells NVVM itself.
"""

import re
import threading
from contextlib import contextmanager
from types import SimpleNamespace

from numba import cuda, types
from numba.cuda import compiler, dispatcher
from numba.cuda.core.compiler_lock import global_compiler_lock
from numba.cuda.cudadrv import nvvm


@contextmanager
def _replaced(module, name, value):
    given = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, given)


def _compile_unfused(*arguments, nvvm_options, **options):
    return compiler.compile_cuda(*arguments, nvvm_options={**nvvm_options, "fma": False}, **options)


_configuring = threading.Lock()


class Unfused(dispatcher.CUDADispatcher):
    """A dispatcher of kernels in which no multiplication is contracted with an addition."""

    def configure(self, *configuration):
        """Return a launcher, without the warning that a small grid leaves the GPU idle: small inputs do."""
        with _configuring, _replaced(dispatcher.config, "CUDA_LOW_OCCUPANCY_WARNINGS", 0):
            return super().configure(*configuration)

    @global_compiler_lock  # what is replaced meanwhile is everybody's
    def compile(self, signature):
        """Compile the kernel for a signature and bind it to the current GPU."""
        with _replaced(dispatcher, "compile_cuda", _compile_unfused):
            return super().compile(signature)


class Absent:
    """Numba's launcher does not know ``None``, for which its compiler expects a pointer."""

    @staticmethod
    def prepare_args(kind, value, stream, retr):
        """Return the type and the value that an argument is handed over as."""
        return (types.CPointer(types.none), 0) if kind == types.none else (kind, value)


def kernel(function):
    """Return a function as a kernel; link-time optimisation would contract again."""
    bounds = getattr(function, "launch_bounds", None)
    plain = cuda.jit(function, lto=False, launch_bounds=bounds, extensions=[Absent()])
    return Unfused(plain.py_func, plain.targetoptions)


@global_compiler_lock
def library(function, signature, capability):
    """Return a kernel's code for a compute capability such as (8, 0); nothing runs, so that no GPU is needed."""
    function = getattr(function, "py_func", function)
    there = SimpleNamespace(compute_capability=capability)
    with _replaced(dispatcher, "get_current_device", lambda: there):  # which compiles the functions it calls
        result = _compile_unfused(
            function, types.void, signature, nvvm_options={"fastmath": False, "opt": 3}, cc=capability
        )
    entry = result.fndesc.llvm_func_name
    result.library._entry_name = entry
    kernel = result.library.get_function(entry)
    compiler.kernel_fixup(kernel, False)
    nvvm.set_launch_bounds(kernel, getattr(function, "launch_bounds", None))
    return result.library


def assembly(function, signature, capability):
    """Return a kernel's PTX for a compute capability."""
    return library(function, signature, capability).get_asm_str(cc=capability)


def resources(code, capability):
    """Return what a kernel takes on a GPU: ``registers``, ``spills`` in bytes, and ``stack``, as ptxas counts them."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    options = LinkerOptions(arch=f"sm_{capability[0]}{capability[1]}", ptxas_options=["-v"])
    linker = Linker(ObjectCode.from_ptx(code.encode()), options=options)
    linker.link("cubin")
    said = linker.get_info_log()
    stack, stores, loads = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+)", said).groups()
    registers = re.search(r"Used (\d+) registers", said)[1]
    return {"registers": int(registers), "spills": int(stores) + int(loads), "stack": int(stack)}

"""A GPU on paper: Numba's own arrays over addresses that nobody reads, and kernels that compile but do not run.

What the simulator cannot show is whether the arrays of the real thing have the methods that are asked of
them, and whether kernels take the types they are given.
"""

import math
import re
from contextlib import nullcontext
from types import SimpleNamespace

import numba
import numpy as np

from reflosses import cuda as drivers
from reflosses import device, ptx

CAPABILITY = 8, 0
GPU_BITS = 48  # an address says from here on which GPU it lies


class Memory:
    """An address and a size."""

    def __init__(self, size, address):
        self.size, self.address = size, address

    @property
    def device_ctypes_pointer(self):
        """Return what has the address as its value."""
        return SimpleNamespace(value=self.address)

    def view(self, start, stop=None):
        """Return a part."""
        return Memory((self.size if stop is None else stop) - start, self.address + start)


class Current:
    """What makes a GPU the current one."""

    def __init__(self, gpu, number):
        self.gpu, self.number = gpu, number

    def __enter__(self):
        self.gpu.entered.append(self.number)

    def __exit__(self, *error):
        assert self.gpu.entered.pop() == self.number


class PaperGPU:
    """What ``device`` needs of ``numba.cuda`` and of the drivers; ``compiled`` are the kernels it was asked to run."""

    simulated = False

    def __init__(self, monkeypatch):
        from numba.cuda import codegen, dispatcher
        from numba.cuda.cudadrv import devicearray, devices

        there = SimpleNamespace(compute_capability=CAPABILITY)
        monkeypatch.setattr(dispatcher, "get_current_device", lambda: there)
        monkeypatch.setattr(dispatcher._Kernel, "bind", lambda kernel: None)
        monkeypatch.setattr(codegen.CUDACodeLibrary, "_ensure_cc", lambda library, given: given or CAPABILITY)
        self.compiled, self.free, self.array = set(), 4096, devicearray.DeviceNDArray
        self.entered, self.ran = [0], set()  # the current GPU is the last; GPUs on which kernels ran
        monkeypatch.setattr(device, "gpu_at", lambda address: address >> GPU_BITS)
        monkeypatch.setattr(devices._runtime, "ensure_context", nullcontext)
        monkeypatch.setattr(devices._runtime, "get_or_create_context", lambda number: SimpleNamespace())
        monkeypatch.setattr(self.array, "copy_to_host", self.nothing_found)
        self.cuda = SimpleNamespace(
            gpus=[Current(self, number) for number in range(2)],
            device_array=self.device_array,
            to_device=lambda x, stream=0: self.device_array(x.shape, x.dtype, stream),
            from_cuda_array_interface=self.view,
        )
        self.drivers = SimpleNamespace(**{**vars(drivers), "build": self.build})
        monkeypatch.setattr(device, "toolkit", lambda: self)

    def device_array(self, shape, dtype, stream=0):
        """Return an array of Numba's, of memory of its own."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        self.free += size + 4096
        strides = device.contiguous_strides(shape, dtype.itemsize)
        return self.array(
            shape, strides, dtype, stream=stream, gpu_data=Memory(size, self.free | self.entered[-1] << GPU_BITS)
        )

    def view(self, interface, owner, sync):
        """Return somebody's array as one of Numba's."""
        assert not sync, "nobody waits"
        dtype, shape = np.dtype(interface["typestr"]), interface["shape"]
        strides = interface["strides"] or device.contiguous_strides(shape, dtype.itemsize)
        return self.array(shape, strides, dtype, gpu_data=Memory(2**20, interface["data"][0]))

    @staticmethod
    def nothing_found(array, ary=None, stream=0):
        """Return what checks leave that have found nothing, and zeros for results."""
        return np.full(array.shape, 2**62 if array.dtype == np.int64 else 0, array.dtype)

    def build(self, stamp):
        """Return drivers that are compiled in the place of being run."""
        return SimpleNamespace(**{name: Kernel(self, name, f) for name, f in vars(drivers.build(stamp)).items()})


class Kernel:
    """A kernel that is compiled for the types of its arguments, once, and handed these."""

    def __init__(self, gpu, name, function):
        self.gpu, self.name = gpu, name
        self.driver = ptx.kernel(getattr(function, "py_func", function))

    def __getitem__(self, configuration):
        blocks, threads, _ = configuration
        assert blocks >= 1 and math.prod(threads if isinstance(threads, tuple) else (threads,)) <= 1024

        def call(*arguments):
            self.gpu.ran.add(self.gpu.entered[-1])
            signature = tuple(map(numba.typeof, arguments))
            if (self.name, signature) not in self.gpu.compiled:
                self.gpu.compiled.add((self.name, signature))
                hand_over(self.driver.compile(signature), arguments)

        return call


def hand_over(kernel, arguments):
    """Prepare arguments as Numba does when it launches a kernel, and see that they are as many as the kernel has."""
    handed: list = []
    for kind, x in zip(kernel.argument_types, arguments, strict=True):
        kernel._prepare_args(kind, x, 0, [], handed)
    expected = re.findall(r"^\s*\.param ", kernel.library.get_asm_str(cc=CAPABILITY), re.MULTILINE)
    assert len(handed) == len(expected)

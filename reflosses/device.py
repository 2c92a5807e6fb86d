"""A call of a verb on a GPU: arrays that stay there, checks that run there, results that stay there.

Whatever has a ``__cuda_array_interface__`` is used where it lies, in the order of its own stream,
and the results are arrays of Numba's, which others view without a copy.  NumPy arrays are copied
there and their results back.  bfloat16, which Numba does not have, is worked on as 16-bit integers.

The host waits for the GPU at one point, to learn whether a label is illegal and whether all are
hard: before anything uses them.
"""

import importlib.util
import math
import sys
from functools import cache
from types import SimpleNamespace

import numpy as np

from .arrays import NARROW, WIDE, on_device
from .domain import REAL
from .labels import as_weights, illegal, precision_of, unnormalized
from .stamp import stamp

INSTALL = "pip install 'reflosses[cuda]'"
BFLOAT16 = np.dtype("V2")  # as PyTorch's arrays and those of ml_dtypes say it
BITS = np.dtype(np.uint16)
ROOM_BYTES = 2**30  # of memory that the threads of a call work in, at the most
CLASSES_OF_THREAD = 16  # rows longer than this are shared by the threads of a block


@cache
def toolkit():
    """Return what computes on the GPU: ``numba.cuda``, the drivers' module, and whether it is simulated."""
    if importlib.util.find_spec("numba_cuda") is None:
        raise RuntimeError(f"the GPU needs the package numba-cuda: {INSTALL}")
    from numba import config, cuda

    if not config.ENABLE_CUDASIM and not cuda.is_available():
        reason = cuda.cuda_error() or "no NVIDIA GPU was found"
        reason = " ".join(str(reason).split())
        raise RuntimeError(f"no GPU can be used: {reason}; a driver and a GPU of NVIDIA's are needed")
    from . import cuda as drivers

    return SimpleNamespace(cuda=cuda, drivers=drivers, simulated=config.ENABLE_CUDASIM)


# ---- arrays -------------------------------------------------------------------------------


def viewed(x):
    """Return somebody's array on the GPU as one of Numba's, and its dtype; bfloat16 as its bits."""
    interface = getattr(x, "__cuda_array_interface__", None)
    if interface is None:
        return x, x.dtype
    dtype = np.dtype(interface["typestr"])
    typestr = BITS.str if is_bfloat16(dtype) else interface["typestr"]
    plain = {key: value for key, value in interface.items() if key not in ("stream", "mask")}
    plain["typestr"] = typestr
    if interface.get("mask") is not None:
        raise TypeError("masked arrays are not supported")
    if toolkit().simulated:
        return simulated(np.asarray(SimpleNamespace(__array_interface__=plain, owner=x))), dtype
    return toolkit().cuda.from_cuda_array_interface(plain, owner=x, sync=False), dtype


def simulated(x):
    """Return an array of the simulator's in the memory of one of NumPy's."""
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    return FakeCUDAArray(x)


def is_bfloat16(dtype):
    """Whether a dtype is bfloat16, which NumPy takes for two bytes of anything."""
    return dtype.name == "bfloat16" or dtype == BFLOAT16


def contiguous_strides(shape, itemsize):
    """Return the strides of an array in C's order."""
    strides = [itemsize]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * max(size, 1))
    return tuple(strides[: len(shape)])


def is_contiguous(x):
    """Whether an array lies in C's order."""
    expected = contiguous_strides(x.shape, x.dtype.itemsize)
    return x.size == 0 or all(size == 1 or a == b for size, a, b in zip(x.shape, x.strides, expected, strict=True))


def restrided(x, shape, strides):
    """Return an array in the memory of another one."""
    if toolkit().simulated:
        return simulated(np.lib.stride_tricks.as_strided(x._ary, shape, strides))
    return type(x)(shape, strides, x.dtype, stream=x.stream, gpu_data=x.gpu_data)


def four_axes(x, shape):
    """Return an array broadcast to a shape, with four axes."""
    if len(shape) > 4:
        raise ValueError(f"an array on the GPU that is not contiguous may have 4 axes at the most, got {x.ndim}")
    strides = (0,) * (len(shape) - x.ndim) + tuple(
        0 if size == 1 else stride for size, stride in zip(x.shape, x.strides, strict=True)
    )
    lead = 4 - len(shape)
    return restrided(x, (1,) * lead + tuple(shape), (0,) * lead + strides)


def extent(x):
    """Return the first and the last address of an array, plus one."""
    start = x._ary.ctypes.data if toolkit().simulated else int(x.device_ctypes_pointer.value or 0)
    ends = [(size - 1) * stride for size, stride in zip(x.shape, x.strides, strict=True)]
    low, high = sum(min(end, 0) for end in ends), sum(max(end, 0) for end in ends)
    return start + low, start + high + x.dtype.itemsize


def overlap(x, y):
    """Whether two arrays may share memory."""
    (a, b), (c, d) = extent(x), extent(y)
    return x.size > 0 and y.size > 0 and a < d and c < b


def stream_of(x):
    """Return the stream that an array's library works in, as a number; ``None`` if it does not say."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return int(torch.cuda.current_stream(x.device).cuda_stream)
    interface = getattr(x, "__cuda_array_interface__", None)
    return interface.get("stream") if interface else None


def gpu_at(address):
    """Return the number of the GPU that an address lies on, as the driver knows it."""
    from numba.cuda.cudadrv.driver import binding, driver

    ordinal = binding.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(driver.cuPointerGetAttribute(ordinal, binding.CUdeviceptr(address)))


def gpu_of(x):
    """Return the number of the GPU that an array lies on; ``None`` if it has no memory, or one that is any GPU's."""
    interface = getattr(x, "__cuda_array_interface__", None)
    if interface is None or not interface["data"][0] or toolkit().simulated:
        return None
    number = gpu_at(interface["data"][0])
    return number if number >= 0 else None


class Result:
    """Where a result is to go: an array on the GPU, and what the caller gets."""

    def __init__(self, array, given):
        self.array, self.given = array, given


# ---- the call -----------------------------------------------------------------------------


class OnDevice:
    """What a call does otherwise on a GPU; its first array says on which, and in which stream."""

    def __init__(self, arrays, *arguments):
        self.cuda, self.host, self.widened = toolkit().cuda, not on_device(arrays[0]), None
        self.gpu = gpu_of(arrays[0])
        with self:
            self.stream = self.join_streams([x for x in arrays if not self.elsewhere(x)])
            super().__init__(*arguments)

    def __enter__(self):
        """Make the GPU of the arrays the current one, for all that is allocated and run."""
        if self.gpu is not None:
            self.cuda.gpus[self.gpu].__enter__()
        return self

    def __exit__(self, *error):
        if self.gpu is not None:
            self.cuda.gpus[self.gpu].__exit__(*error)

    def elsewhere(self, x):
        """Whether an array lies on another GPU."""
        number = None if self.gpu is None else gpu_of(x)
        return number is not None and number != self.gpu

    def refuse_elsewhere(self, x, name):
        """Refuse an array on another GPU."""
        if self.elsewhere(x):
            raise ValueError(
                f"{name} is on GPU {gpu_of(x)} and logits are on GPU {self.gpu}: copy one to where the other is"
            )

    def join_streams(self, arrays):
        """Return the stream of the first array that has one, which waits for those of the others."""
        numbers = list(dict.fromkeys(n for n in map(stream_of, arrays) if n))
        if not numbers:
            return 0
        streams = [self.cuda.external_stream(n) for n in numbers]
        for other in streams[1:]:
            event = self.cuda.event(timing=False)
            event.record(other)
            event.wait(streams[0])
        return streams[0]

    def build(self, *classes):
        return toolkit().drivers.build(stamp(*classes))

    def launch(self, kernel, count, *arguments):
        """Run a kernel with a thread for each of ``count``, or several for one thread."""
        threads, blocks = toolkit().drivers.THREADS, toolkit().drivers.BLOCKS
        if count:
            kernel[min(-(-count // threads), blocks), threads, self.stream](*arguments)

    # Arrays in.

    def adopt(self, x, name):
        """Return an argument as an array on the GPU, and its dtype; bfloat16 as its bits."""
        if on_device(x):
            if self.host:
                raise ValueError(f"{name} is on the GPU and logits are not: copy one to where the other is")
            self.refuse_elsewhere(x, name)
            return viewed(x)
        x = np.asarray(x)
        if not self.host and x.ndim:
            raise ValueError(f"{name} is not on the GPU and logits are: copy one to where the other is")
        if x.dtype.kind not in "biuf" and x.dtype.name != "bfloat16":
            raise TypeError(f"{name} must be real numbers, got {x.dtype}")
        plain = x.view(BITS) if x.dtype.name == "bfloat16" else x.astype(x.dtype.newbyteorder("="), copy=False)
        plain = np.ascontiguousarray(plain).reshape(x.shape)
        plain = plain.astype(np.uint8) if x.dtype.kind == "b" else plain
        return self.cuda.to_device(plain, stream=self.stream), x.dtype.newbyteorder("=")

    def empty(self, shape, dtype):
        """Return a new array on the GPU."""
        return self.cuda.device_array(shape, dtype, stream=self.stream)

    def converted(self, x, dtype, given, shape=None):
        """Return an array as a contiguous one of a dtype, itself if it is one; ``given`` is its dtype."""
        shape = tuple(x.shape if shape is None else shape)
        if given == dtype and shape == tuple(x.shape) and is_contiguous(x):
            return x
        if is_bfloat16(given):
            bits = self.empty(math.prod(shape), np.uint32)
            self.launch(self.drivers.from_bfloat16, bits.size, four_axes(x, shape), bits)
            x = bits.view(NARROW).reshape(shape)
            if dtype == NARROW:
                return x
        target = self.empty(math.prod(shape), dtype)
        self.launch(self.drivers.copy, target.size, four_axes(x, shape), target)
        return target.reshape(shape)

    def as_logits(self, logits, rows):
        x, given = self.adopt(logits, "logits")
        if given.kind not in "biuf" and not is_bfloat16(given) or given.kind == "f" and given.itemsize > 8:
            raise TypeError(f"logits must be float16, bfloat16, float32, float64 or integers, got {given}")
        if rows and (x.ndim == 0 or x.shape[x.ndim - 1] == 0):
            raise ValueError(f"logits must have shape (..., C) with C >= 1, got {tuple(x.shape)}")
        if given.kind in "biu":
            return self.converted(x, WIDE, given), WIDE
        if given.itemsize == 2 and is_contiguous(x):
            return x, given
        return self.converted(x, NARROW if given.itemsize == 2 else given, given), given

    def wide_logits(self):
        """Return the logits as the drivers of ``entries`` take them: 16-bit numbers as float32."""
        if self.logits.dtype.itemsize > 2:
            return self.logits
        if self.widened is None:
            self.widened = self.converted(self.logits, NARROW, self.dtype)
        return self.widened

    def as_real(self, x, name):
        x, given = self.adopt(x, name)
        if given.kind not in "biuf" and not is_bfloat16(given):
            raise TypeError(f"{name} must be real numbers, got {given}")
        return self.converted(x, WIDE, given)

    # Arrays out.

    def place(self, out, shape, flat):
        if out is not None:
            self.check_out(out, shape)
        storage = BITS if is_bfloat16(self.dtype) else self.dtype
        array = self.empty(shape, storage) if out is None or self.host else viewed(out)[0]
        direct = self.dtype.itemsize > 2 or self.direct()
        buffer = array.reshape(flat) if direct and is_contiguous(array) else self.empty(flat, self.wide_storage())
        return Result(array, out), buffer

    def wide_storage(self):
        """Return the dtype in which results are computed that do not go where they belong at once."""
        return WIDE if self.dtype.itemsize < 4 else self.dtype

    def finish(self, result, buffer):
        array = result.array
        if not overlap(array, buffer) and array.size:
            self.deliver(buffer.reshape(buffer.size), array)
        if not self.host:
            return array if result.given is None else result.given
        back = array.copy_to_host(stream=self.stream)
        if self.stream:
            self.stream.synchronize()
        back = back.view(self.dtype) if is_bfloat16(self.dtype) else back
        if result.given is None:
            return back if back.ndim else back[()]
        result.given[...] = back
        return result.given

    def deliver(self, buffer, array):
        """Copy numbers to where they belong, rounded once."""
        if is_bfloat16(self.dtype):
            bits = self.empty(buffer.size, BITS)
            self.launch(self.drivers.to_bfloat16, bits.size, buffer, bits)
            buffer = bits
        self.launch(self.drivers.copy_out, buffer.size, buffer, four_axes(array, array.shape))

    # Drivers.

    def direct(self):
        """Whether the driver writes results of 16 bits itself."""
        return False

    def room(self, rows, classes):
        """Return how many threads work on rows, and what they work in."""
        drivers = toolkit().drivers
        most = max(ROOM_BYTES // (8 * drivers.ROOM * classes), 1)
        threads = min(rows, most, drivers.THREADS * drivers.BLOCKS)
        slots = -(-threads // drivers.THREADS) * drivers.THREADS
        return threads, (self.empty((drivers.ROOM, classes, slots), WIDE),)

    def spread(self, driver, shared, arrays):
        """Run a driver with a thread for each logit or row, the first of the arrays says which, in room of its own."""
        count, *classes = arrays[0].shape
        threads, room = self.room(count, *classes) if classes else (count, ())
        self.launch(driver, threads, *shared, *arrays, *room)

    def one_block(self, kernel, *arguments):
        """Run a kernel whose threads add up something together."""
        kernel[1, toolkit().drivers.SUMMERS, self.stream](*arguments)


class VerbOnDevice(OnDevice):
    """What a call of a verb does otherwise on a GPU."""

    def __init__(self, loss, logits, labels, weight, upstream, reduction, normalized, precision):
        self.native, self.wanted = precision == "native", ()
        arrays = (logits, labels, weight, upstream)
        super().__init__(arrays, loss, *arrays, reduction, normalized)

    def build(self):
        return super().build(*self.prepared.classes)

    def as_weights(self, x, name, shape):
        x, given = self.adopt(x, name)
        if given.kind not in "biuf" and not is_bfloat16(given):
            raise TypeError(f"{name} must be real numbers, got {given}")
        as_weights(np.broadcast_to(0.0, tuple(x.shape)), name, shape)  # raises what it raises on the CPU
        return self.converted(x, WIDE, given, shape).reshape(math.prod(shape))

    # Checks: each is a kernel that leaves the first index of what it looks for.

    def answers(self, count, *checks):
        """Return what checks found: the least index of each kind, or -1."""
        found = self.empty(3, np.int64)
        self.launch(self.drivers.fill_all, 3, found, 2**62)
        for kernel, *arguments in checks:
            self.launch(kernel, count, *arguments, found)
        result = found.copy_to_host(stream=self.stream)
        if self.stream:
            self.stream.synchronize()
        return [-1 if index == 2**62 else int(index) for index in result]

    def entry(self, x, index):
        """Return one entry of an array as a number."""
        return x.reshape(x.size)[index : index + 1].copy_to_host()[0]

    def check_predictions(self, z, prepared):
        legal = prepared.predictions
        if legal == REAL:
            return
        high = math.nextafter(legal.high, -math.inf) if legal.high_open else legal.high
        x = self.converted(z, NARROW, self.dtype) if z.dtype.itemsize == 2 else z
        index, _, _ = self.answers(z.size, (self.drivers.find_outside, x.reshape(x.size), legal.low, high))
        if index >= 0:
            raise illegal("logits", index, z.shape, self.entry(x, index), f"in {legal}")

    def as_labels(self, labels, z, prepared, normalized):
        y, given = self.adopt(labels, "labels")
        if given.kind not in "biuf" and not is_bfloat16(given):
            raise TypeError(f"labels must be real numbers, got {given}")
        shape = tuple(z.shape)
        if prepared.rows and tuple(y.shape) == shape[:-1]:
            return self.as_classes(y, given, shape[-1])
        if tuple(y.shape) != shape:
            expected = f"{shape[:-1]} or {shape}" if prepared.rows else f"{shape}"
            raise ValueError(
                f"labels of shape {tuple(y.shape)} do not fit logits of shape {shape}: expected {expected}"
            )
        narrow = given.kind in "biu" or given.itemsize <= self.dtype.itemsize
        y = self.converted(y, NARROW if narrow and self.dtype != WIDE else WIDE, given)
        flat = y.reshape(y.size)
        checks = [(self.drivers.find_illegal_probability, flat, prepared.binary)]
        if prepared.rows:
            rows = y.reshape(math.prod(shape[:-1]), shape[-1])
            if normalized:
                tolerance = 0.0 if given.kind in "biu" else math.sqrt(precision_of(given, is_bfloat16(given)))
                checks.append((self.drivers.find_unnormalized_row, rows, tolerance))
        outside, between, row = self.answers(y.size, *checks)
        if outside >= 0:
            legal = "0 or 1" if prepared.binary else "in [0, 1]"
            raise illegal("labels", outside, shape, self.entry(y, outside), legal)
        if row >= 0:
            raise unnormalized(row, shape[:-1], rows[row : row + 1].copy_to_host().sum(dtype=WIDE))
        if prepared.rows:
            return rows, False, None
        return flat, between < 0, None

    def as_classes(self, y, given, classes):
        """Return integer classes, checked, that they are hard, and which are absent (or ``None``)."""
        count = y.size
        if given.kind in "iu" and given.itemsize in (4, 8) and is_contiguous(y):
            whole = y.reshape(count)
            outside, _, _ = self.answers(count, (self.drivers.find_illegal_class, whole, classes))
            fraction = absent = -1
        else:
            y = self.converted(y, WIDE, given)
            whole, missing = self.empty(count, np.int64), self.empty(count, np.uint8)
            check = (self.drivers.find_classes, y.reshape(count), classes, whole, missing)
            outside, fraction, absent = self.answers(count, check)
        if fraction >= 0:
            raise illegal("labels", fraction, y.shape, self.entry(y, fraction), "an integer class")
        if outside >= 0:
            raise illegal("labels", outside, y.shape, self.entry(whole, outside), f"in [0, {classes})")
        return whole, True, missing if absent >= 0 else None

    def forget(self, absent):
        weights = self.empty(absent.size, WIDE)
        self.launch(self.drivers.forget, absent.size, absent, self.weights, weights)
        self.weights = weights

    def reciprocal_of_weights(self):
        result = self.empty(1, WIDE)
        self.one_block(self.drivers.reciprocal, self.weights, result)
        return result

    # Arrays out.

    def check_out(self, out, shape):
        if self.host:
            super().check_out(out, shape)
            return
        if not on_device(out):
            raise ValueError("out is not on the GPU and logits are: copy one to where the other is")
        self.refuse_elsewhere(out, "out")
        array, dtype = viewed(out)
        same = dtype == self.dtype or (is_bfloat16(dtype) and is_bfloat16(self.dtype))
        if tuple(array.shape) != tuple(shape) or not same:
            found = f"{tuple(array.shape)} and {dtype}"
            raise ValueError(f"out must be an array of shape {tuple(shape)} and {self.dtype}, got {found}")
        if getattr(out, "__cuda_array_interface__", {"data": (0, False)})["data"][1]:
            raise ValueError("out is read-only")
        self.move_aside(array)

    def move_aside(self, out):
        if not self.host:
            super().move_aside(out)

    def aside(self, out, x):
        if out is None or self.host or not overlap(viewed(out)[0], x):
            return x
        copy = self.empty(x.size, x.dtype)
        self.launch(self.drivers.copy, x.size, four_axes(x.reshape(x.size), (x.size,)), copy)
        return copy.reshape(x.shape)

    def times(self, x, y):
        y = y.reshape(y.size)
        target = self.empty(y.size, WIDE)
        self.launch(self.drivers.products, y.size, x, y, target)
        return target

    def finish_values(self, result, buffer):
        if self.reduction == "none":
            return self.finish(result, buffer)
        return self.finish_sum(result, buffer, averaged=True)

    def finish_sum(self, given, column, averaged):
        """Return the sum of a column of results, or their mean if the reduction is one."""
        weighted = averaged and self.reduction == "weighted_mean" and self.weights is not None
        count = float(self.batch_size) if averaged and self.reduction != "sum" else 1.0
        total = self.empty(1, WIDE)
        self.one_block(self.drivers.mean, column, self.weights if weighted else None, count, total)
        if given is None:
            given = Result(self.empty((), BITS if is_bfloat16(self.dtype) else self.dtype), None)
        elif not isinstance(given, Result):
            array = self.empty((), BITS if is_bfloat16(self.dtype) else self.dtype) if self.host else viewed(given)[0]
            given = Result(array, given)
        return self.finish(given, total)

    # Drivers.

    def direct(self):
        """Whether the driver writes results of 16 bits itself."""
        return (
            bool(self.wanted) and 2 not in self.wanted and self.prepared.rows and self.labels.ndim == 1 and self.quick()
        )

    def quick(self):
        return self.prepared.sparse

    def run(self, driver, *outputs):
        prepared = self.prepared
        shared = (self.kernel, self.class_weight(), self.factor) if prepared.rows else (self.kernel, self.factor)
        self.spread(driver, shared, (self.wide_logits(), self.labels, self.weights, self.upstream, *outputs))

    def class_weight(self):
        """Return the weights of the classes on the GPU, or ``None``."""
        given = self.prepared.class_weight
        return None if given is None else self.cuda.to_device(given, stream=self.stream)

    def quick_masses(self):
        return False  # such rows are shared by threads, or take the general driver

    def in_lanes(self):
        return False

    def rows_driver(self):
        return self.drivers.rows

    def derive_hard(self, values, gradient):
        exact = self.weights is not None or self.upstream is not None
        native = (self.native and self.dtype == NARROW) or (self.dtype.itemsize == 2 and not exact)
        self.share(self.drivers.hard_rows_native if native else self.drivers.hard_rows, values, gradient)

    def derive(self, values, gradient, hessian):
        if self.shared():
            self.choose_precision(values, gradient, hessian)
            tempered = self.prepared.contract == "tempered"
            self.share(self.drivers.tempered_rows if tempered else self.drivers.softmax_rows, values, gradient, hessian)
        else:
            super().derive(values, gradient, hessian)

    def shared(self):
        """Whether threads share a row's classes, though its labels may be anything."""
        quick = self.labels.ndim == 1 and self.quick() and 2 not in self.wanted
        counts = any(getattr(part, "counts_positive", False) for part in self.prepared.classes)  # of a whole row
        return self.prepared.contract in ("classwise", "tempered") and not quick and not counts

    def share(self, driver, *outputs):
        """Run a driver whose rows have one thread, a few or many, by the number of classes."""
        drivers, n = toolkit().drivers, self.classes
        width = 1 if n <= drivers.ALONE else drivers.WARP if n < drivers.LONG else drivers.SHARED
        height = max(drivers.THREADS // width, 1)
        blocks = min(-(-self.batch_size // height), drivers.BLOCKS)
        arrays = (self.logits, self.labels, self.weights, self.upstream, *outputs)
        if blocks:
            driver[blocks, (width, height), self.stream](self.kernel, self.class_weight(), self.factor, *arrays)

    def derive_in_parameters(self, columns):
        slopes, of_classes = self.empty((self.batch_size, columns), WIDE), None
        arrays = (self.wide_logits(), self.labels, self.weights, self.upstream)
        if not self.prepared.rows:
            threads = min(self.batch_size, toolkit().drivers.THREADS * toolkit().drivers.BLOCKS)
            lost = self.empty((threads + toolkit().drivers.THREADS, columns), WIDE)
            self.launch(self.drivers.pointwise_in_parameters, threads, self.kernel, self.factor, *arrays, slopes, lost)
        else:
            threads, room = self.room(self.batch_size, self.classes)
            if columns:
                lost = self.empty((threads + toolkit().drivers.THREADS, columns), WIDE)
                shared = (self.kernel, self.class_weight(), self.factor)
                self.launch(self.drivers.rows_in_parameters, threads, *shared, *arrays, slopes, *room, lost)
            if self.prepared.class_weight is not None:
                of_classes = self.empty((self.batch_size, self.classes), WIDE)
                shared = (self.kernel, self.factor)
                self.launch(self.drivers.rows_in_class_weights, threads, *shared, *arrays, of_classes, *room)
        return [self.column(slopes, k) for k in range(columns)], of_classes

    def column(self, x, k):
        """Return a column of a matrix, side by side."""
        rows, columns = x.shape
        strided = restrided(x[:, k : k + 1], (rows,), (8 * columns,)) if rows else x.reshape(0)
        return self.converted(strided, WIDE, WIDE) if columns > 1 and rows > 1 else strided

    def finish_slopes(self, column, out):
        tail = tuple(column.shape[1:])
        if self.reduction == "none":
            shape = (*self.batch, *tail)
            result, _ = self.place(out, shape, (math.prod(shape),))
            return self.finish(result, column)
        if not tail:
            if out is not None:
                self.check_out(out, ())
            return self.finish_sum(out, column, averaged=False)
        sums = self.empty(tail, WIDE)
        for k in range(tail[0]):
            self.one_block(self.drivers.mean, self.column(column, k), None, 1.0, sums[k : k + 1])
        result, _ = self.place(out, tail, tail)
        return self.finish(result, sums)

"""Named arrays in files that any language reads: .npz, .safetensors, .json and .txt, all with the same bits.

docs/vectors.md describes the last two, which are ours.
"""

import json
import math
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np

from ..arrays import rounded

HEAD = "reflosses vectors 1"  # the first words of the two forms that are ours
DTYPES = "float16", "bfloat16", "float32", "float64", "int64"


class VectorsError(Exception):
    """Why a file of arrays is of no use, in one sentence."""


def read(path):
    """Return the arrays of a file by their names; its ending says what form it has.

    Raises
    ------
    VectorsError
        With one sentence, if the file is not there, not whole or not of this form.
    """
    path = Path(path)
    form = _form(path)
    try:
        arrays = form.read(path)
    except OSError as error:
        raise VectorsError(f"cannot read {path.name}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise VectorsError(f"cannot read {path.name}: it is no text") from None
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES or not array.dtype.isnative:
            raise VectorsError(f"{name} in {path.name} has the dtype {array.dtype}, not {_choice(DTYPES)}")
    return arrays


def write(path, arrays):
    """Write arrays by their names into a file; its ending says in what form."""
    _form(Path(path)).write(Path(path), arrays)


def _form(path):
    if path.suffix not in FORMS:
        raise VectorsError(f"cannot read {path.name}: its name must end in {_choice(FORMS)}")
    return FORMS[path.suffix]


def _choice(names):
    *most, last = names
    return f"{', '.join(most)} or {last}"


# The forms --------------------------------------------------------------------------------------


class Npz:
    """NumPy's archive, which knows no bfloat16: such numbers are float32 there."""

    @staticmethod
    def write(path, arrays):
        made = {name: x.astype(np.float32) if x.dtype == ml_dtypes.bfloat16 else x for name, x in arrays.items()}
        np.savez_compressed(path, **made)

    @staticmethod
    def read(path):
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (ValueError, EOFError, AttributeError, zipfile.BadZipFile, zipfile.zlib.error):
            raise VectorsError(f"{path.name} is no .npz file, or not a whole one") from None


TENSORS = dict(zip(("F16", "BF16", "F32", "F64", "I64"), map(np.dtype, DTYPES), strict=True))


class Safetensors:
    """Hugging Face's format, which Rust, C++ and JavaScript read too."""

    @staticmethod
    def write(path, arrays):
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)

    @staticmethod
    def read(path):
        from safetensors import SafetensorError, deserialize

        try:
            found = dict(deserialize(path.read_bytes()))
        except (SafetensorError, ValueError):
            raise VectorsError(f"{path.name} is no .safetensors file, or not a whole one") from None
        arrays = {}
        for name, x in found.items():
            if x["dtype"] not in TENSORS:
                raise VectorsError(f"{name} in {path.name} has the dtype {x['dtype']}, not {_choice(list(TENSORS))}")
            arrays[name] = np.frombuffer(bytearray(x["data"]), TENSORS[x["dtype"]]).reshape(x["shape"])
        return arrays


class Json:
    """JSON whose floating-point numbers are hexadecimal, so that no reader can round them."""

    @staticmethod
    def write(path, arrays):
        made = {
            name: {"dtype": x.dtype.name, "shape": list(x.shape), "data": [_spelled(v) for v in x.ravel().tolist()]}
            for name, x in arrays.items()
        }
        path.write_text(json.dumps({"format": HEAD, "arrays": made}, indent=0), encoding="utf-8")

    @staticmethod
    def read(path):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise VectorsError(f"{path.name}, line {error.lineno}: this is no JSON, or not a whole file") from None
        try:
            if found["format"] != HEAD:
                raise VectorsError(f'{path.name} has the format {found["format"]!r}, not "{HEAD}"')
            return {
                name: _array(path, name, x["dtype"], x["shape"], x["data"]) for name, x in dict(found["arrays"]).items()
            }
        except (KeyError, TypeError, ValueError):
            message = f'{path.name} must hold {{"format": "{HEAD}", "arrays": {{name: {{"dtype", "shape", "data"}}}}}}'
            raise VectorsError(message) from None


class Text:
    """Words with blanks between them, for languages without a reader of the others."""

    @staticmethod
    def write(path, arrays):
        with path.open("w", encoding="ascii") as file:
            file.write(f"{HEAD}\n")
            for name, x in arrays.items():
                file.write(f"array {name} {x.dtype.name} {x.ndim} {' '.join(map(str, x.shape))}\n")
                for row in x.reshape(len(x), -1).tolist():
                    file.write(" ".join(str(_spelled(v)) for v in row) + "\n")
            file.write(f"end {len(arrays)}\n")

    @staticmethod
    def read(path):
        words = _Words(path)
        if [words.next() for _ in HEAD.split()] != HEAD.split():
            raise words.error(f'the file must begin with "{HEAD}"')
        arrays: dict = {}
        while (word := words.next()) != "end":
            if word != "array":
                raise words.error(f'expected "array" or "end", got {word!r}')
            name, dtype = words.next(), words.next()
            if name in arrays:
                raise words.error(f"{name} is there twice")
            shape = [words.whole() for _ in range(words.whole(most=2))]
            arrays[name] = _array(path, name, dtype, shape, words.take(math.prod(shape)))
        if words.whole() != len(arrays):
            raise words.error(f"the file has {len(arrays)} arrays and says that it has {words.last}")
        return arrays


FORMS = {".npz": Npz, ".safetensors": Safetensors, ".json": Json, ".txt": Text}


class _Words:
    """The words of a file one after another; an error says in which line."""

    def __init__(self, path):
        self.path, self.line, self.last = path, 1, ""
        lines = path.read_text(encoding="utf-8").splitlines()
        self.words = ((i, word) for i, line in enumerate(lines, 1) for word in line.split())

    def next(self):
        try:
            self.line, self.last = next(self.words)
        except StopIteration:
            raise VectorsError(f"{self.path.name} is not whole: it ends before its end") from None
        return self.last

    def take(self, count):
        return [self.next() for _ in range(count)]

    def whole(self, most=2**31):
        word = self.next()
        if not word.isdecimal() or int(word) > most:
            raise self.error(f"expected a whole number up to {most}, got {word!r}")
        return int(word)

    def error(self, said):
        return VectorsError(f"{self.path.name}, line {self.line}: {said}")


# Numbers ----------------------------------------------------------------------------------------


def _array(path, name, dtype, shape, data):
    """Return an array of numbers that were read, every one as it stands there."""
    if dtype not in DTYPES:
        raise VectorsError(f"{name} in {path.name} has the dtype {dtype!r}, not {_choice(DTYPES)}")
    if len(data) != math.prod(shape):
        raise VectorsError(f"{name} in {path.name} has {len(data)} numbers, and the shape {tuple(shape)} needs others")
    read = int if dtype == "int64" else number
    try:
        numbers = [read(x) for x in data]
    except (TypeError, ValueError):
        wrong = next(x for x in data if not _is_number(x, read))
        raise VectorsError(f"{name} in {path.name} has {wrong!r} among its numbers") from None
    return rounded(np.array(numbers, np.int64 if read is int else np.float64), np.dtype(dtype)).reshape(shape)


def number(text):
    """Return a number that is written in hexadecimal or in decimal.

    >>> number("0x1.8p+1"), number("-2.5"), number("inf")
    (3.0, -2.5, inf)
    """
    return float.fromhex(text) if "x" in str(text).lower() else float(text)


def _is_number(x, read):
    try:
        read(x)
    except (TypeError, ValueError):
        return False
    return True


def _spelled(x):
    return x.hex() if isinstance(x, float) else x

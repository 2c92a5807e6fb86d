"""Audits without Python: frozen inputs and certified results in files, and a judge of results from files.

docs/vectors.md describes the files.
"""

import hashlib
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
from flint import arb, ctx

from ..oracle import PRECISIONS
from ..spelling import parse, spelled
from ..version import __version__
from .diagnose import samples
from .door import chosen, versions
from .findings import Finding
from .formats import FORMS, HEAD, VectorsError, read, write
from .grades import GOOD
from .judge import judge
from .measure import ulp
from .report import Report
from .rivals import Implementation
from .sentences import findings
from .truth import Batch, batches

MANIFEST = "manifest.json"
KEYS = "format", "loss", "made_by", "blocks", "groups", "sha256"
FACTORS = -2.0, 1.0, 4.0, -1.0, 2.0, -8.0, 8.0  # upstream gradients: multiplying by a power of 2 loses no bit
INPUTS = "logits", "labels", "upstream"
VERBS = "value", "gradient", "hessian_diagonal"


# Export -----------------------------------------------------------------------------------------


def export(loss, folder, dtypes=None):
    """Write the inputs of a loss's audit and their certified results into a folder, in all forms.

    Parameters
    ----------
    loss : NamedTuple
    folder : path
        It is made unless it is there; its files are overwritten.
    dtypes : sequence of dtype, optional
        By default float32 and float64.

    Returns
    -------
    list of Path
        The manifest and the files that it names.

    Raises
    ------
    ValueError
        If there is no such dtype.
    OSError
        If a file cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    blocks = {name: batch for dtype in chosen(dtypes) for name, batch in _named(loss, dtype)}
    groups = list(dict.fromkeys(name for batch in blocks.values() for name in batch.groups))
    arrays = {f"{name}/{key}": x for name, batch in blocks.items() for key, x in _arrays(batch, groups).items()}
    paths = [folder / f"vectors{suffix}" for suffix in FORMS]
    for path in paths:
        write(path, arrays)
    manifest = {
        "format": HEAD,
        "loss": spelled(loss, defaults=True),
        "made_by": {"reflosses": __version__, "python-flint": metadata.version("python-flint")},
        "blocks": {name: {"dtype": batch.logits.dtype.name, "real": batch.real} for name, batch in blocks.items()},
        "groups": groups,
        "sha256": {path.name: _digest(path) for path in paths},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return [folder / MANIFEST, *paths]


def _named(loss, dtype):
    """Yield the batches of a loss, and what a diagnosis asks, under the names of their blocks; every input once."""
    asked = [(batch, "digits" if batch.real else "") for batch in batches(loss, np.dtype(dtype))]
    asked += [(batch, f"samples-{i}") for i, batch in enumerate(_samples(loss, np.dtype(dtype)))]
    for batch, kind in asked:
        classes = f"{batch.logits.shape[1]}-classes" if batch.logits.ndim == 2 else "single"
        name = "-".join(filter(None, [dtype, classes, "soft" * batch.soft, kind]))
        rows = list({_key(z, y): i for i, (z, y) in enumerate(zip(batch.logits, batch.labels, strict=True))}.values())
        groups = [batch.groups[i] for i in rows]
        yield name, Batch(loss, batch.logits[rows], batch.labels[rows], groups, batch.ordinary[rows], batch.real)


def _samples(loss, dtype):
    """Return the inputs on which mistakes are told from each other."""
    for z, y in samples(loss):
        y = y if y.dtype.kind == "i" else y.astype(dtype)
        yield Batch(loss, z.astype(dtype), y, ["ordinary"] * len(z), np.ones(len(z), bool))


def _key(z, y):
    """Return what tells one input from all others, the sign of zeros included."""
    return np.asarray(z).tobytes(), np.asarray(y).tobytes()


def _arrays(batch, groups):
    """Return the arrays of a block."""
    u = _upstream(batch)
    made = {"logits": batch.logits, "labels": batch.labels, "upstream": u}
    for verb in filter(batch.certifies, VERBS):
        factor = _factor(verb, u, len(batch.shape(verb)))
        radius, tolerance = _bounds(batch, verb)
        with np.errstate(over="ignore"):
            made |= {
                verb: batch.truth(verb) * factor,
                f"{verb}_radius": radius * abs(factor),
                f"{verb}_tolerance": tolerance * abs(factor),
            }
    made["group"] = np.array([groups.index(name) for name in batch.groups])
    made["ordinary"] = batch.ordinary.astype(np.int64)
    return made


def _factor(verb, upstream, axes):
    """Return what results of so many axes are multiplied by: gradients alone are what a backward pass gives."""
    return upstream.astype(np.float64).reshape(-1, *[1] * (axes - 1)) if verb == "gradient" else np.float64(1.0)


def _upstream(batch):
    """Return an upstream gradient for every row: no two rows that follow each other have the same."""
    u = np.resize(FACTORS, len(batch.logits))
    with np.errstate(over="ignore"):
        largest = np.abs(batch.truth("gradient")).reshape(len(u), -1).max(axis=1)
        near = ~(largest < float(ml_dtypes.finfo(batch.logits.dtype).max) / max(FACTORS))  # to overflow
    return np.where(near, np.sign(u), u).astype(batch.logits.dtype)


def _bounds(batch, verb):
    """Return how far the truth may be from its float64, and how far a result of grade A from the truth."""
    found = []
    with ctx.workprec(PRECISIONS[-1]):
        for truth, near, terms in zip(batch.certified[verb], batch.truth(verb).ravel(), batch.terms[verb], strict=True):
            if np.isnan(near):  # which claims nothing
                found.append((np.nan, np.nan))
            elif np.isinf(near) or (truth == 0 and terms == 0):  # which are exact
                found.append((0.0, 0.0))
            else:
                unit = ulp(max(abs(truth), terms), batch.logits.dtype)
                found.append((_above(truth - arb(near)), GOOD * unit))
    return np.array(found).T.reshape(2, *batch.shape(verb))


def _above(x):
    """Return a float64 that is at least |x|."""
    bound = float(abs(x).upper())
    return bound if arb(bound) >= abs(x) else float(np.nextafter(bound, np.inf))


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Check ------------------------------------------------------------------------------------------


class Upstream(NamedTuple):
    """Something that people do with the upstream gradient instead of multiplying each row by its own."""

    name: str
    sentence: str
    link: str | None
    applied: Callable  # upstream gradients → what each row was multiplied by


MISTAKES = (
    Upstream("upstream-ignored", "The gradients ignore the upstream gradient.", None, np.ones_like),
    Upstream(
        "upstream-of-first-row",
        "Every gradient is multiplied by the upstream gradient of the first row.",
        "https://github.com/linkedin/Liger-Kernel/pull/1298",
        lambda u: np.full_like(u, u[0]),
    ),
    Upstream(
        "upstream-magnitude",
        "The gradients are multiplied by the size of the upstream gradient, without its sign.",
        None,
        np.abs,
    ),
)


def check(folder, results):
    """Judge results that any program computed from the inputs in a folder.

    Parameters
    ----------
    folder : path
        What ``export`` wrote.
    results : path
        A file in one of the same forms with the arrays BLOCK/value, and BLOCK/gradient of the value
        times the upstream gradient, and BLOCK/hessian_diagonal, of all blocks that have it; a dtype,
        soft labels, gradients or Hessians may be left out.

    Returns
    -------
    Report

    Raises
    ------
    VectorsError
        With one sentence, if a file is missing, not whole, or not what it should be.
    """
    loss, blocks = _load(Path(folder))
    found = read(results)
    _check_names(found, blocks, Path(results).name)
    verdicts = []
    for dtype in dict.fromkeys(batch.logits.dtype for batch, _ in blocks.values()):
        there = {name: x for name, x in blocks.items() if x[0].logits.dtype == dtype}
        if any(f"{name}/value" in found for name in there):
            verdicts.append(_judged(loss, there, found, Path(results)))
    return Report(tuple(verdicts), versions())


def _judged(loss, blocks, found, path):
    """Return the verdict on the results of one dtype."""
    soft = any(f"{name}/value" in found for name, (batch, _) in blocks.items() if batch.soft)
    verbs = [verb for verb in VERBS if verb == "value" or any(f"{name}/{verb}" in found for name in blocks)]
    gradient = "gradient" in verbs
    taken = {name: x for name, x in blocks.items() if soft or not x[0].soft}
    for name, (batch, _) in taken.items():
        for verb in filter(batch.certifies, verbs):
            _check(found, f"{name}/{verb}", batch.shape(verb), path.name)

    def judged(applied, explain=False):
        function = _recorded(taken, found, applied)
        given = [batch for batch, _ in taken.values()]
        dtype = given[0].logits.dtype
        rows = soft or not loss.targets.rows
        implementation = Implementation("", path.stem, type(loss), function, rows=rows, dtypes=(dtype.type,))
        return judge(implementation, loss, dtype, explain, given)

    verdict, said, applied = judged(np.positive), (), np.positive
    if verdict.grade > "B" and gradient:
        better, mistake = min(((judged(x.applied), x) for x in MISTAKES), key=lambda x: (x[0].grade, _share_off(x[0])))
        if _share_off(better) < _share_off(verdict) / 2:
            said = (Finding("mistake", *mistake[:3], 1 - _share_off(better), GOOD, verdict.example["gradient"]),)
            applied = mistake.applied
    verdict = verdict._replace(findings=said + judged(applied, explain=True).findings)
    return verdict._replace(findings=_placed(verdict, taken))


def _share_off(verdict):
    return verdict.measured["gradient"].share_off


def _placed(verdict, blocks):
    """Return what is wrong, with places in the files instead of lines to paste into Python."""
    found = [finding for group in findings([verdict]) for finding in group.findings]
    return tuple(x._replace(snippet=_place(x.example, blocks)) for x in found)


def _place(example, blocks):
    """Return where in the files an example is, and its inputs as they are written there."""
    for name, (batch, upstream) in blocks.items() if example else ():
        for i, row in enumerate(zip(batch.logits, batch.labels, upstream, strict=True)):
            if _key(*row[:2]) == _key(example.logits, example.labels):
                inputs = (f"{key} {_hexadecimal(x)}" for key, x in zip(INPUTS, row, strict=True) if np.size(x) <= 20)
                return (f"{name}, row {i}: {', '.join(inputs)}",)
    return ()


def _hexadecimal(x):
    return " ".join(v.hex() if isinstance(v, float) else str(v) for v in np.ravel(x).tolist())


def _recorded(blocks, found, applied):
    """Return the function that looks results up, and divides the gradients by what they were multiplied by."""
    known: dict = {}
    for name, (batch, upstream) in blocks.items():
        rows = {_key(z, y): i for i, (z, y) in enumerate(zip(batch.logits, batch.labels, strict=True))}
        results = []
        for verb in VERBS:
            factor = _factor(verb, applied(upstream), batch.logits.ndim).astype(batch.logits.dtype)
            x = found.get(f"{name}/{verb}")
            results.append(None if x is None else x.astype(batch.logits.dtype) / factor)
        known |= {key: [None if x is None else x[i] for x in results] for key, i in rows.items()}

    def function(loss, z, y):
        rows = [known[_key(*row)] for row in zip(z, y, strict=True)]
        shapes = z.shape[:1], z.shape, z.shape
        columns = zip(zip(*rows, strict=True), shapes, strict=True)
        return tuple(None if x[0] is None else np.array(x, z.dtype).reshape(shape) for x, shape in columns)

    return function


# What can be wrong with the files -----------------------------------------------------------------


def _load(folder):
    """Return the loss and the blocks of a folder, as name → (batch, upstream gradients)."""
    manifest = _manifest(folder)
    for name, digest in manifest["sha256"].items():
        path = folder / Path(name).name
        if not path.is_file():
            raise VectorsError(f"{name} is missing from {folder.name}")
        if _digest(path) != digest:
            raise VectorsError(f"{name} was changed: its SHA-256 is not that of {MANIFEST}")
    try:
        loss = parse(manifest["loss"])
    except ValueError as error:
        raise VectorsError(f"the loss in {MANIFEST}: {error}") from None
    arrays = read(folder / next(iter(manifest["sha256"])))
    blocks = {}
    for name, facts in manifest["blocks"].items():
        try:
            z, y, u, group, ordinary = (arrays[f"{name}/{key}"] for key in (*INPUTS, "group", "ordinary"))
            z, y, u = (x if x.dtype.kind == "i" else x.astype(facts["dtype"]) for x in (z, y, u))  # .npz: float32
            groups = [manifest["groups"][i] for i in group]
            batch = Batch(loss, z, y, groups, ordinary.astype(bool), facts["real"])
            _check_certified(batch, u, arrays, name)
        except (KeyError, IndexError, TypeError, ValueError):
            raise VectorsError(f"the block {name} in {folder.name} is not complete") from None
        blocks[name] = batch, u
    return loss, blocks


def _manifest(folder):
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise VectorsError(f"cannot read {MANIFEST} in {folder.name}: {error.strerror}") from None
    except ValueError:
        raise VectorsError(f"{MANIFEST} in {folder.name} is no JSON, or not a whole file") from None
    missing = [key for key in KEYS if not isinstance(manifest, dict) or key not in manifest]
    if missing or manifest["format"] != HEAD or not manifest["sha256"]:
        what = f"has no {missing[0]!r}" if missing else f"is not of the format {HEAD!r}"
        raise VectorsError(f"{MANIFEST} in {folder.name} {what}: was it written by reflosses vectors export?")
    return manifest


def _check_certified(batch, upstream, arrays, name):
    """Refuse a set whose results are not those of its inputs, whatever its digests say."""
    for verb in filter(batch.certifies, VERBS):
        truth = batch.truth(verb)
        factor = _factor(verb, upstream, truth.ndim)
        with np.errstate(over="ignore", invalid="ignore"):
            same = np.array_equal(arrays[f"{name}/{verb}"], truth * factor, equal_nan=True)
        if not same:
            raise VectorsError(f"{name}/{verb} is not the certified result of the inputs beside it")


def _check_names(found, blocks, file):
    known = [f"{name}/{verb}" for name, (batch, _) in blocks.items() for verb in filter(batch.certifies, VERBS)]
    strange = [name for name in found if name not in known]
    if strange:
        raise VectorsError(f"{file} has {strange[0]}, which is not asked for: {known[0]}, {known[1]}, … are")
    if not any(name.endswith("/value") for name in found):
        raise VectorsError(f"{file} has no values: {known[0]}, … are asked for")


def _check(found, name, shape, file):
    if name not in found:
        raise VectorsError(f"{file} has no {name}")
    if found[name].shape != shape:
        raise VectorsError(f"{name} in {file} has the shape {found[name].shape} where {shape} is expected")

"""Losses as people type them: ``sigmoid_focal(gamma=2, alpha=none)``."""

import ast
import contextlib
import re

from .api import prepare
from .domain import is_loss
from .losses import LOSSES

CONSTANTS = {"none": None, "inf": float("inf"), "nan": float("nan")}


def snake(loss_class):
    """Return the name of a loss class in snake_case.

    >>> from reflosses import CrossEntropy
    >>> snake(CrossEntropy)
    'cross_entropy'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", loss_class.__name__).lower()


def spelled(loss, defaults=False):
    """Return a loss as ``parse`` reads it, with or without the parameters that have their defaults.

    >>> spelled(parse("SigmoidFocal(alpha=None)"))
    'sigmoid_focal(alpha=none)'
    """
    fields = [
        f"{name}={spelled_value(value)}"
        for name, value in loss._asdict().items()
        if defaults or spelled_value(value) != spelled_value(loss._field_defaults.get(name))
    ]
    return snake(type(loss)) + (f"({', '.join(fields)})" if fields else "")


def spelled_value(value):
    """Return a parameter as ``parse`` reads it: a number, ``none``, a tuple of numbers or a loss."""
    if is_loss(value):
        return spelled(value)
    if value is None:
        return "none"
    if hasattr(value, "__len__"):
        return f"({', '.join(map(spelled_value, value))})"
    short = f"{value:.15g}"
    return short if float(short) == value or value != value else repr(float(value))


def find(name, losses=LOSSES):
    """Return the loss class of a name, in any capitalisation, with or without underscores.

    >>> find("sigmoid_focal") is find("SigmoidFocal")
    True
    """
    found = {_plain(loss.__name__): loss for loss in losses}.get(_plain(name))
    if found is None:
        raise ValueError(f"there is no loss {name!r}; choose from {', '.join(map(snake, losses))}")
    return found


def _plain(name):
    return name.replace("_", "").replace("-", "").lower()


def parse(text, losses=LOSSES):
    """Return the loss that a text such as ``label_smoothing(smoothing=0.1)`` names.

    Parameters may be left out, given in order or by name, and be numbers, ``none``, tuples of
    numbers or losses.

    Raises
    ------
    ValueError
        With one sentence, if the text cannot be read, or a name or a parameter is not legal.

    >>> parse("label_smoothing(cross_entropy, smoothing=0.2)").smoothing
    0.2
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"cannot read {text!r}: write a loss like sigmoid_focal(gamma=2, alpha=0.25)") from None
    loss = _read(node, losses)
    if not is_loss(loss):
        raise ValueError(f"{text!r} is no loss; choose from {', '.join(map(snake, losses))}")
    try:
        prepare(loss)
    except TypeError as error:
        raise ValueError(str(error)) from None
    return loss


def parse_values(text, losses=LOSSES):
    """Return the parameters that a text such as ``0, 0.5, none`` lists, as a tuple.

    Raises
    ------
    ValueError
        With one sentence, if the text cannot be read.

    >>> parse_values("none, 0.25")
    (None, 0.25)
    """
    try:
        node = ast.parse(f"[{text}]", mode="eval").body
    except SyntaxError:
        node = None
    if not isinstance(node, ast.List) or not node.elts:
        raise ValueError(f"cannot read {text!r}: write values with commas between them, like 0, 0.5, none")
    return _read(node, losses)


def _read(node, losses):
    if isinstance(node, ast.Name):
        return CONSTANTS[node.id.lower()] if node.id.lower() in CONSTANTS else find(node.id, losses)()
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_read(part, losses) for part in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _called(find(node.func.id, losses), node, losses)
    with contextlib.suppress(ValueError):
        value = ast.literal_eval(node)
        if value is None or isinstance(value, int | float):
            return value
    raise ValueError(f"cannot read {ast.unparse(node)!r}: expected a number, none or a loss")


def _called(loss_class, node, losses):
    given = [_read(part, losses) for part in node.args]
    named = {part.arg: _read(part.value, losses) for part in node.keywords}
    fields = loss_class._fields
    wrong = [name for name in named if name not in fields[len(given) :]]
    if wrong or len(given) > len(fields):
        what = f"parameter {wrong[0]!r}" if wrong else f"room for {len(given)} parameters"
        raise ValueError(f"{snake(loss_class)} has no {what}; it has {', '.join(fields)}")
    return loss_class(*given, **named)

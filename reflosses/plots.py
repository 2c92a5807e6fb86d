"""Curves of losses and of their derivatives; needs matplotlib, and keeps clear of pyplot and its state.

A loss of probabilities is drawn at those that the logits have, and derived in them.
A loss of single logits is drawn for y = 1 and for y = 0.  In a loss of rows one class varies among
others that are equal to each other, and the label is that class (target) or another one (non-target).
"""

import numpy as np

from . import api
from .dispatch import core
from .domain import REAL, is_loss, parameters, predictions
from .spelling import snake, spelled, spelled_value
from .transfer import log_t, predicted

__all__ = ["axes_of_figure", "curve", "draw", "family", "plot"]

VERBS = {"value": api.value, "gradient": api.gradient, "hessian": api.hessian_diagonal}
SYMBOLS = {"value": r"$\ell$", "gradient": r"$\partial\ell/\partial z$", "hessian": r"$\partial^2\ell/\partial z^2$"}
OVER = "logit", "probability"
CLASSES = 10  # of rows, unless the loss has one number for each
SPAN = 10.0  # logits beyond it add nothing to the picture
LEAST = 0.001  # probability: where log p is 7, so that its pole leaves room for the rest
COUNT = 401  # points of a curve, odd so that the logit 0 and the probability 1/2 are among them


def axes_of_figure(rows=1, columns=2, *, size=(4.2, 3.0), **options):
    """Return a new figure and an array of its axes, each of about a size in inches.

    ``options`` are those of ``Figure.subplots``.

    Raises
    ------
    ModuleNotFoundError
        With one sentence, if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        message = f"plots need {error.name}, which is not installed: pip install 'reflosses[plot]'"
        raise ModuleNotFoundError(message, name=error.name) from None
    figure = Figure(figsize=(size[0] * columns, 0.4 + size[1] * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


# Families ---------------------------------------------------------------------------------------


def family(loss, name=None, values=None):
    """Return a loss at several values of one parameter, as a list of losses.

    Parameters
    ----------
    loss : NamedTuple
    name : str, optional
        A field of the loss or, if it has no such field, of a loss within it; dots lead to a loss
        within, as in ``"loss.gamma"``.  By default the loss's first number.
    values : sequence, optional
        By default those at which the loss is tested.

    Raises
    ------
    ValueError
        If there is no such parameter.

    Examples
    --------
    >>> from reflosses import SigmoidFocal
    >>> [loss.gamma for loss in family(SigmoidFocal(), "gamma", [0, 5])]
    [0, 5]
    """
    if name is None:
        numbers = [x.name for x in parameters(type(loss)) if not x.per_class]
        if not numbers:
            return [loss]
        name = numbers[0]
    path = _path(loss, name)
    if path is None:
        raise ValueError(f"{snake(type(loss))} has no parameter {name!r}; it has {', '.join(_names(loss))}")
    if values is None:
        values = _tested(_at(loss, path[:-1]), path[-1])
    return [_replaced(loss, path, value) for value in values]


def _names(loss):
    """Return the names of a loss's fields, and with dots those of the losses within it."""
    names = list(loss._fields)
    for name, field in zip(loss._fields, loss, strict=True):
        names += [f"{name}.{inner}" for inner in _names(field)] if is_loss(field) else []
    return names


def _path(loss, name):
    """Return the fields that lead to a name, outermost first; None if nothing has that name."""
    paths = sorted((known.split(".") for known in _names(loss)), key=len)
    given = name.split(".")
    return next((path for path in paths if path[-len(given) :] == given), None)


def _at(loss, path):
    for name in path:
        loss = getattr(loss, name)
    return loss


def _replaced(loss, path, value):
    name, *rest = path
    return loss._replace(**{name: _replaced(getattr(loss, name), rest, value) if rest else value})


def _tested(loss, name):
    """Return the values of a field in the settings of a loss, numbers in order."""
    fields = [getattr(type(loss)(*setting), name) for setting in getattr(type(loss), "settings", ())]
    fields = [field for field in fields if not hasattr(field, "__len__")] or [getattr(loss, name)]
    return sorted(set(fields), key=lambda x: (x is not None, x))


# Curves -----------------------------------------------------------------------------------------


def curve(loss, what="value", *, over="logit", target=True, classes=None):
    """Return the points of one curve.

    Parameters
    ----------
    loss : NamedTuple
    what : {"value", "gradient", "hessian"}
        Derivatives are those in the logit that varies, whatever they are drawn over; those of a loss
        of probabilities are in the probability.
    over : {"logit", "probability"}
    target : bool
        Whether the label is 1, or the class that varies.
    classes : int, optional
        Of a loss of rows.  By default as many as it has class weights, or 10.

    Returns
    -------
    x, y : ndarray

    Raises
    ------
    ValueError
        For a ``what``, ``over`` or number of classes that there is not.

    Examples
    --------
    >>> from reflosses import BinaryCrossEntropy
    >>> p, slope = curve(BinaryCrossEntropy(), "gradient", over="probability")
    >>> bool(np.allclose(slope, p - 1))
    True
    """
    if what not in VERBS or over not in OVER:
        raise ValueError(
            f"there is no curve of {what!r} over {over!r}: of {', '.join(VERBS)}, over {' or '.join(OVER)}"
        )
    n = _classes(loss, classes)
    x, z = _abscissae(loss, over, n)
    if not loss.targets.rows:
        return x, VERBS[what](loss, predicted(loss, z), np.full(z.shape, float(target)))
    logits = np.zeros((len(z), n))
    logits[:, 0] = z
    result = VERBS[what](loss, predicted(loss, logits), np.full(len(z), 0 if target else 1))
    return x, result if what == "value" else result[:, 0]


def _classes(loss, given):
    if not loss.targets.rows:
        if given is not None:
            raise ValueError(f"{snake(type(loss))} is a loss of single logits: it has no number of classes")
        return 2
    if given is not None and not given >= 2:
        raise ValueError(f"a class and another one make at least 2 classes, got {given!r}")
    return given or _class_weights(loss) or CLASSES


def _class_weights(loss):
    """Return the length of a field with one number for each class, of a loss or one within it, or None."""
    fields = [field for field in loss if hasattr(field, "__len__")]
    return next(filter(None, (_class_weights(field) if is_loss(field) else len(field) for field in fields)), None)


def _abscissae(loss, over, n):
    """Return where a curve is drawn, and the logits there."""
    if over == "logit":
        z = np.linspace(-SPAN, SPAN, COUNT)
        return z, z
    # closer at the ends, where derivatives bend
    p = LEAST + (1 - 2 * LEAST) * np.sin(np.linspace(0, np.pi / 2, COUNT)) ** 2
    t = float(getattr(core(loss), "t2", 1.0))  # the temperature of its softmax, if it has one
    return p, log_t(p, t) - log_t((1 - p) / (n - 1), t)


# Pictures ---------------------------------------------------------------------------------------


def draw(axes, losses, what="value", *, over="logit", target=True, classes=None):
    """Draw the curves of some losses, with their labels, into matplotlib axes.

    The curves get thinner, so that one behind another is seen.
    """
    from matplotlib import colormaps

    colours = colormaps["viridis"](np.linspace(0.0, 0.9, len(losses)))
    widths = np.linspace(3.0, 1.2, len(losses)) if len(losses) > 1 else [1.8]
    for loss, label, colour, width in zip(losses, _labels(losses)[1], colours, widths, strict=True):
        axes.plot(*curve(loss, what, over=over, target=target, classes=classes), color=colour, lw=width, label=label)
    axes.grid(alpha=0.3)


def plot(losses, what="value", *, over="logit", classes=None):
    """Return a figure of some losses and their derivatives, a row for each and two panels in a row.

    Parameters
    ----------
    losses : NamedTuple or list of them
        All of single logits or all of rows.
    what : {"value", "gradient", "hessian"} or a sequence of these
        The gradient and the diagonal of the Hessian are those in the logit that varies.
    over : {"logit", "probability"}
    classes : int, optional
        Of losses of rows.  By default as many as they have class weights, or 10.

    Returns
    -------
    matplotlib.figure.Figure
        To be shown by a notebook, or saved by its ``savefig``.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError, ValueError
        For losses, a ``what``, an ``over`` or a number of classes that cannot be drawn.

    Examples
    --------
    >>> from reflosses import SigmoidFocal
    >>> figure = plot(family(SigmoidFocal(), "gamma", [0, 1, 2, 5]), ["value", "gradient"], over="probability")
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['y = 1', 'y = 0']
    """
    losses = [losses] if is_loss(losses) else list(losses)
    for loss in losses:
        api.prepare(loss)  # refuses illegal parameters
    rows, places = {loss.targets.rows for loss in losses}, {predictions(loss) == REAL for loss in losses}
    if len(rows) != 1:
        raise ValueError("a figure takes losses of single logits or losses of rows, and at least one")
    whats = [what] if isinstance(what, str) else list(what)
    figure, panels = axes_of_figure(len(whats), sharex=True, sharey="row")
    for row, verb in zip(panels, whats, strict=True):
        for axes, target in zip(row, (True, False), strict=True):
            draw(axes, losses, verb, over=over, target=target, classes=classes)
        row[0].set_ylabel(SYMBOLS[verb] if places == {True} else SYMBOLS[verb].replace("z", "p"))
    titles, place = ("y = 1", "y = 0"), ""
    if rows.pop():
        n = {_classes(loss, classes) for loss in losses}
        titles = "target", "non-target"
        place = f" of one class, the other {max(n) - 1} equal" if len(n) == 1 else " of one class, the others equal"
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title)
    figure.supxlabel(over + place, fontsize="medium")
    title, labels = _labels(losses)
    figure.suptitle(title)
    if any(labels):
        figure.set_figwidth(figure.get_figwidth() + 0.7 + 0.08 * max(map(len, labels)))  # beside the panels
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _labels(losses):
    """Return a title, what the losses have in common, and for each of them a label, what it has not."""
    if len({type(loss) for loss in losses}) > 1:
        return "", [spelled(loss) for loss in losses]
    if len(losses) == 1:
        return spelled(losses[0]), [""]
    common, apart = _compared(losses)
    return ", ".join([snake(type(losses[0])), *common]), [", ".join(fields) for fields in apart]


def _compared(losses, prefix=""):
    """Return the fields that are the same in all losses of one class, and for each loss the others."""
    common, apart = [], [[] for _ in losses]
    for name, fields in zip(losses[0]._fields, zip(*losses, strict=True), strict=True):
        texts = [f"{prefix}{name} = {spelled_value(field)}" for field in fields]
        if len(set(texts)) == 1:
            common.append(texts[0])
        elif len({type(field) for field in fields}) == 1 and is_loss(fields[0]):
            inner, others = _compared(fields, f"{prefix}{name}.")
            common += [f"{prefix}{name} = {snake(type(fields[0]))}", *inner]
            apart = [own + more for own, more in zip(apart, others, strict=True)]
        else:
            apart = [[*own, text] for own, text in zip(apart, texts, strict=True)]
    return common, apart

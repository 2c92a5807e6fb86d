"""Names of a package that are imported when they are first asked for: they need other libraries."""

from importlib import import_module


def attributes(package, homes, extra):
    """Return the ``__getattr__`` of a package, whose names live in modules of its own.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : dict
        Name → module.
    extra : str
        What to install where a library is missing.

    Examples
    --------
    >>> attributes("reflosses", {"value": "api"}, "audit")("value").__name__
    'value'
    """

    def get(name):
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(import_module(f".{homes[name]}", package), name)
        except ModuleNotFoundError as error:
            message = f"{package}.{name} needs {error.name}, which is not installed: pip install 'reflosses[{extra}]'"
            raise ModuleNotFoundError(message, name=error.name) from None

    return get

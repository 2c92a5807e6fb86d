"""How a command ends when something is wrong with what it was given."""

import click

from ..spelling import parse


def sentence(message):
    """Return the error that ends a command with one sentence and exit status 2."""
    return click.UsageError(message)


def loss_named(text, read=parse):
    """Return the loss, or with ``find`` the class, that a text names."""
    try:
        return read(text)
    except ValueError as error:
        raise sentence(str(error)) from None

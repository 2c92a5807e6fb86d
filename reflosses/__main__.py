"""The command line: ``reflosses audit | vectors | list | show | eval | plot``."""

import sys

try:
    import click
    import flint  # noqa: F401  the oracle's arithmetic
    import ml_dtypes  # noqa: F401
    import rich  # noqa: F401
except ModuleNotFoundError as error:
    sys.exit(f"the command line needs {error.name}, which is not installed: pip install 'reflosses[audit]'")

from .commands.audit import audit
from .commands.plot import plot
from .commands.show import evaluate, list_losses, show
from .commands.vectors import vectors
from .version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main():
    """Reference classification losses, and an audit of everybody's."""


for command in audit, vectors, list_losses, show, evaluate, plot:
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="reflosses")

"""Sphinx: ``pip install '.[docs]' && sphinx-build docs docs/_build``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from reflosses import LOSSES, __version__

project = "reflosses"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
napoleon_custom_sections = ["Definition", "Derivation", "Accuracy"]
autodoc_default_options = {"members": True, "member-order": "bysource"}
html_theme = "alabaster"


def _write_losses():
    """Write a page with every loss of the one list."""
    page = ["# The losses\n"]
    for loss in LOSSES:
        page.append(
            f"\n## {loss.__name__}\n\n```{{eval-rst}}\n"
            f".. autoclass:: {loss.__module__}.{loss.__name__}\n   :no-members:\n```\n"
        )
    (Path(__file__).parent / "losses.md").write_text("".join(page), encoding="utf-8")


_write_losses()


def setup(app):
    """Show the bars of an absolute value, which otherwise name a substitution, and nothing of scikit-learn's."""

    def escape(app, what, name, thing, options, lines):
        lines[:] = [line.replace("|", r"\|") for line in lines]

    def skip(app, what, name, thing, skipped, options):
        return skipped or name.endswith("_request")  # whose texts refer to its own pages

    app.connect("autodoc-process-docstring", escape)
    app.connect("autodoc-skip-member", skip)

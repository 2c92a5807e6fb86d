"""Settings of the whole suite."""

import pytest
from hypothesis import settings

from reflosses.domain import is_loss

# The same examples in every run: a run that fails fails again. `--hypothesis-profile=search` looks further.
settings.register_profile("repeat", derandomize=True, max_examples=25, deadline=None, database=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile("repeat")


def pytest_collection_modifyitems(items):
    """Keep all tests of a loss in one process, so that no loss is compiled in two."""
    for item in items:
        for parameter in item.callspec.params.values() if hasattr(item, "callspec") else ():
            loss = parameter if is_loss(parameter) else getattr(parameter, "loss", parameter)
            kind = loss if isinstance(loss, type) else type(loss)
            if hasattr(kind, "targets"):
                item.add_marker(pytest.mark.xdist_group(kind.__name__))
                break

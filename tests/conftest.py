"""Settings of the whole suite."""

from hypothesis import settings

# The same examples in every run: a run that fails fails again. `--hypothesis-profile=search` looks further.
settings.register_profile("repeat", derandomize=True, max_examples=25, deadline=None, database=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile("repeat")

"""Settings of the whole suite."""

import gc
import os
import re
from functools import partial

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# The same examples in every run: a run that fails fails again. `--hypothesis-profile=search` looks further.
settings.register_profile("repeat", derandomize=True, max_examples=25, deadline=None, database=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile("repeat")


def pytest_addoption(parser):
    """Let the tests of verbs run on a GPU, or on a simulated one."""
    help = "where the verbs compute, in the tests that are named or those of the device"
    parser.addoption("--device", choices=("cuda", "simulator"), help=help)


class There:
    """A transfer function, and its derivatives, with a device."""

    def __init__(self, function, device):
        self.function, self.device = function, device

    def __call__(self, *arguments):
        return self.function(*arguments, device=self.device)

    def __getattr__(self, name):
        return partial(getattr(self.function, name), device=self.device)


def pytest_configure(config):
    """Give every verb and transfer function the device that was asked for, before any test imports one."""
    device = config.getoption("device")
    if device == "simulator":
        os.environ["NUMBA_ENABLE_CUDASIM"] = os.environ["NUMBA_DISABLE_JIT"] = "1"
    if device:
        import reflosses

        for verb in reflosses.api.__all__:
            setattr(reflosses, verb, partial(getattr(reflosses, verb), device="cuda"))
        for name in reflosses.transfer.__all__:
            setattr(reflosses, name, There(getattr(reflosses, name), "cuda"))
    if device == "simulator":
        import simulator

        simulator.take_turns()


def pytest_collection_finish():
    """Search for garbage seldom: compilers make many objects, few of them in circles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def pytest_xdist_make_scheduler(config, log):
    """Keep all tests of a loss in one process, so that no loss is compiled in two, and those of a cluster."""
    return Together(config, log)


class Together(LoadScopeScheduling):
    """A schedule by losses, those with the most tests first; whatever names no loss fills the gaps."""

    def _split_scope(self, nodeid):
        file, _, parameters = nodeid.partition("[")
        from reflosses import losses  # not at the top: a device is chosen before

        if "test_dask" in file:
            return "dask"
        named = re.search(r"\b(" + "|".join(losses.__all__) + r")\b", parameters)
        return named[0] if named else nodeid


ON_DEVICE = {"test_device.py", "test_edges.py", "test_transfer.py", "test_tempered.py"}


def pytest_ignore_collect(collection_path, config):
    """With a device run its tests, and those of the edges and transfer functions; without one all but its tests."""
    if collection_path.suffix != ".py":
        return None
    wanted = (
        collection_path.name in ON_DEVICE if config.getoption("device") else collection_path.name != "test_device.py"
    )
    return None if wanted else True


@pytest.fixture(scope="module")
def client():
    """A cluster of two processes that talks to itself only; it is closed whatever happens."""
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
    settings = {"distributed.comm.timeouts.connect": "60s", "distributed.worker.memory.terminate": False}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2,
            processes=True,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # any port: None is 8787
            memory_limit="1GiB",
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client

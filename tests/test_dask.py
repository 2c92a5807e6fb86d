"""Losses of dask arrays: the results of one process, however the rows are cut and whoever computes them."""

import importlib.util
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from strategies import bits, sample

import reflosses
from reflosses import BinaryCrossEntropy, CrossEntropy, SigmoidFocal

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

import reflosses.dask as lazy  # noqa: E402

CASES = [(SigmoidFocal(), 0), (CrossEntropy(), 0), (CrossEntropy(), 1)]
UNITS = 2.0**-52


@pytest.fixture
def in_this_thread():
    """Compute where the test runs."""
    with dask.config.set(scheduler="synchronous"):
        yield


def cut(x, rows):
    """Return a dask array in blocks of these rows."""
    return da.from_array(x, chunks=(rows, *[-1] * (np.ndim(x) - 1)))


# The results of one process -----------------------------------------------------------------------


@pytest.mark.usefixtures("in_this_thread")
@pytest.mark.parametrize(("loss", "kind"), CASES, ids=str)
def test_blocks_have_the_results_of_the_whole_to_the_bit(loss, kind):
    logits, labels = sample(loss, rows=7, kind=kind, dtype=np.float32)
    weight, upstream = np.linspace(0.0, 2.1, 7), np.linspace(-1.3, 1.9, 7)
    z, y = cut(logits, (3, 0, 4)), cut(labels, 2)
    for given in {}, {"weight": weight}, {"weight": cut(weight, 1), "upstream": upstream}:
        plain = {name: np.asarray(x) for name, x in given.items()}
        expected = reflosses.value_and_gradient(loss, logits, labels, **plain)
        assert bits(dask.compute(*lazy.value_and_gradient(loss, z, y, **given))) == bits(expected)
        assert bits(lazy.value(loss, z, labels, **given).compute()) == bits(expected[0])
        assert bits(lazy.gradient(loss, z, labels, **given).compute()) == bits(expected[1])


@pytest.mark.usefixtures("in_this_thread")
@pytest.mark.parametrize("reduction", ["sum", "mean", "weighted_mean"])
@pytest.mark.parametrize(("loss", "kind"), CASES, ids=str)
def test_reductions_are_those_of_the_whole(loss, kind, reduction):
    logits, labels = sample(loss, rows=9, kind=kind, dtype=np.float32)
    for weight in None, np.linspace(0.0, 2.1, 9), 0.3, np.zeros(9):
        expected = reflosses.value_and_gradient(loss, logits, labels, weight=weight, reduction=reduction)
        found = lazy.value_and_gradient(loss, cut(logits, 2), labels, weight=weight, reduction=reduction)
        assert all(array.dtype == np.float32 for array in found)
        assert found[0].shape == () and found[1].shape == logits.shape
        value, gradient = dask.compute(*found)
        assert bits(gradient) == bits(expected[1])
        # the sums differ in their last bits, before they are rounded to float32
        np.testing.assert_allclose(value, expected[0], rtol=2.0**-23, atol=0)
        again = lazy.value(loss, cut(logits, 4), labels, weight=weight, reduction=reduction).compute()
        assert bits(again) == bits(value)


@pytest.mark.usefixtures("in_this_thread")
@pytest.mark.parametrize("reduction", ["sum", "mean", "weighted_mean"])
def test_sums_are_the_same_for_every_chunking(reduction):
    random = np.random.default_rng(3)
    n = 301
    logits = 10.0 ** random.uniform(-8, 3, n) * random.choice([-1.0, 1.0], n)  # losses of 15 orders of magnitude
    labels, weight = random.integers(0, 2, n), 10.0 ** random.uniform(-6, 6, n)
    losses = (weight * reflosses.value(BinaryCrossEntropy(), logits, labels)).tolist()
    exact = math.fsum(losses) / {"sum": 1.0, "mean": n, "weighted_mean": math.fsum(weight)}[reduction]
    cuts = (1, 7, 100, n, (0, 1, 0, n - 1), tuple(map(int, random.multinomial(n, np.ones(60) / 60))))
    for rows in cuts:
        found = lazy.value(BinaryCrossEntropy(), cut(logits, rows), labels, weight=weight, reduction=reduction)
        assert abs(found.compute() - exact) <= 1e-15 * exact, rows


@pytest.mark.usefixtures("in_this_thread")
def test_terms_of_both_signs_lose_nothing_to_the_order_of_blocks():
    upstream = np.array([1e16, 1.0, -1e16, 1.0] * 10)
    zeros = da.zeros(40, chunks=4)
    found = lazy.gradient(SigmoidFocal(0.0, None), zeros, np.ones(40), upstream=upstream, reduction="sum")
    assert bits(found.compute()) == bits(-0.5 * upstream)
    total = lazy.value(BinaryCrossEntropy(), zeros, np.ones(40), weight=upstream, reduction="sum").compute()
    assert abs(total - 20 * math.log(2)) <= 4 * UNITS * 20e16 * math.log(2) * UNITS  # twice the precision in a block


@pytest.mark.usefixtures("in_this_thread")
def test_classes_and_further_axes_may_be_cut():
    loss = CrossEntropy()
    random = np.random.default_rng(1)
    logits, labels = random.standard_normal((4, 5, 3)), random.integers(0, 3, (4, 5))
    weight = random.random(5)  # broadcast to (4, 5)
    z = da.from_array(logits, chunks=(2, 3, 2))
    expected = reflosses.value_and_gradient(loss, logits, labels, weight=weight, reduction="weighted_mean")
    value, gradient = lazy.value_and_gradient(loss, z, labels, weight=weight, reduction="weighted_mean")
    assert gradient.chunks == ((2, 2), (3, 2), (3,))
    assert bits(gradient.compute()) == bits(expected[1])
    assert value.compute() == pytest.approx(expected[0], rel=1e-15)
    soft = random.dirichlet(np.ones(3), (4, 5))
    expected = reflosses.gradient(loss, logits, soft, wrt="labels")
    assert bits(lazy.gradient(loss, z, da.from_array(soft, chunks=(4, 5, 1)), wrt="labels").compute()) == bits(expected)
    assert bits(lazy.value(loss, logits[0, 0], 1).compute()) == bits(reflosses.value(loss, logits[0, 0], 1))


@pytest.mark.usefixtures("in_this_thread")
@pytest.mark.parametrize("reduction", reflosses.api.REDUCTIONS)
@pytest.mark.parametrize("weight", [None, (1.0, 2.0, 0.0, 1.0), (1.0, 0.0, 2.0, 1.0)])
def test_absent_labels_and_no_rows_mean_what_they_do_elsewhere(reduction, weight):
    for rows in 4, 0:
        logits, labels = np.eye(4, 3)[:rows], np.array([0.0, np.nan, 1.0, 2.0])[:rows]
        some = None if weight is None else np.array(weight)[:rows]
        expected = reflosses.value_and_gradient(CrossEntropy(), logits, labels, weight=some, reduction=reduction)
        found = lazy.value_and_gradient(CrossEntropy(), cut(logits, 2), labels, weight=some, reduction=reduction)
        for a, b in zip(dask.compute(*found), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-15)


# What is refused, and when --------------------------------------------------------------------------


def test_mistakes_that_can_be_seen_are_refused_at_once():
    z = da.zeros((6, 3), chunks=(2, 3))
    y = np.zeros(6, dtype=int)
    with pytest.raises(ValueError, match=r"labels of shape \(5,\) do not fit logits of shape \(6, 3\)"):
        lazy.value(CrossEntropy(), z, y[:5])
    with pytest.raises(ValueError, match=r"weight of shape \(6, 1\) does not fit values of shape \(6,\)"):
        lazy.value(CrossEntropy(), z, y, weight=np.ones((6, 1)))
    with pytest.raises(ValueError, match="reduction must be one of"):
        lazy.value(CrossEntropy(), z, y, reduction="total")
    with pytest.raises(TypeError, match="labels must be real numbers"):
        lazy.gradient(CrossEntropy(), z, y.astype(complex))
    with pytest.raises(TypeError, match="logits must be float16"):
        lazy.gradient(CrossEntropy(), z.astype(complex), y)
    with pytest.raises(ValueError, match="gamma must lie in"):
        lazy.value(SigmoidFocal(gamma=-1.0), z[:, 0], y)
    with pytest.raises(ValueError, match='wrt must be "logits" or "labels"'):
        lazy.gradient(CrossEntropy(), z, y, wrt="loss")
    with pytest.raises(ValueError, match=r"logits have blocks of unknown length; call their compute_chunk_sizes"):
        lazy.value(CrossEntropy(), z[z[:, 0] == 0], y)


@pytest.mark.usefixtures("in_this_thread")
def test_illegal_labels_are_found_with_their_place():
    labels = np.zeros(6, dtype=int)
    labels[5] = 3
    lazily = lazy.value(CrossEntropy(), da.zeros((6, 3), chunks=(4, 3)), labels, reduction="mean")
    with pytest.raises(ValueError, match=r"labels\[1\] = 3 must be in \[0, 3\)") as raised:
        lazily.compute()
    assert raised.value.__notes__ == ["This is counted within one block, logits[4:6]."]


def test_losses_of_one_name_have_names_of_their_own():
    z, y = da.ones(2, chunks=1), np.ones(2)
    names = {lazy.value(loss, z, y).name for loss in (BinaryCrossEntropy(), SigmoidFocal(), SigmoidFocal(3.0))}
    assert len(names) == 3
    assert lazy.value(SigmoidFocal(), z, y).name == lazy.value(SigmoidFocal(), z, y).name


@pytest.mark.usefixtures("in_this_thread")
def test_value_and_gradient_share_their_work_and_nothing_is_done_before(tmp_path):
    def noted(x):
        (tmp_path / f"{len(os.listdir(tmp_path))}").touch()
        return x

    z = da.from_array(np.zeros((6, 2)), chunks=(2, 2)).map_blocks(noted, meta=np.empty((0, 0)))
    both = lazy.value_and_gradient(CrossEntropy(), z, np.zeros(6, dtype=int), reduction="mean")
    assert not os.listdir(tmp_path)
    dask.compute(*both)
    assert len(os.listdir(tmp_path)) == 3


# Processes -----------------------------------------------------------------------------------------


def rows_of(n, blocks):
    """Return lazy logits, labels and weights of n rows, cut unevenly, and the same in memory."""
    random = np.random.default_rng(5)
    logits = random.standard_normal((n, 3)).astype(np.float32)
    labels, weight = random.integers(0, 3, n), random.random(n)
    edges = np.sort(random.integers(0, n, blocks - 1))
    rows = tuple(np.diff([0, *edges, n]).tolist())
    return (cut(logits, rows), cut(labels, rows), cut(weight, rows)), (logits, labels, weight)


@pytest.mark.parametrize("reduction", reflosses.api.REDUCTIONS)
def test_two_processes_find_what_one_does(client, reduction):
    (z, y, w), (logits, labels, weight) = rows_of(2000, 13)
    value, gradient = dask.compute(
        *lazy.value_and_gradient(CrossEntropy(), z, y, weight=w, reduction=reduction), scheduler=client
    )
    expected = reflosses.value_and_gradient(CrossEntropy(), logits, labels, weight=weight, reduction=reduction)
    assert bits(gradient) == bits(expected[1])
    np.testing.assert_allclose(value, expected[0], rtol=2.0**-23, atol=0)
    assert len(client.scheduler_info()["workers"]) == 2


def test_a_killed_worker_costs_nothing_and_doubles_nothing(client, tmp_path):
    (z, y, w), _ = rows_of(2000, 13)
    marker = tmp_path / "killed"

    def deadly(x, block_info=None):
        """Kill this process when it comes to a late block for the first time."""
        if block_info and block_info[0]["chunk-location"][0] == 9 and not marker.exists():
            marker.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    def results(z):
        both = lazy.value_and_gradient(CrossEntropy(), z, y, weight=w, reduction="sum")
        return dask.compute(*both, scheduler=client)

    undisturbed = results(z)
    pids = set(client.run(os.getpid).values())
    z = client.persist(z)
    distributed.wait(z)  # half of it goes down with the worker
    found = results(z.map_blocks(deadly, meta=z._meta))
    client.wait_for_workers(2)
    assert int(marker.read_text()) in pids - set(client.run(os.getpid).values())
    assert bits(found) == bits(undisturbed)


def test_the_example_runs(capsys):
    path = Path(__file__).parent.parent / "docs" / "examples" / "hundred_million_rows.py"
    example = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location(path.stem, path))
    spec.loader.exec_module(example)
    shown = []
    for block in "4000", "700":
        example.main(["--rows", "4000", "--block", block])
        shown.append(capsys.readouterr().out)
    assert "mean loss of 4,000 rows: 0." in shown[0] and "GB at most" in shown[0]

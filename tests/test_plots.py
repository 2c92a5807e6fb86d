"""Plots: what is drawn is what the verbs answer, the command writes it, and the examples run."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.image import imread
from strategies import VERBS

import reflosses
from reflosses import CategoricalFocal, CrossEntropy, LabelSmoothing, SigmoidFocal, SparseLSR, plots
from reflosses.__main__ import main
from reflosses.domain import classes_of
from reflosses.losses import LOSSES
from reflosses.spelling import parse_values, snake, spelled_value
from reflosses.transfer import predicted

DOCS = Path(__file__).parent.parent / "docs"
EXAMPLES = DOCS / "examples"
WHATS = {"value": "value", "gradient": "gradient", "hessian": "hessian_diagonal"}
FAMILIES = [plots.family(loss()) for loss in LOSSES]
FAMILIES.append([CrossEntropy((0.5, 2.0, 1.0)), CrossEntropy()])


def named(family):
    return snake(type(family[0]))


# Curves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES, ids=named)
@pytest.mark.parametrize("what", WHATS)
def test_every_loss_is_drawn_as_the_verbs_answer(family, what):
    classes = classes_of(family[0], 7)
    rows = family[0].targets.rows
    figure = plots.plot(family, what, classes=classes if rows else None)
    assert [axes.get_title() for axes in figure.axes] == (["target", "non-target"] if rows else ["y = 1", "y = 0"])
    for axes, target in zip(figure.axes, (True, False), strict=True):
        assert len(axes.lines) == len(family)
        for line, loss in zip(axes.lines, family, strict=True):
            z, drawn = line.get_data()
            logits = np.array([[x, *[0.0] * (classes - 1)] for x in z]) if rows else z
            labels = np.full(len(z), 0 if target else 1) if rows else np.full(len(z), 1.0 if target else 0.0)
            expected = VERBS[WHATS[what]](loss, predicted(loss, logits), labels)
            np.testing.assert_array_equal(drawn, expected[:, 0] if expected.ndim == 2 else expected)
            assert (z[0], z[-1]) == (-10, 10) and np.isfinite(drawn).all()


@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_over_the_probability_the_logits_are_those_that_have_it(family):
    """Which the textbook says: the row's own softmax gives back the abscissae."""
    for loss in family:
        (p, drawn), t = plots.curve(loss, "gradient", over="probability"), float(getattr(loss, "t2", 1.0))
        n = classes_of(loss, 10) if loss.targets.rows else 2
        others = (1 - p) / (n - 1)
        z = reflosses.log_t(p, t) - reflosses.log_t(others, t)
        logits = np.stack([z, *[np.zeros_like(z)] * (n - 1)], axis=1)
        np.testing.assert_allclose(reflosses.tempered_softmax(logits, t)[:, 0], p, rtol=1e-12)
        given, labels = (logits, np.zeros(len(z), int)) if loss.targets.rows else (z, np.ones(len(z)))
        expected = reflosses.gradient(loss, predicted(loss, given), labels)
        np.testing.assert_allclose(drawn, expected[:, 0] if loss.targets.rows else expected, rtol=1e-12, atol=1e-15)
        assert p[0] == 0.001 and p[-1] == pytest.approx(0.999) and (np.diff(p) > 0).all()


def test_several_rows_of_panels():
    figure = plots.plot(SigmoidFocal(), ["value", "hessian", "gradient"], over="probability")
    assert len(figure.axes) == 6 and not figure.legends
    assert figure.get_suptitle() == "sigmoid_focal" and figure.get_supxlabel() == "probability"
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == [
        plots.SYMBOLS[x] for x in ("value", "hessian", "gradient")
    ]


def test_legends_say_what_differs():
    def said(*losses):
        figure = plots.plot(losses)
        return figure.get_suptitle(), [text.get_text() for text in figure.legends[0].texts]

    assert said(SigmoidFocal(0), SigmoidFocal(5.0)) == ("sigmoid_focal, alpha = 0.25", ["gamma = 0", "gamma = 5"])
    inner = said(*plots.family(LabelSmoothing(CategoricalFocal()), "gamma", [0, 1]))
    title = "label_smoothing, loss = categorical_focal, loss.alpha = none, smoothing = 0.1"
    assert inner == (title, ["loss.gamma = 0", "loss.gamma = 1"])
    assert said(CrossEntropy(), SparseLSR(0.2)) == ("", ["cross_entropy", "sparse_lsr(smoothing=0.2)"])
    lost = said(LabelSmoothing(), LabelSmoothing(SparseLSR()))
    assert lost == ("label_smoothing, smoothing = 0.1", ["loss = cross_entropy", "loss = sparse_lsr"])


def test_families():
    nested = LabelSmoothing(LabelSmoothing(CategoricalFocal(), 0.3), 0.1)
    assert [loss.smoothing for loss in plots.family(nested, "smoothing", [0, 0.5])] == [0, 0.5]
    assert [loss.loss.smoothing for loss in plots.family(nested, "loss.smoothing", [0, 0.5])] == [0, 0.5]
    assert [loss.loss.loss.gamma for loss in plots.family(nested, "gamma")] == [0.0, 0.5, 1.7, 2.0, 5.0]
    assert plots.family(CrossEntropy()) == [CrossEntropy()]
    assert plots.family(SigmoidFocal(), "alpha")[0].alpha is None
    with pytest.raises(ValueError, match="no parameter 'beta'; it has loss, smoothing, loss.class_weight"):
        plots.family(LabelSmoothing(), "beta")


@pytest.mark.parametrize(
    "arguments, options, words",
    [
        ([CrossEntropy(), "slope"], {}, "no curve of 'slope'"),
        ([CrossEntropy()], {"over": "odds"}, "logit or probability"),
        ([[CrossEntropy(), SigmoidFocal()]], {}, "single logits or losses of rows"),
        ([[]], {}, "at least one"),
        ([SigmoidFocal()], {"classes": 3}, "no number of classes"),
        ([CrossEntropy()], {"classes": 1}, "at least 2 classes"),
        ([CrossEntropy((1.0, 2.0))], {"classes": 3}, "do not fit"),
        ([SigmoidFocal(gamma=-1.0)], {}, "gamma must lie in"),
        ([SigmoidFocal(gamma="2 or 3")], {}, "gamma must be a number"),
    ],
)
def test_what_cannot_be_drawn(arguments, options, words):
    with pytest.raises((ValueError, TypeError), match=re.escape(words)):
        plots.plot(*arguments, **options)


@pytest.mark.parametrize("text", ["0, 0.5, none", "(1, 2), none", "cross_entropy, label_smoothing(smoothing=0.2)"])
def test_values_are_read_back(text):
    assert ", ".join(map(spelled_value, parse_values(text))) == text


# The command ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reflosses_plot(*arguments):
    return CliRunner().invoke(main, ["plot", *arguments])


@pytest.mark.parametrize("loss", LOSSES, ids=snake)
def test_the_command_writes_png_and_svg(loss, folder):
    result = reflosses_plot(snake(loss))
    assert (result.exit_code, result.output) == (0, f"{snake(loss)}.png\n"), result.output
    assert np.std(imread(folder / f"{snake(loss)}.png")) > 0.05
    everything = [part for what in WHATS for part in ("--what", what)]
    result = reflosses_plot(loss.__name__, *everything, "--over", "probability", "--out", "all.svg")
    assert result.exit_code == 0, result.output
    assert ElementTree.parse(folder / "all.svg").getroot().tag.endswith("svg")


def test_the_command_takes_parameters(folder, monkeypatch):
    drawn, plot = [], plots.plot

    def noted(losses, *arguments, **options):
        drawn.append(losses)
        return plot(losses, *arguments, **options)

    monkeypatch.setattr(plots, "plot", noted)
    given = ("--parameter", "gamma=0,1", "--parameter", "alpha=none, 0.5", "--out", "a.svg")
    for arguments in (("sigmoid_focal", *given), ("label_smoothing(categorical_focal())", "--parameter", "gamma")):
        assert reflosses_plot(*arguments, *(["--classes", "4"] if "(" in arguments[0] else [])).exit_code == 0
    assert reflosses_plot("sigmoid_focal()").exit_code == 0
    assert drawn[0] == [SigmoidFocal(g, a) for g in (0, 1) for a in (None, 0.5)]
    assert [loss.loss.gamma for loss in drawn[1]] == [0.0, 0.5, 1.7, 2.0, 5.0]
    assert drawn[2] == [SigmoidFocal()]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["focal"], "choose from bi_tempered"),
        (["sigmoid_focal", "--parameter", "beta=1"], "no parameter 'beta'; it has gamma, alpha"),
        (["sigmoid_focal", "--parameter", "gamma=-1"], "gamma must lie in"),
        (["sigmoid_focal", "--parameter", "gamma="], "cannot read ''"),
        (["sigmoid_focal", "--parameter", "gamma=1;2"], "cannot read '1;2'"),
        (["sigmoid_focal", "--parameter", "gamma='a'"], "expected a number"),
        (["sigmoid_focal", "--parameter", "gamma=none"], "must be a number"),
        (["label_smoothing", "--parameter", "loss=3"], "must be a loss"),
        (["sigmoid_focal", "--classes", "3"], "single logits"),
        (["cross_entropy((1, 2))", "--classes", "3"], "do not fit"),
        (["cross_entropy", "--classes", "1"], "'--classes'"),
        (["cross_entropy", "--what", "slope"], "'--what'"),
        (["cross_entropy", "--out", "x.doc"], "must end in .png, .svg or .pdf"),
        (["cross_entropy", "--out", "nowhere/x.png"], "cannot write nowhere/x.png"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_status_2(folder, arguments, words):
    result = reflosses_plot(*arguments)
    assert result.exit_code == 2, result.output
    said = result.stderr.strip().splitlines()[-1]
    assert said.startswith("Error: ") and words in said
    assert not list(folder.iterdir())


def test_a_missing_matplotlib_is_one_sentence(folder, monkeypatch):
    for name in "matplotlib", "matplotlib.figure":
        monkeypatch.setitem(sys.modules, name, None)
    result = reflosses_plot("cross_entropy")
    assert result.exit_code == 2
    advice = "which is not installed: pip install 'reflosses[plot]'"
    assert re.fullmatch(
        rf"Error: plots need matplotlib\S*, {re.escape(advice)}", result.stderr.strip().splitlines()[-1]
    )


# The documentation ------------------------------------------------------------------------------


@pytest.fixture
def script(monkeypatch):
    """Import a script of the documentation as ``python`` would run it."""
    known = set(sys.modules)

    def load(path):
        monkeypatch.syspath_prepend(str(path.parent))
        return __import__(path.stem)

    yield load
    for name in set(sys.modules) - known:  # their names are too common to stay
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent in (DOCS, EXAMPLES):
            del sys.modules[name]


def test_the_figures_are_those_of_the_documentation(script, tmp_path):
    figures = script(DOCS / "figures.py")
    figures.main(["--folder", str(tmp_path)])
    for path in tmp_path.iterdir():
        shown = DOCS / "figures" / path.name
        texts = [[x.text for x in ElementTree.parse(file).iter() if (x.text or "").strip()] for file in (path, shown)]
        assert texts[0] == texts[1] and shown.stat().st_size < 150_000


def test_the_sparse_lsr_figure_is_the_repositorys(script):
    grid = np.reshape(script(DOCS / "figures.py").sparse_lsr().axes, (3, 2))
    for row, formula in zip(grid, REPOSITORY, strict=True):
        for axes, y in zip(row, (1, 0), strict=True):
            assert len(axes.lines) == 7
            for line, s in zip(axes.lines, (0.001, 0.005, 0.01, 0.05, 0.1, 0.15, 0.2), strict=True):
                p, drawn = line.get_data()
                np.testing.assert_allclose(drawn, formula(y, p, s), rtol=1e-12, atol=1e-15)


REPOSITORY = (  # at C = 100
    lambda y, p, s: -y * np.log(p),
    lambda y, p, s: -(y * (1 - s) + s / 100) * np.log(p),
    lambda y, p, s: -y * ((1 - s + s / 100) * np.log(p) + s * 99 / 100 * np.log((1 - p) / 99)),
)


def accuracies(text):
    """Return the numbers of printed tables, by row and column."""
    found, head = {}, None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            head = None
        elif head is None:
            head = cells
        elif cells[1] != "---":
            found |= {(cells[0], name): float(x.split()[0]) for name, x in zip(head[1:], cells[1:], strict=True)}
    return found


@pytest.mark.parametrize("name, least", [("penultimate", 80), ("noisy_labels", 80)])
def test_the_examples_learn(script, name, least, tmp_path, capsys):
    page = (DOCS / "examples.md").read_text(encoding="utf-8")
    script(EXAMPLES / f"{name}.py").main(["--quick", "--folder", str(tmp_path)])
    found = accuracies(capsys.readouterr().out)
    assert found and all(x > 15 for x in found.values())  # chance is 10 % of the digits, and 50 % of the rings
    assert np.mean([x > least for x in found.values()]) > 0.7
    assert found.keys() <= accuracies(page).keys(), "the page shows another run's tables"
    (picture,) = tmp_path.iterdir()
    assert np.std(imread(picture)) > 0.05 and (EXAMPLES / picture.name).stat().st_size < 150_000
    assert (DOCS / "examples.md").read_text(encoding="utf-8") == page, "a quick run leaves the page alone"

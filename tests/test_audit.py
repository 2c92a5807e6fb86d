"""The audit finds what is wrong, accuses nobody who is right, and says it in one line."""

import importlib.util
import json

import mpmath
import numpy as np
import pytest
from scipy import special

from reflosses.audit import formulas, rivals
from reflosses.audit.formulas import as_rows
from reflosses.audit.grades import GRADES
from reflosses.audit.judge import judge
from reflosses.audit.report import as_json
from reflosses.audit.rivals import IMPLEMENTATIONS, Implementation, run
from reflosses.audit.sentences import findings
from reflosses.audit.table import table
from reflosses.audit.target import TargetError, load, recognise
from reflosses.audit.truth import batches, digits, real
from reflosses.losses import LOSSES, BinaryCrossEntropy, CrossEntropy, LabelSmoothing, SigmoidFocal

# The losses at which faults are seeded: two small families of points keep a judgement below a second.
ROWS, LOGITS, FOCAL = CrossEntropy((0.5, 2.0, 1.0)), BinaryCrossEntropy(), SigmoidFocal()


def verdict(function, loss, dtype=np.float32, **options):
    return judge(Implementation("", "a.target", type(loss), function, **options), loss, dtype)


# Correct implementations ----------------------------------------------------------------------


def careful_rows(loss, z, y):
    """Weighted cross entropy in the arithmetic of the logits, with nothing lost to subtraction."""
    t = as_rows(z, y) * np.asarray(loss.class_weight, z.dtype)
    m = np.argmax(z, axis=1)[:, None]
    gap = z - np.take_along_axis(z, m, axis=1)
    e = np.exp(gap)
    np.put_along_axis(e, m, 0, axis=1)
    rest = e.sum(axis=1, keepdims=True)
    np.put_along_axis(e, m, 1, axis=1)
    with np.errstate(invalid="ignore"):
        value = np.sum(np.where(t == 0, 0, t * (np.log1p(rest) - gap)), axis=1)
    p = e / (1 + rest)
    others = np.stack([np.delete(p, j, axis=1).sum(axis=1) for j in range(z.shape[1])], axis=1)
    other_mass = np.stack([np.delete(t, j, axis=1).sum(axis=1) for j in range(z.shape[1])], axis=1)
    return value, p * other_mass - t * others


def careful_logits(loss, z, y):
    e = np.exp(-np.abs(z))
    small, large = e / (1 + e), 1 / (1 + e)
    p, c = np.where(z >= 0, large, small), np.where(z >= 0, small, large)
    return (1 - y) * np.maximum(z, 0) + y * np.maximum(-z, 0) + np.log1p(e), (1 - y) * p - y * c


def in_many_digits(loss, z, y):
    """Focal loss in 400 digits: slow, and right."""
    value, gradient = np.empty_like(z), np.empty_like(z)
    with mpmath.workdps(400):
        for i, (x, label) in enumerate(zip(z, y, strict=True)):
            t = mpmath.mpf(float(x)) * (1 if label == 1 else -1)
            a = mpmath.mpf(loss.alpha) if label == 1 else 1 - mpmath.mpf(loss.alpha)
            small = abs(t) > 700  # beyond, q or c is a power of e to more digits than there are
            q = mpmath.exp(t) if small and t < 0 else 1 / (1 + mpmath.exp(-t))
            c = mpmath.exp(-t) if small and t > 0 else 1 / (1 + mpmath.exp(t))
            s = -c if small and t > 0 else t if small else mpmath.log(q)
            slope = a * c**2 * (2 * q * s - c)
            value[i], gradient[i] = float(-a * c**2 * s), float(slope if label == 1 else -slope)
    return value, gradient


@pytest.mark.parametrize(
    "function, loss, dtype, best",
    [
        (careful_rows, ROWS, np.float32, "B"),
        (careful_rows, ROWS, np.float64, "B"),
        (careful_logits, LOGITS, np.float32, "A"),
        (careful_logits, LOGITS, np.float64, "A"),
        (in_many_digits, FOCAL, np.float32, "A"),
        (in_many_digits, FOCAL, np.float64, "A"),
        (formulas.focal_of_log_expit, FOCAL, np.float32, "A"),
        (formulas.log_expit, LOGITS, np.float32, "B"),
    ],
)
def test_a_correct_implementation_is_not_accused(function, loss, dtype, best):
    found = verdict(function, loss, dtype)
    assert found.grade <= best, found.example
    assert not findings([found])


@pytest.mark.parametrize("loss", [ROWS, LOGITS, FOCAL])
@pytest.mark.parametrize("dtype", rivals.DTYPES)
def test_we_keep_our_promise(loss, dtype):
    ours = next(x for x in IMPLEMENTATIONS if x.ours and x.loss is type(loss))
    found = judge(ours, loss, dtype)
    assert (found.grade, found.broken) == ("A", 0), found.worst_broken or found.example


# Seeded faults --------------------------------------------------------------------------------


def true_class_minus_one(loss, z, y):
    value, _ = careful_rows(loss, z, y)
    t = as_rows(z, y) * np.asarray(loss.class_weight, z.dtype)
    return value, special.softmax(z, axis=1) * t.sum(axis=1, keepdims=True) - t


def clipped_rows(loss, z, y):
    t = as_rows(z, y) * np.asarray(loss.class_weight, z.dtype)
    p = special.softmax(z, axis=1)
    return -np.sum(t * np.log(np.clip(p, 1e-7, 1 - 1e-7)), axis=1), careful_rows(loss, z, y)[1]


def epsilon_in_the_log(loss, z, y):
    p, epsilon = special.expit(z), z.dtype.type(1e-7)
    return -y * np.log(p + epsilon) - (1 - y) * np.log(1 - p + epsilon), careful_logits(loss, z, y)[1]


def swapped_alpha(loss, z, y):
    return formulas.focal_of_log_expit(SigmoidFocal(loss.gamma, 1 - loss.alpha), z, y)


def wrong_sign(loss, z, y):
    value, gradient = careful_logits(loss, z, y)
    return value, -gradient


def double(loss, z, y):
    return tuple(2 * x for x in careful_logits(loss, z, y))


def no_weights(loss, z, y):
    return careful_rows(CrossEntropy((1.0, 1.0, 1.0)), z, y)


def zero_gradient(loss, z, y):
    return careful_logits(loss, z, y)[0], np.zeros_like(z)


def times_gamma(loss, z, y):
    t = np.where(y == 1, z, -z)
    a = np.where(y == 1, loss.alpha, 1 - loss.alpha)
    return -a * special.expit(-t) * loss.gamma * special.log_expit(t), None


def sometimes_nan(loss, z, y):
    value, gradient = careful_logits(loss, z, y)
    return np.where(np.arange(len(z)) == 3, np.nan, value), gradient


@pytest.mark.parametrize(
    "function, loss, dtype, grades",
    [
        (true_class_minus_one, ROWS, np.float32, "C"),
        (true_class_minus_one, ROWS, np.float64, "C"),
        (formulas.log_of_softmax, ROWS, np.float32, "CD"),
        (formulas.log_of_expit, LOGITS, np.float32, "CD"),
        (clipped_rows, ROWS, np.float64, "CD"),
        (epsilon_in_the_log, LOGITS, np.float64, "D"),
        (epsilon_in_the_log, LOGITS, np.float32, "D"),
        (sometimes_nan, LOGITS, np.float64, "D"),
        (swapped_alpha, FOCAL, np.float32, "F"),
        (times_gamma, FOCAL, np.float64, "F"),
        (wrong_sign, LOGITS, np.float32, "F"),
        (zero_gradient, LOGITS, np.float32, "F"),
        (double, LOGITS, np.float64, "F"),
        (no_weights, ROWS, np.float32, "F"),
    ],
)
def test_a_fault_is_graded_and_shown(function, loss, dtype, grades):
    found = verdict(function, loss, dtype)
    assert found.grade in grades, found.example
    ((head, told),) = findings([found])
    pasted = [line for finding in told for line in finding.snippet]
    assert f"grade {found.grade}" in head and pasted
    assert set(line.partition("[")[0] for line in pasted) == {"import numpy as np, a", f"a.target(np.{found.dtype}("}


def test_the_epsilon_of_a_clip_is_found():
    assert verdict(clipped_rows, ROWS, np.float64).clip.epsilon == pytest.approx(1e-7, rel=1e-4)


def test_a_float64_computed_in_float32_is_noticed():
    def narrow(loss, z, y):
        return careful_logits(loss, z, y)[0].astype(np.float32), None

    assert verdict(narrow, LOGITS, np.float64).single


# The systems on this machine ------------------------------------------------------------------


def found_in(system, name, loss, dtype=np.float32):
    """Judge a rival; skip if it is not installed."""
    if importlib.util.find_spec(system) is None or rivals.version(system) is None:
        pytest.skip(f"{system} is not installed")
    rival = next(x for x in IMPLEMENTATIONS if (x.system, x.name, x.loss) == (system, name, type(loss)))
    return judge(rival, loss, dtype)


def test_torch_loses_the_gradient_of_the_true_class():
    found = found_in("torch", "cross_entropy", ROWS)
    assert found.grade == "C"
    assert found.example["gradient"].logits.tolist() == [20, 0, 0] and found.example["gradient"].computed == 0
    _, gradient = run("torch cross_entropy", "cross_entropy", np.float32([[20, 0, 0]]), np.array([0]))
    assert gradient[0, 0] == 0  # and should be -4.1e-9


def test_torch_loses_a_small_binary_cross_entropy():
    name = "binary_cross_entropy_with_logits"
    found = found_in("torch", name, LOGITS)
    assert found.grade == "C"
    assert found.example["value"].logits == np.float32(-14.81) and found.example["value"].computed == 0
    value, _ = run(f"torch {name}", "binary_cross_entropy", np.float32([-14.81]), np.float32([0]))
    assert value[0] == 0  # and should be 3.7e-7


def test_keras_clips_binary_focal():
    found = found_in("keras", "binary_focal", FOCAL)
    assert found.grade in "CD"
    assert found.clip.epsilon == pytest.approx(1e-7, rel=0.01)
    assert (found.clip.example.logits, found.clip.example.labels) == (-100, 1)
    value, gradient = run("keras binary_focal", "sigmoid_focal", np.float32([-100]), np.float32([1]))
    assert value[0] < 5 and gradient[0] == 0  # and should be 25 and -0.25


def test_sklearn_loses_a_small_cross_entropy():
    found = found_in("sklearn", "HalfMultinomialLoss", CrossEntropy())
    assert found.grade == "C" and found.example["value"].logits.tolist() == [20, 0, 0]


# Inputs ---------------------------------------------------------------------------------------


def test_real_logits_are_those_of_a_good_classifier():
    logits, labels = digits()
    assert logits.dtype == np.float32 and logits.shape == (899, 10)
    assert np.mean(logits.argmax(axis=1) == labels) > 0.95
    margins, eights = real(rows=False)
    assert np.mean((margins > 0) == eights) > 0.95
    three, classes = real(rows=True, classes=3)
    assert three.shape[1] == 3 and classes.max() == 2


@pytest.mark.parametrize("loss_class", LOSSES)
def test_batches_hold_hard_and_real_inputs(loss_class):
    found = batches(loss_class(*loss_class.settings[0]), np.dtype(np.float32))
    assert [x.real for x in found] == [False] * (len(found) - 1) + [True]
    assert sum(x.mild.sum() for x in found) > 20 and not all(x.ordinary.all() for x in found)
    assert found is batches(loss_class(*loss_class.settings[0]), np.dtype(np.float32))


def test_every_implementation_states_what_it_expresses():
    for x in IMPLEMENTATIONS:
        assert x.cases(), x.name
    assert {x.loss for x in IMPLEMENTATIONS if x.ours} == set(LOSSES)
    ours = next(x for x in IMPLEMENTATIONS if x.ours and x.loss is LabelSmoothing)
    assert LabelSmoothing() in [loss for loss, _ in ours.cases()]


# Reports --------------------------------------------------------------------------------------


def test_json_holds_everything():
    verdicts = [verdict(true_class_minus_one, ROWS), verdict(careful_logits, LOGITS)]
    text = json.dumps(as_json(verdicts, {"numpy": np.__version__}), allow_nan=False)
    found = json.loads(text)
    assert set(found) == {"systems", "grades", "thresholds", "promise_kept", "verdicts", "findings"}
    assert found["grades"] == GRADES and found["promise_kept"]
    first = found["verdicts"][0]
    assert (first["loss"], first["dtype"], first["grade"]) == ("cross_entropy", "float32", "C")
    worst = first["all"]["gradient"]["worst"]
    assert [float.fromhex(x) for x in worst["logits"]["hex"]] == [float(x) for x in worst["logits"]["float"]]
    assert first["real"]["value"]["count"] > 10
    assert len(found["findings"]) == 1


def test_the_table_has_a_line_for_each_implementation():
    assert table([verdict(true_class_minus_one, ROWS), verdict(careful_logits, LOGITS)]).row_count == 4


def test_a_pasted_line_shows_the_fault():
    ((_, (finding, *_)),) = findings([verdict(swapped_alpha, FOCAL)])
    call = finding.snippet[-1].removeprefix("a.target")
    logits, labels = eval(f"(lambda *pasted: pasted){call}", {"np": np})
    wrong, right = (function(FOCAL, logits, labels)[0] for function in (swapped_alpha, in_many_digits))
    assert abs(wrong - right) > 0.5 * right


# Targets --------------------------------------------------------------------------------------


def values_only(z, y):
    return careful_logits(None, z, y)[0]


def pair(z, y):
    return careful_logits(None, z, y)


def classes_only(z, y):
    return special.logsumexp(z, axis=1) - z[np.arange(len(z)), y]


def one_hot_only(z, y):
    return -np.sum(y * special.log_softmax(z, axis=1), axis=1)


def test_values_and_pairs_are_recognised():
    assert set(judge(recognise(values_only, LOGITS, "x"), LOGITS, np.float32).measured) == {"value"}
    assert set(judge(recognise(pair, LOGITS, "x"), LOGITS, np.float32).measured) == {"value", "gradient"}


@pytest.mark.parametrize("function, rows", [(classes_only, False), (one_hot_only, True)])
def test_the_kind_of_labels_is_recognised(function, rows):
    found = recognise(function, CrossEntropy(), "x")
    assert found.rows == found.one_hot == rows
    value, _ = found.function(CrossEntropy(), np.float32([[1, 2, 3, 4]]), np.array([3]))
    assert value == pytest.approx(0.44019, rel=1e-4)


def test_a_torch_function_is_recognised():
    torch = pytest.importorskip("torch")
    function = torch.nn.functional.binary_cross_entropy_with_logits
    found = judge(recognise(lambda z, y: function(z, y, reduction="none"), LOGITS, "f"), LOGITS, np.float32)
    assert found.grade == "C"
    lines = [finding.snippet[1] for finding in findings([found])[0].findings]
    assert "f(torch.from_numpy(np.float32([-14.81])), torch.from_numpy(np.float32([0])))" in lines


def test_a_jax_function_is_recognised():
    jax = pytest.importorskip("jax")
    found = recognise(lambda z, y: jax.nn.softplus(z) - y * z, LOGITS, "x")
    value, gradient = found.function(LOGITS, np.float64([0.0]), np.float64([1.0]))
    assert (value.dtype, gradient.dtype) == (np.float64, np.float64) and gradient == -0.5


@pytest.mark.parametrize(
    "function, words",
    [
        (lambda z, y: z[:, None] * z, "shape (5, 5)"),
        (lambda z, y: (z, z[:2]), "a gradient of shape (2,)"),
        (lambda z, y: None, "returns NoneType"),
        (lambda z, y: "none", "returns str"),
        (lambda z, y: 1 / 0, "raises ZeroDivisionError"),
        (lambda z: z, "raises TypeError"),
    ],
)
def test_a_bad_target_is_one_sentence(function, words):
    with pytest.raises(TargetError) as error:
        recognise(function, LOGITS, "x")
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["json", "json:", "no_such_module_at_all:f", "json:nothing", "json:__name__"])
def test_a_target_that_cannot_be_loaded_is_one_sentence(name):
    with pytest.raises(TargetError):
        load(name)

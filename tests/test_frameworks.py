"""Every framework's door: right losses are not accused, typical mistakes are named, bad targets are one sentence."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from click.testing import CliRunner

import reflosses
from reflosses import BinaryCrossEntropy, CrossEntropy, SigmoidFocal
from reflosses.__main__ import main
from reflosses.audit import diagnose
from reflosses.audit.child import examine
from reflosses.audit.frames import missing
from reflosses.audit.target import TargetError

ENTROPY, FOCAL = BinaryCrossEntropy(), SigmoidFocal()


def expit(z):
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def slopes(z, y):
    """Return gradient and Hessian of binary cross entropy."""
    return (1 - y) * expit(z) - y * expit(-z), expit(z) * expit(-z)


# Right, as each framework writes it ---------------------------------------------------------------


def of_numpy(z, y):
    return (1 - y) * np.maximum(z, 0) + y * np.maximum(-z, 0) + np.log1p(np.exp(-np.abs(z)))


def of_torch(y_pred, y_true):
    softplus = __import__("torch").nn.functional.softplus
    return y_true * softplus(-y_pred) + (1 - y_true) * softplus(y_pred)


def of_jax(logits, labels):
    softplus = __import__("jax").nn.softplus
    return labels * softplus(-logits) + (1 - labels) * softplus(logits)


def of_keras(y_true, y_pred):
    softplus = __import__("keras").ops.softplus
    return y_true * softplus(-y_pred) + (1 - y_true) * softplus(y_pred)


def of_tensorflow(labels, logits):
    return __import__("tensorflow").nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)


def of_xgboost(predt, dtrain):
    return slopes(predt, dtrain.get_label())


def of_lightgbm(preds, train_data):
    return slopes(preds, train_data.get_label())


def of_scikit_learn(y_true, y_pred):
    return slopes(y_pred, y_true)


def of_weighted_rows(y_true, y_pred, weight):
    return tuple(x * weight for x in slopes(y_pred, y_true))


# And with one mistake each ------------------------------------------------------------------------


def logarithm_of_base_2(y_true, y_pred):
    return of_numpy(y_pred, y_true) / np.log(2)


def twice(y_pred, y_true):
    return 2 * of_torch(y_pred, y_true)


def with_epsilon(logits, labels):
    jax = __import__("jax")
    p = jax.nn.sigmoid(logits)
    return -(labels * jax.numpy.log(p + 1e-4) + (1 - labels) * jax.numpy.log(1 - p + 1e-4))


def pushed_down(labels, logits):
    return -of_tensorflow(labels, logits)


def same_alpha(y_true, y_pred):
    ops = __import__("keras").ops
    p = ops.sigmoid(y_pred)
    p_t = y_true * p + (1 - y_true) * (1 - p)
    return -0.25 * (1 - p_t) ** 2 * ops.log(p_t)


def p_for_a_hessian(predt, dtrain):
    return slopes(predt, dtrain.get_label())[0], expit(predt)


def twice_the_hessian(y_true, y_pred):
    gradient, hessian = slopes(y_pred, y_true)
    return gradient, 2 * hessian


def uphill(preds, train_data):
    gradient, hessian = slopes(preds, train_data.get_label())
    return -gradient, hessian


def audited(function, loss, framework):
    if sentence := missing(framework):
        pytest.skip(sentence)
    return reflosses.audit(function, loss, framework=framework, dtypes=["float32"])


RIGHT = [
    (of_numpy, "numpy"),
    (of_torch, "torch"),
    (of_jax, "jax"),
    (of_keras, "keras"),
    (of_tensorflow, "tensorflow"),
    (of_xgboost, "xgboost"),
    (of_lightgbm, "lightgbm"),
    (of_scikit_learn, "lightgbm"),
    (of_scikit_learn, "xgboost"),
    (of_weighted_rows, "lightgbm"),
]
BOOSTERS = "lightgbm", "xgboost"
GIVEN = {"numpy": ("value",), **dict.fromkeys(BOOSTERS, ("gradient", "hessian_diagonal"))}


@pytest.mark.parametrize("function, framework", RIGHT)
def test_a_right_loss_is_not_accused(function, framework):
    report = audited(function, ENTROPY, framework)
    assert report.grade <= "C"  # torch's and JAX's own softplus lose digits at saturation
    assert not [x for x in report.findings if x.kind in ("convention", "mistake")]
    (verdict,) = report.verdicts
    assert tuple(verdict.measured) == GIVEN.get(framework, ("value", "gradient"))


@pytest.mark.parametrize(
    "function, loss, framework, name",
    [
        (logarithm_of_base_2, ENTROPY, "numpy", "log-base-2"),
        (twice, ENTROPY, "torch", "doubled"),
        (with_epsilon, ENTROPY, "jax", "epsilon-added"),
        (same_alpha, FOCAL, "keras", "alpha-on-both"),
        (pushed_down, ENTROPY, "tensorflow", "negated"),
        (p_for_a_hessian, ENTROPY, "xgboost", "hessian-of-p"),
        (twice_the_hessian, ENTROPY, "lightgbm", "hessian-doubled"),
        (uphill, ENTROPY, "lightgbm", "gradient-negated"),
    ],
)
def test_a_mistake_is_named_and_its_line_can_be_pasted(function, loss, framework, name):
    report = audited(function, loss, framework)
    finding = report.findings[0]
    assert (report.grade in "DF") and finding.name == name, report.findings
    if framework in BOOSTERS:
        assert "the value" not in finding.sentence.lower()
    *imports, call = finding.snippet
    if framework in BOOSTERS and find_spec(framework) is None:
        return
    names = {function.__name__: function}
    exec("\n".join(imports), names)
    answer = eval(call, names)
    one = answer[finding.example.verb == "hessian_diagonal"] if isinstance(answer, tuple) else answer
    if finding.example.verb != "gradient" or framework in BOOSTERS:
        assert np.asarray(one).ravel()[0] == pytest.approx(finding.example.computed, rel=1e-6)


def test_rows_of_classes_have_hessians_too():
    """LightGBM's and XGBoost's scores are (n, C), and their labels floats, even where they are classes."""
    seen = set()

    def objective(predt, dtrain):
        labels = dtrain.get_label()
        seen.add(labels.dtype.name)
        p = np.exp(predt - predt.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        y = labels if labels.ndim == 2 else np.eye(p.shape[1])[labels.astype(int)]
        return p - y, 2 * p * (1 - p)

    report = reflosses.audit(objective, CrossEntropy((1.0, 1.0, 1.0)), framework="xgboost", dtypes=["float32"])
    assert report.findings[0].name == "hessian-doubled" and seen <= {"float32", "float64"}
    (verdict,) = report.verdicts
    assert len(verdict.measured["hessian_diagonal"].scatter) == verdict.measured["hessian_diagonal"].results


# Bad targets --------------------------------------------------------------------------------------


MODULE = """
import numpy as np
def right(z, y):
    return np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z)))
def strange(z, y):
    value = right(np.asarray(z), np.asarray(y))
"""
BAD = [
    ("return value + 0j", None, "returns an array of complex64, not numbers"),
    ("return value if len(z) < 20 else value[:3]", None, "returns a value of shape (3,) where (470,) is expected"),
    ("return value if len(z) < 20 else None", None, "returns NoneType, not numbers"),
    ("return value if len(z) < 20 else __import__('time').sleep(99)", None, "does not return within 4 seconds"),
    ("__import__('sys').exit('bye')", None, "raises SystemExit: bye"),
    ("raise KeyboardInterrupt", None, "raises KeyboardInterrupt"),
    ("__import__('ctypes').string_at(0)", None, "ends the process that runs it, by signal"),
    ("raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})", None, "the target raises Mute"),
    ("return z.sigmoid()", "numpy", "AttributeError: 'numpy.ndarray' object has no attribute 'sigmoid'"),
    ("return value", "jax", "called with arrays of jax, raises Tracer"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("body, framework, words", BAD, ids=range(len(BAD)))
def test_a_bad_target_is_one_sentence(folder, body, framework, words):
    if sentence := missing(framework):
        pytest.skip(sentence)
    (folder / "bad_losses.py").write_text(f"{MODULE}    {body}\n")
    with pytest.raises(TargetError) as error:
        examine("bad_losses:strange", ENTROPY, framework=framework, timeout=4)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_an_answer_of_another_shape_is_refused_here_too():
    with pytest.raises(TargetError, match="returns a value of shape"):
        reflosses.audit(lambda z, y: of_numpy(z, y)[: 9 if len(z) > 20 else None], ENTROPY)


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_a_framework_that_is_missing_is_named(folder):
    (folder / "keras_losses.py").write_text("import keras\nf = keras.losses.binary_crossentropy\n")
    found = CliRunner().invoke(main, ["audit", "keras_losses:f", "--as", "sigmoid_focal", "--framework", "tensorflow"])
    assert found.exit_code == 2
    assert found.stderr.splitlines()[-1] == "Error: tensorflow is not installed: pip install tensorflow"


def test_keras_without_a_backend_of_ours_is_a_sentence(monkeypatch):
    if find_spec("keras") is None:
        pytest.skip("keras is not installed")
    monkeypatch.setenv("KERAS_BACKEND", "openvino")
    assert missing("keras") == "Keras needs a backend, one of jax, torch, tensorflow: KERAS_BACKEND names it"


def test_a_noisy_class_of_keras_is_audited_and_heard_only_once(folder):
    """Neither a backend is set nor a framework named; nothing that it prints reaches the terminal."""
    if find_spec("keras") is None or (find_spec("jax") is None and find_spec("torch") is None):
        pytest.skip("keras is not installed")
    (folder / "noisy.py").write_text(
        "import os\n\nimport keras\n\nprint('imported')\n\n\nclass Loss(keras.losses.BinaryFocalCrossentropy):\n"
        "    def call(self, y_true, y_pred):\n"
        "        os.write(1, b'raw noise')\n        os.write(2, b'raw noise')\n        print('called')\n"
        "        return super().call(y_true, y_pred)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    command = [sys.executable, "-m", "reflosses", "audit", "noisy:Loss", "--framework", "keras"]
    command += ["--as", "sigmoid_focal(alpha=none)", "--dtype", "float32"]
    found = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment)
    assert found.returncode == 0, found.stderr
    assert "it prints 'called" in found.stdout and "noise" not in found.stdout + found.stderr
    assert "imported" not in found.stdout and 'os.environ["KERAS_BACKEND"] = ' in found.stdout


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(diagnose, "SECONDS", 0.1)  # where there is a pair of causes, none of these has one

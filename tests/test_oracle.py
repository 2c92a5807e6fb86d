"""The oracle is right, and shares nothing with what it judges."""

import ast
import builtins
import math
import sys
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import mpmath
import numpy as np
import pytest
from flint import arb, ctx
from mpmath import mpf

import reflosses.oracle
from reflosses import textbook
from reflosses.audit.measure import errors, is_within, narrow_errors, ulp
from reflosses.audit.points import points
from reflosses.domain import REAL, Targets, predictions
from reflosses.losses import LOSSES, BinaryCrossEntropy, CategoricalFocal, CrossEntropy, LabelSmoothing, SigmoidFocal
from reflosses.oracle import VERBS, certify, magnitude, round_to

DTYPES = np.float16, ml_dtypes.bfloat16, np.float32, np.float64
CASES = [loss(*setting) for loss in LOSSES for setting in loss.settings]
INF = math.inf


def near(ball, truth, digits=28):
    """Whether a ball agrees with an mpmath number, or with an arb, to so many digits."""
    with ctx.workprec(2048):
        truth = truth if isinstance(truth, arb) else arb(mpmath.nstr(truth, 60))
        return abs(ball - truth) <= arb(10) ** -digits * abs(truth)


def row_of(loss):
    """A point at which nothing vanishes, for any loss."""
    if predictions(loss) != REAL:
        return ([0.5, 0.03125, 0.25], [0.125, 0.25, 0.625]) if loss.targets.rows else (0.6875, 0.375)
    if loss.targets.rows:
        return [0.5, -1.25, 2.0], [0.125, 0.25, 0.625]
    return -1.25, 1.0 if loss.targets is Targets.BINARY else 0.375


# Against formulas written here ----------------------------------------------------------------


@pytest.fixture(autouse=True)
def many_digits():
    with mpmath.workdps(700):  # 1 - exp(-1000) has 435 digits before the interesting ones
        yield


def softmax(z):
    e = [mpmath.exp(mpf(x)) for x in z]
    return [x / sum(e) for x in e]


ROWS = [
    ([20.0, 0.0, 0.0], [1, 0, 0]),
    ([40.0, 0.0, 0.0], [0, 0, 1]),
    ([800.0, -3.0], [1, 0]),
    ([1e4, 1e4, 1e4], [0.25, 0.5, 0.25]),
    ([-1.5, 0.25, 7.0, 0.0], [0.1, 0.2, 0.3, 0.4]),
]


@pytest.mark.parametrize("z, y", ROWS)
def test_cross_entropy_agrees_with_mpmath(z, y):
    p, loss = softmax(z), CrossEntropy()
    assert near(certify(loss, z, y)[0], -sum(b * mpmath.log(a) for a, b in zip(p, map(mpf, y)) if b))
    total, n = sum(map(mpf, y)), range(len(z))
    for got, a, b in zip(certify(loss, z, y, "gradient"), p, y):
        truth = a * total - mpf(b)
        assert near(got, truth) or abs(truth) < mpf(2) ** -1300
    hessian = certify(loss, z, y, "hessian")
    for i in n:
        for j in n:
            truth = total * (p[i] * (1 - p[i]) if i == j else -p[i] * p[j])
            assert near(hessian[i * len(z) + j], truth)


@pytest.mark.parametrize("z", [0.0, 0.3, -16.7, 50.0, -745.0, 1000.0])
@pytest.mark.parametrize("y", [0.0, 1.0])
@pytest.mark.parametrize("gamma, alpha", [(2.0, 0.25), (0.5, 1.0), (5.0, 0.25)])
def test_focal_agrees_with_mpmath(z, y, gamma, alpha):
    def formula(x):
        q = 1 / (1 + mpmath.exp(-x if y == 1 else x))
        return -(alpha if y == 1 else 1 - mpf(alpha)) * (1 - q) ** mpf(gamma) * mpmath.log(q)

    loss = SigmoidFocal(gamma, alpha)
    with mpmath.workdps(1500):  # differences of a tiny function of a huge argument
        truths = [mpmath.diff(formula, mpf(z), order) for order in range(3)]
    for verb, truth in zip(("value", "gradient", "hessian_diagonal"), truths):
        got = certify(loss, z, y, verb)[0]
        assert near(got, truth, digits=20) or abs(truth) < mpf(2) ** -1300 and got == 0


@pytest.mark.parametrize("z", [0.0, 0.3, -16.7, 50.0, -745.0])
@pytest.mark.parametrize("y", [0.0, 1e-30, 0.375, 1.0])
@pytest.mark.parametrize("w", [1.0, 0.0, 20.0])
def test_binary_cross_entropy_agrees_with_mpmath(z, y, w):
    p, loss, b = 1 / (1 + mpmath.exp(-mpf(z))), BinaryCrossEntropy(w), 1 - mpf(y)
    assert near(certify(loss, z, y)[0], -w * mpf(y) * mpmath.log(p) - b * mpmath.log(1 - p))
    assert near(certify(loss, z, y, "gradient")[0], b * p - w * mpf(y) * (1 - p))
    assert near(certify(loss, z, y, "hessian")[0], (w * mpf(y) + b) * p * (1 - p))
    assert near(certify(loss, z, y, "label_gradient")[0], mpmath.log(1 - p) - w * mpmath.log(p))
    assert near(certify(loss, z, y, "parameter_gradient")[0], -mpf(y) * mpmath.log(p))


def test_label_smoothing_is_cross_entropy_of_smoothed_labels():
    z, y, s = [0.5, -1.25, 2.0], [0, 1, 0], mpf(0.1)
    p, t = softmax(z), [s / 3, 1 - s + s / 3, s / 3]
    loss = LabelSmoothing(smoothing=0.1)
    assert near(certify(loss, z, 1)[0], -sum(b * mpmath.log(a) for a, b in zip(p, t)))
    slope = sum((b - mpf(1) / 3) * mpmath.log(a) for a, b in zip(p, y))
    assert near(certify(loss, z, 1, "parameter_gradient")[0], slope)


def test_closed_forms():
    with ctx.workprec(256):
        log_2, log_3 = arb(2).log(), arb(3).log()
    assert near(certify(BinaryCrossEntropy(), 0.0, 0.3)[0], log_2)
    assert certify(BinaryCrossEntropy(), 0.0, 0.25, "gradient")[0].contains(arb(0.25))
    assert certify(BinaryCrossEntropy(), 0.0, 0.5, "gradient") == [0]  # a root, exactly
    assert near(certify(CrossEntropy(), [7e307] * 3, 1)[0], log_3)
    assert certify(CrossEntropy(), [0.0, 0.0], [0.5, 0.5], "gradient") == [0, 0]
    assert certify(CrossEntropy(), [1e30, 0.0], 0) == [0]
    assert near(certify(CrossEntropy(), [1e300, -1e300], 1)[0], arb(2) * arb(1e300))


# Against differences of the same formula ------------------------------------------------------


def parts(loss):
    """Every real parameter of a loss as an exact ball, in order, and a way back."""
    flat, back = [], []
    for field in loss:
        if field is None:
            back.append(lambda numbers: None)
        elif hasattr(field, "_fields"):
            inner, rebuild = parts(field)
            back.append(lambda numbers, rebuild=rebuild: rebuild(numbers))
            flat += inner
        elif isinstance(field, tuple):
            back.append(lambda numbers, many=field: [numbers.pop(0) for _ in many])
            flat += [arb(x) for x in field]
        else:
            back.append(lambda numbers: numbers.pop(0))
            flat.append(arb(field))
    return flat, lambda numbers: type(loss)(*(part(numbers) for part in back))


def slopes(f, x):
    """Central differences of f, whose error at 4096 bits and this step is below 2^-300."""
    h = arb(2) ** -400
    steps = [[a + h * (i == j) for i, a in enumerate(x)] for j in range(len(x))]
    return [(f(up) - f([2 * a - b for a, b in zip(x, up)])) / (2 * h) for up in steps]


@pytest.mark.parametrize("loss", CASES, ids=str)
def test_every_verb_is_the_slope_of_the_formula(loss):
    logits, labels = row_of(loss)
    rows = loss.targets.rows
    with ctx.workprec(4096):
        z, y = ([arb(x) for x in part] if rows else [arb(part)] for part in (logits, labels))
        theta, rebuild = parts(loss)

        def value(z, y, theta):
            exact = rebuild(list(theta))
            return exact.textbook(z, y) if rows else exact.textbook(z[0], y[0])

        hessian = slopes(lambda x: sum(b * v for b, v in zip(slopes(lambda u: value(u, y, theta), x), (1, 2, 4))), z)
        truth = {
            "value": [value(z, y, theta)],
            "gradient": slopes(lambda x: value(x, y, theta), z),
            "hessian_vector_product": hessian,
            "label_gradient": slopes(lambda x: value(z, x, theta), y),
            "parameter_gradient": slopes(lambda x: value(z, y, x), theta),
        }
        vector = [1.0, 2.0, 4.0] if rows else 1.0
        for verb, expected in truth.items():
            got = certify(loss, logits, labels, verb, vector if "vector" in verb else None)
            assert len(got) == len(expected)
            assert all(abs(a - b) < arb(2) ** -90 for a, b in zip(got, expected)), verb


@pytest.mark.parametrize("loss", CASES, ids=str)
def test_the_hessians_agree(loss):
    logits, labels = row_of(loss)
    n = len(logits) if loss.targets.rows else 1
    hessian = certify(loss, logits, labels, "hessian")
    vector = [1.0, -0.5, 3.0][:n]
    products = certify(loss, logits, labels, "hessian_vector_product", vector if loss.targets.rows else vector[0])
    for i in range(n):
        assert hessian[i * n + i].overlaps(certify(loss, logits, labels, "hessian_diagonal")[i])
        assert all(hessian[i * n + j].overlaps(hessian[j * n + i]) for j in range(n))
        with ctx.workprec(256):
            assert sum((hessian[i * n + j] * vector[j] for j in range(n)), arb(0)).overlaps(products[i])


@pytest.mark.parametrize("loss", CASES, ids=str)
def test_magnitudes_bound_their_results(loss):
    logits, labels = row_of(loss)
    for verb in VERBS:
        vector = [1.0, -0.5, 3.0] if loss.targets.rows else -0.5
        arguments = (loss, logits, labels, verb, vector if "vector" in verb else None)
        certified, magnitudes = certify(*arguments), magnitude(*arguments)
        assert len(certified) == len(magnitudes)
        with ctx.workprec(256):
            assert all(abs(a) <= m * (1 + arb(2) ** -80) for a, m in zip(certified, magnitudes)), verb


# Edges ----------------------------------------------------------------------------------------


def test_a_masked_class_is_absent_but_counted():
    masked, plain = [1.0, -INF, 2.0], [1.0, 2.0]
    for verb in ("value", "gradient", "hessian_diagonal"):
        kept = certify(CrossEntropy(), masked, [0.25, 0, 0.75], verb)
        assert verb == "value" or kept.pop(1) == 0
        assert all(a.overlaps(b) for a, b in zip(kept, certify(CrossEntropy(), plain, [0.25, 0.75], verb)))
    assert certify(CrossEntropy(), masked, 0, "label_gradient")[1] == arb.pos_inf()
    assert certify(LabelSmoothing(smoothing=0.0), masked, 0)[0].is_finite()
    assert certify(LabelSmoothing(smoothing=0.5), masked, 0) == [arb.pos_inf()]
    assert certify(CrossEntropy(), masked, 1) == [arb.pos_inf()]
    assert all(x.is_nan() for x in certify(CrossEntropy(), masked, 1, "gradient"))


@pytest.mark.parametrize("z", [[math.nan, 0.0], [INF, 0.0], [-INF, -INF]])
def test_no_answer_is_an_error(z):
    with pytest.raises(ValueError, match="no certified answer"):
        certify(CrossEntropy(), z, 0)


class Distance(NamedTuple):
    """A loss with a kink where p = y."""

    targets = Targets.CLASSES

    def textbook(self, z, y):
        return sum(abs(p - t) for p, t in zip(textbook.softmax(z), y))


@pytest.mark.parametrize("t1", [0.0, 0.5])
def test_the_edge_of_a_support_has_a_value(t1):
    """p_0 = 0 for [0, 0, 2] at t2 = 1/2: no number of bits says so, but p_0 to a power is as small as one likes."""
    loss = reflosses.BiTempered(t1, 0.5)
    (value,) = certify(loss, [0.0, 0.0, 2.0], 0)
    p = mpf(1) / (2 - mpf(t1))  # of p_2 = 1
    assert near(value, mpf(1) / (1 - mpf(t1)) - mpf(1) / (2 - mpf(t1)) + p)
    assert reflosses.value(loss, [0.0, 0.0, 2.0], 0) == pytest.approx(float(value), rel=4e-16)
    with pytest.raises(ArithmeticError, match="do not decide the gradient"):
        certify(loss, [0.0, 0.0, 2.0], 0, "gradient")


def test_second_derivatives_do_not_depend_on_where_equal_logits_are():
    """With huge logits few bits leave every probability a ball around 0, which has no slope."""
    loss = reflosses.BiTempered(0.0, 0.001)
    far, near_zero = (certify(loss, [z, z, z], 0, "hessian") for z in (2.6e28, 0.0))
    assert all(abs(a - b) < arb(2) ** -90 and a != 0 for a, b in zip(far, near_zero, strict=True))


def test_slopes_in_an_exponent_do_not_depend_on_where_equal_logits_are():
    loss = CategoricalFocal(2.0)
    (far,), (near_zero,) = (certify(loss, [z, z], 1, "parameter_gradient") for z in (4.5e307, 0.0))
    assert abs(far - near_zero) < arb(2) ** -90 and far != 0


def test_the_edge_of_a_support_may_have_none():
    with pytest.raises(ArithmeticError, match="do not decide the value"):
        certify(reflosses.BiTempered(1.5, 0.5), [0.0, 0.0, 2.0], 0)


def test_a_kink_is_an_error_and_the_precision_comes_back():
    before = ctx.prec, ctx.cap
    assert certify(Distance(), [1.0, 1.0], [0.5, 0.5]) == [0]
    assert certify(Distance(), [0.0, 0.0], 0, "gradient")[0].contains(arb(-0.5))
    with pytest.raises(ArithmeticError, match="do not decide the gradient of Distance"):
        certify(Distance(), [1.0, 1.0], [0.5, 0.5], "gradient")
    assert (ctx.prec, ctx.cap) == before


def test_a_textbook_cannot_leave_the_balls():
    with pytest.raises(TypeError):
        math.exp(reflosses.oracle.number(1.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_scalars_are_exact(dtype):
    x = dtype(0.3)
    assert certify(BinaryCrossEntropy(), x, dtype(1))[0].overlaps(certify(BinaryCrossEntropy(), float(x), 1)[0])


# Rounding and ulps ----------------------------------------------------------------------------


def steps(dtype):
    """Pairs of neighbouring floats: ordinary, at a power of 2, subnormal, at the top."""
    limits = ml_dtypes.finfo(dtype)
    starts = [1.0, 0.75, 1.999, 3.1, float(limits.smallest_normal), 0.0, float(limits.smallest_subnormal)]
    for x in (dtype(x) for x in starts + [float(limits.max) * 0.9]):
        yield x, np.nextafter(x, dtype(np.inf))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_at_midpoints(dtype):
    with ctx.workprec(4096):
        for low, high in steps(dtype):
            bits = {x: int.from_bytes(x.tobytes(), "little") for x in (low, high)}
            even = min((low, high), key=lambda x: bits[x] % 2)
            middle, hair = (arb(float(low)) + arb(float(high))) / 2, arb(2) ** -1200
            for sign in (1, -1):
                assert round_to(sign * middle, dtype) == dtype(sign) * even
                assert round_to(sign * (middle + hair), dtype) == dtype(sign) * high
                assert round_to(sign * (middle - hair), dtype) == dtype(sign) * low
            assert round_to(arb(middle, hair), dtype) == even  # a tie within a rounding error
            if dtype is not np.float64:
                assert round_to(middle, dtype) == np.float64(float(middle)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_overflows_and_underflows_like_numpy(dtype):
    limits = ml_dtypes.finfo(dtype)
    with ctx.workprec(4096):
        top, smallest, hair = arb(float(limits.max)), arb(float(limits.smallest_subnormal)), arb(2) ** -1200
        threshold = top + arb(ulp(top, dtype)) / 2
        assert round_to(threshold, dtype) == np.inf and round_to(-threshold, dtype) == -np.inf
        assert round_to(threshold - hair, dtype) == limits.max
        assert round_to(smallest / 2, dtype) == 0
        assert round_to(smallest / 2 + hair, dtype) == limits.smallest_subnormal
        assert round_to((-(arb(10) ** 30)).exp(), dtype) == 0
        assert round_to((arb(10) ** 30).exp(), dtype) == np.inf
        assert round_to(arb.neg_inf(), dtype) == -np.inf and np.isnan(round_to(arb.nan(), dtype))
    assert isinstance(round_to(arb(1), dtype), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ulp_is_the_gap_to_the_next_number(dtype):
    for low, high in steps(dtype):
        assert ulp(arb(float(low)), dtype) == float(high) - float(low)


def test_errors_by_hand():
    eps = 2.0**-52
    with ctx.workprec(200):
        half_up = arb(1) + arb(eps) / 2
        huge = arb(10) ** 400
    one, zero = arb(1), arb(0)
    cases = [
        (1.0, half_up, None, 0.5),
        (1.0 + eps, one, None, 1.0),
        (1.0, one, None, 0.0),
        (0.0, zero, None, 0.0),
        (5e-324, zero, None, INF),
        (eps, zero, one, 1.0),
        (math.nan, one, None, INF),
        (INF, one, None, INF),
        (INF, huge, None, 0.0),
        (-INF, huge, None, INF),
        (INF, arb.pos_inf(), None, 0.0),
        (1.0, arb.pos_inf(), None, INF),
        (1.0, arb.nan(), None, 0.0),
        (1e-323, arb(5e-324), None, 1.0),
    ]
    for computed, certified, terms, expected in cases:
        assert errors(np.array([computed]), [certified], terms and [terms]).tolist() == [expected]


def test_the_two_gates():
    one, tiny = arb(1), arb(2.0**-40)
    assert is_within(np.array([1 + 4 * 2.0**-52]), [one]).all()
    assert not is_within(np.array([1 + 5 * 2.0**-52]), [one]).any()
    for dtype in DTYPES[:3]:
        step = float(ml_dtypes.finfo(dtype).eps)
        with ctx.workprec(200):
            inside, outside = one + arb(step) * 0.5005, one + arb(step) * 0.52
        assert is_within(np.array([1.0], dtype), [inside]).all()
        assert not is_within(np.array([1.0], dtype), [outside]).any()
    with ctx.workprec(200):  # cancelled to 2^-40: three float64 ulps of the terms are excused
        off = tiny + 3 * arb(2) ** -52
    assert narrow_errors(np.array([2.0**-40], np.float32), [off], [one]) == [0.0]
    assert narrow_errors(np.array([2.0**-40], np.float32), [off]) > 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nan_passes_only_where_the_terms_overflow(dtype):
    nan, one, beyond = np.array([np.nan], dtype), [arb(1)], [arb(2) ** 1025]
    assert is_within(nan, one, beyond).all() and is_within(nan, beyond).all()
    assert not is_within(nan, one).any() and not is_within(nan, one, [arb(2) ** 1000]).any()
    assert not is_within(np.array([1.0], dtype), beyond).any()
    assert not is_within(np.array([-np.inf], dtype), beyond).any()


# The points -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", CASES, ids=str)
def test_points_are_legal(loss, dtype):
    groups = points(loss, dtype)
    assert len({group.name for group in groups}) == len(groups)
    for name, reason, logits, labels in groups:
        assert len(logits) == len(labels) > 0 and reason and logits.dtype == dtype, name
        if labels.ndim == 2:
            total = labels.astype(np.float64).sum(axis=1)
            assert np.all(np.abs(total - 1) <= math.sqrt(ml_dtypes.finfo(dtype).eps)), name
            assert np.all(labels[logits == -np.inf] == 0), name
        elif logits.ndim == 2:
            assert np.all(logits[np.arange(len(labels)), labels] > -np.inf), name


# Independence ---------------------------------------------------------------------------------

PACKAGE = Path(reflosses.oracle.__file__).parent
INDEPENDENT = "oracle.py", "textbook.py"
MAY_IMPORT = (sys.stdlib_module_names | {"flint", "numpy", "ml_dtypes"}) - {"importlib"}


def forbidden_imports(source):
    """Imports beyond the standard library, flint, numpy and the two independent modules."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] not in MAY_IMPORT]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [name for name in names if f"{name}.py" not in INDEPENDENT]
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] not in MAY_IMPORT:
            found.append(node.module)
        elif isinstance(node, ast.Name) and node.id == "__import__":
            found.append(node.id)
    return found


def forbidden_names(source):
    """What ``textbook`` and ``magnitudes`` of the classes in a source reach for and must not.

    They may use their arguments, locals and builtins, the module ``textbook``, the fields of the
    class, its methods that obey the same rule, and the formulas of a nested loss.
    """
    tree = ast.parse(source)
    found = [
        "a textbook from elsewhere"
        for node in ast.walk(tree)
        for alias in getattr(node, "names", []) * isinstance(node, (ast.Import, ast.ImportFrom))
        if (alias.asname or alias.name) == "textbook" and not (alias.name == "textbook" and node.level == 2)
    ]
    for cls in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        methods = {node.name: node for node in cls.body if isinstance(node, ast.FunctionDef)}
        fields = {node.target.id for node in cls.body if isinstance(node, ast.AnnAssign)}
        waiting, seen = [name for name in ("textbook", "magnitudes") if name in methods], set()
        while waiting:
            seen.add(name := waiting.pop())
            inside = list(ast.walk(methods[name]))
            known = {node.arg for node in inside if isinstance(node, ast.arg)}
            known |= {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
            known |= {
                node.name for node in inside if isinstance(node, ast.FunctionDef)
            }  # and what stands in it is inside
            for node in inside:
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    found.append("import")
                elif isinstance(node, ast.Name) and node.id not in known | {*dir(builtins), "textbook"}:
                    found.append(node.id)
                elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                    if node.attr in methods:
                        waiting += [node.attr] * (node.attr not in seen)
                    elif node.attr not in fields:
                        found.append(f"self.{node.attr}")
                elif isinstance(node, ast.Attribute) and not (
                    node.attr in ("textbook", "magnitudes")
                    or (isinstance(node.value, ast.Name) and node.value.id == "textbook")
                ):
                    found.append(f".{node.attr}")
    return found


@pytest.mark.parametrize("name", INDEPENDENT)
def test_the_oracle_imports_nothing_it_judges(name):
    assert forbidden_imports((PACKAGE / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", sorted((PACKAGE / "losses").glob("*.py")), ids=lambda path: path.stem)
def test_formulas_share_nothing_with_kernels(path):
    assert forbidden_names(path.read_text(encoding="utf-8")) == []


LOSS = """from .. import textbook
class Loss:
    g: float
    def kernel(self, z): return exp(z)
    def textbook(self, z): """


@pytest.mark.parametrize(
    "body, culprit",
    [
        ("return exp(z)", "exp"),
        ("return self.kernel(z)", "exp"),
        ("return self.loss_of(z)", "self.loss_of"),
        ("return self.g.kernel(z)", ".kernel"),
        ("return special.exp(z)", "special"),
        ("from ..special import exp as sum; return sum(z)", "import"),
    ],
)
def test_a_shared_formula_is_caught(body, culprit):
    assert culprit in forbidden_names(LOSS + body)
    assert forbidden_names(LOSS + "return self.g * textbook.exp(z) + sum(x for x in [z])") == []
    assert forbidden_names("from ..special import exp as textbook\n") != []


@pytest.mark.parametrize(
    "line",
    ["from .special import exp", "from . import rows", "import numba", "from reflosses import cpu", "__import__('x')"],
)
def test_a_shared_import_is_caught(line):
    assert forbidden_imports(f"def f():\n    {line}\n") != []
    assert forbidden_imports("import math\nfrom flint import arb\nfrom . import textbook\n") == []

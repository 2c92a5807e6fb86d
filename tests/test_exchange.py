"""Audits through files: what is written is read back to the bit, results are judged, bad files are one sentence."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner
from flint import arb, ctx

import reflosses
from reflosses import BinaryCrossEntropy, CrossEntropy, SigmoidFocal
from reflosses.__main__ import main
from reflosses.audit import exchange
from reflosses.audit.exchange import MANIFEST, MISTAKES, VERBS, check, export
from reflosses.audit.formats import FORMS, read, write
from reflosses.audit.truth import Batch, batches
from reflosses.losses import LOSSES
from reflosses.oracle import certify
from reflosses.spelling import parse

C = Path(__file__).parent.parent / "docs" / "examples" / "c" / "sigmoid_focal.c"
SOFT = CrossEntropy((0.5, 2.0, 1.0))


RESULTS = tuple(f"/{verb}" for verb in VERBS)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Folders of vectors, by the loss."""
    folders = {}
    for loss in SigmoidFocal(2.0, 0.25), SOFT, BinaryCrossEntropy():
        folders[loss] = tmp_path_factory.mktemp("vectors")
        export(loss, folders[loss])
    return folders


@pytest.fixture
def folder(exported, tmp_path):
    """A folder of vectors that may be spoiled."""
    return Path(shutil.copytree(exported[SigmoidFocal(2.0, 0.25)], tmp_path / "vectors"))


def rounded(arrays, scale=lambda u: u):
    """Return the best results that there are, the certified ones in the dtypes of their blocks."""
    found = {}
    for name in [name.removesuffix("/logits") for name in arrays if name.endswith("/logits")]:
        z, u, value, gradient = (arrays[f"{name}/{key}"] for key in ("logits", "upstream", "value", "gradient"))
        factor = (scale(u) / u).reshape(-1, *[1] * (z.ndim - 1))
        found |= {f"{name}/value": value.astype(z.dtype), f"{name}/gradient": (gradient * factor).astype(z.dtype)}
        if f"{name}/hessian_diagonal" in arrays:
            found[f"{name}/hessian_diagonal"] = arrays[f"{name}/hessian_diagonal"].astype(z.dtype)
    return found


def same(a, b):
    return a.keys() == b.keys() and all(
        a[key].dtype == b[key].dtype and np.array_equal(a[key], b[key], equal_nan=True) for key in a
    )


# The set --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [SigmoidFocal(2.0, 0.25), SOFT])
def test_every_form_holds_the_same_bits(exported, loss):
    first, *others = (read(exported[loss] / f"vectors{suffix}") for suffix in FORMS)
    assert len(first) > 20 and all(same(first, x) for x in others)
    zeros = (
        [x["float32-single/logits"][x["float32-single/logits"] == 0] for x in (first, *others)] if loss != SOFT else []
    )
    assert all(np.signbit(x).any() and not np.signbit(x).all() for x in zeros), "the sign of zeros is kept"


def test_the_manifest_knows_the_files(exported):
    for loss, folder in exported.items():
        manifest = json.loads((folder / MANIFEST).read_text())
        assert parse(manifest["loss"]) == loss
        assert set(manifest["sha256"]) == {f"vectors{suffix}" for suffix in FORMS}
        for name, digest in manifest["sha256"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_an_export_can_be_repeated_to_the_bit(folder, tmp_path):
    again = tmp_path / "again"
    export(SigmoidFocal(2.0, 0.25), again)
    assert (again / MANIFEST).read_bytes() == (folder / MANIFEST).read_bytes()


@pytest.mark.parametrize("loss", [SigmoidFocal(2.0, 0.25), SOFT])
def test_the_truth_is_within_the_radius(exported, loss):
    arrays = read(exported[loss] / "vectors.npz")
    blocks = [name.removesuffix("/logits") for name in arrays if name.endswith("/logits")]
    for name in blocks:
        z, y, u = (arrays[f"{name}/{key}"] for key in ("logits", "labels", "upstream"))
        for i in range(0, len(z), 7):
            truth = certify(loss, z[i], y[i], "gradient")
            near, radius = (np.atleast_1d(arrays[f"{name}/gradient{x}"][i]) for x in ("", "_radius"))
            with ctx.workprec(2000):
                for exact, a, r in zip(truth, near, radius, strict=True):
                    distance = abs(exact * arb(float(u[i])) - arb(a)).upper()
                    assert np.isnan(a) or distance <= arb(r) * (1 + 1e-6), (name, i)
                    assert r <= abs(a) * 2.0**-53 + 2.0**-1071


def test_the_tolerance_is_that_of_grade_a(exported):
    """Everywhere at 0.7 of the tolerance a result has grade A, at 1.4 of it it has not."""
    loss = BinaryCrossEntropy()
    arrays = read(exported[loss] / "vectors.npz")
    truth = {key: x for key, x in arrays.items() if key.endswith(RESULTS) and "float64" in key}
    grades = []
    for share in 0.7, 1.4:
        with np.errstate(invalid="ignore"):
            moved = {key: x + np.sign(-x) * share * arrays[f"{key}_tolerance"] for key, x in truth.items()}
        path = exported[loss] / "moved.npz"
        write(path, moved)
        (verdict,) = check(exported[loss], path).verdicts
        grades.append(verdict.grade == "A")
    assert grades == [True, False]


def test_tolerances_grow_with_the_upstream_gradient(exported):
    arrays = read(exported[SigmoidFocal(2.0, 0.25)] / "vectors.npz")
    for verb in VERBS:
        truth, tolerance = (arrays[f"float64-single/{verb}{x}"] for x in ("", "_tolerance"))
        plain = np.abs(truth) > 1e-300
        assert plain.sum() > 50 and (tolerance[plain] >= 2 * np.spacing(np.abs(truth[plain]))).all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_numbers_of_16_bits_go_through_every_form(tmp_path, dtype):
    """The certified results have grade A; of others it is found what they are, in spite of their few digits."""
    loss, name = SigmoidFocal(2.0, 0.25), np.dtype(dtype).name
    export(loss, tmp_path, [name])
    for suffix in FORMS:
        arrays = read(tmp_path / f"vectors{suffix}")
        there = np.float32 if suffix == ".npz" and name == "bfloat16" else dtype
        assert {x.dtype for key, x in arrays.items() if key.endswith("/logits")} == {np.dtype(there)}
        write(tmp_path / f"results{suffix}", {key: x.astype(dtype) for key, x in rounded(arrays).items()})
        (verdict,) = check(tmp_path, tmp_path / f"results{suffix}").verdicts
        assert (verdict.grade, verdict.dtype) == ("A", name)
    for other, found in (SigmoidFocal(1.5, 0.25), "gamma"), (SigmoidFocal(2.0, None), "alpha-ignored"):
        wrong = {}
        for block in [key.removesuffix("/logits") for key in arrays if key.endswith("/logits")]:
            z, y, u = (arrays[f"{block}/{key}"] for key in ("logits", "labels", "upstream"))
            wrong[f"{block}/value"], wrong[f"{block}/gradient"] = reflosses.value_and_gradient(other, z, y, upstream=u)
        write(tmp_path / "wrong.json", wrong)
        report = check(tmp_path, tmp_path / "wrong.json")
        assert report.grade == "F" and report.findings[0].name == found


def test_hessians_are_certified_and_judged(exported, tmp_path):
    loss = BinaryCrossEntropy()
    arrays = read(exported[loss] / "vectors.npz")
    name = "float64-single"
    bends = reflosses.hessian_diagonal(loss, arrays[f"{name}/logits"], arrays[f"{name}/labels"])
    np.testing.assert_allclose(arrays[f"{name}/hessian_diagonal"], bends, rtol=4e-16, atol=1e-300)
    results = rounded(arrays)
    write(tmp_path / "right.npz", results)
    assert check(exported[loss], tmp_path / "right.npz").grade == "A"
    assert "hessian_diagonal" in check(exported[loss], tmp_path / "right.npz").verdicts[0].measured
    doubled = {key: x * (2 if key.endswith("hessian_diagonal") else 1) for key, x in results.items()}
    write(tmp_path / "doubled.npz", doubled)
    report = check(exported[loss], tmp_path / "doubled.npz")
    assert report.grade == "F" and report.findings[0].name == "hessian-doubled"


def test_results_may_be_decimal(folder, tmp_path):
    results = rounded(read(folder / "vectors.npz"))
    lines = ["reflosses vectors 1"]
    for name, x in results.items():
        lines += [f"array {name} {x.dtype.name} 1 {len(x)}", " ".join(f"{v:.17g}" for v in x)]
    (tmp_path / "results.txt").write_text("\n".join([*lines, f"end {len(results)}"]))
    assert check(folder, tmp_path / "results.txt").grade == "A"


def test_upstream_gradients_differ_and_lose_nothing(exported):
    for folder in exported.values():
        for key, u in read(folder / "vectors.npz").items():
            if key.endswith("/upstream"):
                assert len(set(u)) > 3 and min(u) < 0 and not (np.frexp(u)[0] % 0.5).any()


# Judgement ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMS)
def test_right_results_are_not_accused(exported, suffix, tmp_path):
    for folder in exported.values():
        path = tmp_path / f"results{suffix}"
        write(path, rounded(read(folder / "vectors.txt")))
        report = check(folder, path)
        assert report.grade == "A" and not report.findings and len(report.verdicts) == 2


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda x: x.name)
@pytest.mark.parametrize("loss", [SigmoidFocal(2.0, 0.25), SOFT])
def test_a_wrong_use_of_the_upstream_gradient_is_named(exported, loss, mistake, tmp_path):
    write(tmp_path / "results.npz", rounded(read(exported[loss] / "vectors.npz"), mistake.applied))
    report = check(exported[loss], tmp_path / "results.npz")
    assert report.grade == "F"
    assert [(x.kind, x.name) for x in report.findings] == [("mistake", mistake.name)]
    assert report.findings[0].snippet[0].startswith("float") and ", row " in report.findings[0].snippet[0]


def test_this_librarys_own_results_are_not_accused(exported, tmp_path):
    loss, found = SigmoidFocal(2.0, 0.25), {}
    arrays = read(exported[loss] / "vectors.npz")
    for name in [name.removesuffix("/logits") for name in arrays if name.endswith("/logits")]:
        value, gradient = reflosses.value_and_gradient(loss, arrays[f"{name}/logits"], arrays[f"{name}/labels"])
        found |= {f"{name}/value": value, f"{name}/gradient": gradient * arrays[f"{name}/upstream"]}
    write(tmp_path / "results.npz", found)
    assert check(exported[loss], tmp_path / "results.npz").grade == "A"


def test_what_may_be_left_out(exported, tmp_path):
    """A dtype, soft labels, gradients, Hessians."""
    folder = exported[SOFT]
    every = rounded(read(folder / "vectors.npz"))
    for kept in (
        [key for key in every if "float32" in key],
        [key for key in every if "soft" not in key],
        [key for key in every if key.endswith("/value")],
        [key for key in every if not key.endswith("/hessian_diagonal")],
        [key for key in every if not key.endswith("/gradient")],
    ):
        write(tmp_path / "results.npz", {key: every[key] for key in kept})
        report = check(folder, tmp_path / "results.npz")
        assert report.grade == "A"
        assert len(report.verdicts) == (1 if not any("float64" in key for key in kept) else 2)


@pytest.mark.parametrize("loss_class", LOSSES)
def test_every_loss_can_be_exported_and_checked(loss_class, tmp_path, monkeypatch):
    def few(loss, dtype):
        first, *_, last = batches(loss, dtype)
        return [Batch(loss, x.logits[:9], x.labels[:9], x.groups[:9], x.ordinary[:9], x.real) for x in (first, last)]

    monkeypatch.setattr(exchange, "batches", few)
    export(loss_class(), tmp_path, ["float32"])
    arrays = read(tmp_path / "vectors.npz")
    with np.errstate(over="ignore"):
        rounded = {key: x.astype("float32") for key, x in arrays.items() if key.endswith(RESULTS)}
    write(tmp_path / "results.txt", rounded)
    assert check(tmp_path, tmp_path / "results.txt").grade == "A"


# A program in C -------------------------------------------------------------------------------


def run_c(folder, where, *flags):
    """Compile the example and return the file of its results."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler")
    program, results = where / "sigmoid_focal", where / "results.txt"
    warnings = "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"
    subprocess.run([compiler, *warnings, *flags, "-O2", "-o", program, C, "-lm"], check=True)
    with open(folder / "vectors.txt") as inputs, open(results, "w") as outputs:
        subprocess.run([program], stdin=inputs, stdout=outputs, check=True)
    return results


def test_the_program_in_c_is_right(folder, tmp_path):
    report = check(folder, run_c(folder, tmp_path))
    assert report.grade in "AB" and not report.findings


def test_the_fault_of_the_program_in_c_is_found(folder, tmp_path):
    results = run_c(folder, tmp_path, "-DFAULT")
    report = check(folder, results)
    assert report.findings[0].name == "alpha-swapped" and report.findings[0].explained == 1
    assert report.grade == "F" and {x.dtype for x in report.verdicts} == {"float32", "float64"}
    outcome = CliRunner().invoke(main, ["vectors", "check", str(folder), str(results), "--grade", "B"])
    assert outcome.exit_code == 1 and report.findings[0].sentence in " ".join(outcome.stdout.split())


# Bad files ------------------------------------------------------------------------------------


def refused(folder, results):
    """Return the sentence with which the command line ends, and make sure that it is one."""
    outcome = CliRunner().invoke(main, ["vectors", "check", str(folder), str(results)])
    assert outcome.exit_code == 2, outcome.output
    assert "Traceback" not in outcome.output
    said = outcome.stderr.strip().splitlines()[-1]
    assert said.startswith("Error: ")
    return said


@pytest.mark.parametrize("suffix", FORMS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_results_that_were_cut_off_are_refused(folder, suffix, share):
    path = folder / f"results{suffix}"
    write(path, rounded(read(folder / "vectors.npz")))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "whole" in refused(folder, path)


@pytest.mark.parametrize("suffix", FORMS)
def test_bytes_at_random_are_refused(folder, suffix):
    random = np.random.default_rng(0)
    for size in 1, 8, 500:
        path = folder / f"results{suffix}"
        path.write_bytes(random.bytes(size))
        assert path.name in refused(folder, path)


GOOD = "reflosses vectors 1\narray float32-single/value float32 1 2\n0x1p+0 2.5\nend 1\n"


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("vectors 1", "vectors 2", 'must begin with "reflosses vectors 1"'),
        ("2.5", "two", "'two' among its numbers"),
        ("2.5", "2.5 3", 'line 3: expected "array" or "end", got \'3\''),
        ("float32 1 2", "float32 1 3", "'end' among its numbers"),
        ("float32 1 2", "float32 1 -2", "a whole number"),
        ("float32 1 2", "float32 9 2", "a whole number up to 2"),
        ("float32 1", "float8 1", "has the dtype 'float8'"),
        ("end 1", "end 2", "has 1 arrays and says that it has 2"),
        ("single/value", "single/vaule", "vaule, which is not asked for"),
        ("single/value", "single/gradient", "has no values"),
        ("2.5", "2.5", "the shape (2,) where"),
    ],
)
def test_a_mistake_in_a_text_is_one_sentence(folder, old, new, words):
    (folder / "results.txt").write_text(GOOD.replace(old, new))
    assert words in refused(folder, folder / "results.txt")


@pytest.mark.parametrize(
    "text, words",
    [
        ("[]", "must hold"),
        ('{"format": "reflosses vectors 0"}', "has the format 'reflosses vectors 0'"),
        ('{"format": "reflosses vectors 1", "arrays": 3}', "must hold"),
        ('{"format": "reflosses vectors 1", "arrays": {"a": {"dtype": "float32", "shape": [1]}}}', "must hold"),
        (
            '{"format": "reflosses vectors 1", "arrays": {"a": {"dtype": "float32", "shape": [1], "data": ["x"]}}}',
            "'x' among",
        ),
        (
            '{"format": "reflosses vectors 1", "arrays": {"a": {"dtype": "float32", "shape": [2], "data": [1]}}}',
            "1 numbers",
        ),
    ],
)
def test_a_mistake_in_a_json_is_one_sentence(folder, text, words):
    (folder / "results.json").write_text(text)
    assert words in refused(folder, folder / "results.json")


def test_what_is_not_there_is_one_sentence(folder, tmp_path):
    assert "cannot read nothing.txt" in refused(folder, tmp_path / "nothing.txt")
    assert "must end in .npz, .safetensors, .json or .txt" in refused(folder, tmp_path / "results.csv")
    assert "cannot read manifest.json" in refused(tmp_path, tmp_path / "results.txt")
    (folder / "vectors.json").unlink()
    assert "vectors.json is missing" in refused(folder, tmp_path / "results.txt")


def test_a_part_that_is_missing_is_named(exported, tmp_path):
    folder = exported[SOFT]
    every = rounded(read(folder / "vectors.npz"))
    write(tmp_path / "results.npz", {key: x for key, x in every.items() if key != "float32-3-classes-soft/gradient"})
    assert "results.npz has no float32-3-classes-soft/gradient" in refused(folder, tmp_path / "results.npz")
    np.savez(tmp_path / "results.npz", **{"float32-3-classes/value": np.zeros(3, complex)})
    assert "has the dtype complex128" in refused(folder, tmp_path / "results.npz")
    np.savez(tmp_path / "results.npz", **{"float32-3-classes/value": np.array([{}, 1])})
    assert "results.npz is no .npz file" in refused(folder, tmp_path / "results.npz")


@pytest.mark.parametrize("suffix", FORMS)
def test_a_set_that_was_changed_is_refused(folder, suffix):
    write(folder / "results.npz", rounded(read(folder / "vectors.npz")))
    path = folder / f"vectors{suffix}"
    spoiled = bytearray(path.read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    path.write_bytes(spoiled)
    assert f"{path.name} was changed" in refused(folder, folder / "results.npz")


def test_a_set_that_was_changed_with_its_digests_is_refused(folder):
    write(folder / "results.npz", rounded(read(folder / "vectors.npz")))
    path = folder / "vectors.npz"
    arrays = read(path)
    arrays["float64-single/gradient"][3] = np.nextafter(arrays["float64-single/gradient"][3], np.inf)
    write(path, arrays)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["sha256"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert "float64-single/gradient is not the certified result" in refused(folder, folder / "results.npz")


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda m: "{", "no JSON"),
        (lambda m: "[]", "has no 'format'"),
        (lambda m: json.dumps({**m, "format": "else"}), "not of the format"),
        (lambda m: json.dumps({**m, "loss": "focal"}), "the loss in manifest.json: there is no loss 'focal'"),
        (lambda m: json.dumps({**m, "loss": "sigmoid_focal(gamma=1)"}), "is not the certified result"),
        (lambda m: json.dumps({**m, "groups": []}), "is not complete"),
        (lambda m: json.dumps({**m, "blocks": {"float32-none": {}}}), "is not complete"),
        (lambda m: json.dumps({key: x for key, x in m.items() if key != "blocks"}), "has no 'blocks'"),
        (lambda m: json.dumps({**m, "sha256": {"../../secret": "0"}}), "../../secret is missing"),
    ],
)
def test_a_manifest_that_is_wrong_is_one_sentence(folder, spoil, words):
    write(folder / "results.npz", rounded(read(folder / "vectors.npz")))
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(spoil(manifest))
    assert words in refused(folder, folder / "results.npz")


def test_the_export_says_what_it_wrote_and_refuses_in_one_sentence(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(main, ["vectors", "export", *arguments])

    outcome = run(
        "--loss", "sigmoid_focal(gamma=0.3333333333333333)", "--out", str(tmp_path / "a"), "--dtype", "float32"
    )
    assert outcome.exit_code == 0 and len(outcome.stdout.split()) == 1 + len(FORMS)
    assert parse(json.loads((tmp_path / "a" / MANIFEST).read_text())["loss"]).gamma == 1 / 3
    (tmp_path / "file").write_text("")
    for arguments, words in (
        (("--loss", "focal", "--out", str(tmp_path)), "choose from"),
        (("--loss", "cross_entropy", "--out", str(tmp_path / "file" / "b")), "cannot write into"),
        (("--loss", "cross_entropy", "--out", str(tmp_path), "--dtype", "int8"), "is not one of 'float16', 'bfloat16'"),
    ):
        outcome = run(*arguments)
        assert outcome.exit_code == 2 and words in outcome.stderr.splitlines()[-1], outcome.output

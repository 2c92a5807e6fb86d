"""House rules, checked from the sources: who imports whom, what is documented, what runs."""

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reflosses
from reflosses.losses import LOSSES

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "reflosses"
MODULES = sorted(PACKAGE.glob("**/*.py"))

# Module -> what of the library it may import when it is loaded; a folder stands for its modules.
# The picture is in DESIGN.md: imports point one way.
LEAVES = {"domain", "lazy", "textbook", "threads", "arrays", "stamp", "version"}
MAY_IMPORT = {
    **dict.fromkeys(LEAVES, set()),
    "special": set(),
    "single": {"special"},
    "dispatch": {"special", "single"},
    "vectors": {"special"},
    "rows": {"special", "single", "dispatch", "vectors"},
    "odds": {"special", "single", "dispatch", "rows", "vectors"},
    "divergence": {"special"},
    "tempered": {"special", "single", "dispatch", "rows"},
    "one_against_rest": {"special", "single", "dispatch", "rows"},
    "probabilities": {"special", "rows", "one_against_rest"},
    "geometry": {"special", "dispatch", "rows", "one_against_rest", "tempered", "probabilities"},
    "columns": {"special", "rows", "geometry"},
    "rough": {"special"},
    "lanes": {"special", "rough", "dispatch", "rows", "tempered", "geometry"},
    "masses": {"special", "dispatch", "rows", "geometry", "odds", "vectors", "entries"},
    "entries": {"special", "dispatch", "rows", "geometry", "tempered"},
    "cpu": {
        *("special", "dispatch", "rows", "columns", "odds", "masses", "vectors"),
        *("geometry", "tempered", "lanes", "entries"),
    },
    "ptx": set(),
    "cuda": {"special", "dispatch", "rows", "one_against_rest", "tempered", "geometry", "entries", "ptx"},
    "losses": {"domain", "textbook", "special", "dispatch", "divergence", "losses", "tempered"},
    "labels": {"arrays", "domain", "threads"},
    "device": {"arrays", "cuda", "domain", "labels", "stamp"},
    "api": {"arrays", "cpu", "device", "dispatch", "domain", "labels", "odds", "stamp", "threads"},
    "transfer": {
        "arrays",
        "cpu",
        "device",
        "dispatch",
        "divergence",
        "domain",
        "special",
        "stamp",
        "tempered",
        "threads",
    },
    "risk": {"api", "domain", "transfer"},
    "solve": {"domain", "risk"},
    "linear": {"dispatch", "losses", "risk", "solve", "transfer"},
    "compat": {"api", "arrays", "compat", "domain", "labels", "losses", "plots", "transfer"},
    "__init__": {
        *("api", "audit", "boosting", "domain", "losses", "objectives", "risk", "textbook", "threads", "transfer"),
        "version",
    },
    "objectives": {"api", "dispatch", "domain", "losses", "objectives", "spelling", "transfer"},
    "boosting": {"api", "boosting", "lazy", "losses", "objectives"},
    "dask": {"api", "arrays", "dask", "lazy", "losses", "objectives", "risk", "stamp"},
    "oracle": set(),
    "spelling": {"api", "domain", "losses"},
    "plots": {"api", "dispatch", "domain", "spelling", "transfer"},
    "testing": {"audit", "domain", "losses", "transfer"},
    "audit": {"api", "arrays", "audit", "domain", "losses", "oracle", "spelling", "transfer", "version"},
    "commands": {"api", "audit", "commands", "domain", "losses", "oracle", "plots", "spelling"},
    "__main__": {"commands", "version"},
}
SYSTEMS = {"jax", "keras", "optax", "scipy", "sklearn", "torch"}
HEAVY = {
    "catboost",
    "click",
    "dask",
    "distributed",
    "flint",
    "hypothesis",
    "jinja2",
    "lightgbm",
    "markupsafe",
    "matplotlib",
    "ml_dtypes",
    "rich",
    "safetensors",
    "xgboost",
} | SYSTEMS
MAY_BE_HEAVY = {
    *("audit", "boosting", "commands", "dask", "linear", "oracle", "plots", "solve", "testing", "__main__"),
}


def part(path):
    """Return the name by which the table above knows a file."""
    inside = path.relative_to(PACKAGE).parts
    return inside[0] if len(inside) > 1 else path.stem


def imports(path):
    """Yield the modules that a file imports, ours as ``.name``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            outside = node.level == depth  # this many dots reach the package itself
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (f".{name.split('.')[0] if outside else part(path)}" for name in names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    ours = {name[1:] for name in imports(path) if name.startswith(".")}
    assert ours <= MAY_IMPORT[part(path)], f"{path.name} imports {sorted(ours - MAY_IMPORT[part(path)])}"
    assert "reflosses" not in set(imports(path)), "imports inside the package are relative"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_packages_are_the_audits_business(path):
    if part(path) not in MAY_BE_HEAVY:
        assert not HEAVY & set(imports(path))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_what_the_stamp_reads_is_machine_code(path):
    stamped = path.parent in (PACKAGE, PACKAGE / "losses")
    assert stamped or not re.search(r"^\s*@(inline|njit|by_\w+|cuda\.jit)", path.read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize(
    "name, missing, extra",
    [
        ("boosting.LGBMLossClassifier", "lightgbm", "gbdt"),
        ("boosting.XGBLossClassifier", "xgboost", "gbdt"),
        ("linear.LossLinearClassifier", "sklearn", "gbdt"),
        ("dask.value", "dask", "dask"),
    ],
)
def test_a_missing_library_is_named(name, missing, extra):
    """In a process of its own, as whatever was imported stays."""
    module, _, attribute = f"reflosses.{name}".rpartition(".")
    code = f"import sys; sys.modules[{missing!r}] = None; from {module} import {attribute}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.rstrip().endswith(f"pip install 'reflosses[{extra}]'") and missing in done.stderr


def test_the_table_has_no_cycle():
    order, waiting = [], dict(MAY_IMPORT)
    while waiting:
        ready = [name for name, needs in waiting.items() if needs - {name} <= set(order)]
        assert ready, f"a cycle among {sorted(waiting)}"
        order += ready
        for name in ready:
            del waiting[name]


# Documentation --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", reflosses.__all__)
def test_public_names_are_documented(name):
    thing = getattr(reflosses, name)
    if inspect.isclass(thing) or callable(thing):
        summary = inspect.getdoc(thing).splitlines()[0]
        assert len(summary) > 15 and summary.endswith("."), name


@pytest.mark.parametrize("verb", reflosses.api.__all__)
def test_verbs_have_examples(verb):
    assert ">>> " in inspect.getdoc(getattr(reflosses, verb)), verb


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_say_what_they_are(path):
    assert (
        path.name == "version.py"
        or ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        or (path.read_text(encoding="utf-8").strip() == "")
    )


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_a_loss_tells_everything_in_its_docstring(loss):
    text = inspect.getdoc(loss)
    places = [text.find(f"\n{title}\n{'-' * len(title)}\n") for title in SECTIONS]
    assert -1 not in places and places == sorted(places), dict(zip(SECTIONS, places, strict=True))
    assert "∂ℓ/∂y" in text, "the label gradient is derived too"
    assert re.search(r"\b(19|20)\d\d\b", text[places[-1] :]), "a reference has a year"


SECTIONS = "Definition", "Derivation", "Accuracy", "References"


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_a_loss_is_one_short_file(loss):
    path = Path(inspect.getsourcefile(loss))
    lines = path.read_text(encoding="utf-8").splitlines()
    assert path.parent.name == "losses" and len(lines) < 150
    fields = [line for line in lines if re.match(rf"    ({'|'.join(loss._fields)}): ", line)]
    own_lines = [line for line in fields if "# " in line or "class_weight" in line or re.search(r": [A-Z]\w+ = ", line)]
    assert len(fields) == len(loss._fields) == len(own_lines), "each parameter says what it is"
    assert len(loss.settings) >= 2 or not loss._fields


def test_no_loss_is_named_in_the_shared_code():
    """Exceptions belong to the loss that needs them."""
    names = {loss.__name__ for loss in LOSSES}
    for module in (
        "api",
        "labels",
        "cpu",
        "cuda",
        "device",
        "entries",
        "rows",
        "dispatch",
        "domain",
        "oracle",
        "audit/points",
        "audit/measure",
        "plots",
        "risk",
        "solve",
    ):
        tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not names & used, module


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_examples_run(path):
    failed, tried = doctest.testfile(
        str(path), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE, encoding="utf-8"
    )
    assert not failed and (tried or path.name != "README.md")


# Habits ---------------------------------------------------------------------------------------


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:  # not a checkout
        return [path for path in ROOT.glob("**/*") if path.suffix in (".py", ".md", ".cfg", ".toml")]
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "__main__.py"], ids=lambda path: path.stem)
def test_the_library_prints_nothing(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "print"]


def test_no_full_fast_math():
    """Single flags may be allowed where a sum may be reordered; everything at once never."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "fastmath":
                assert not (isinstance(node.value, ast.Constant) and node.value.value is True), path
                flags = {x.value for x in ast.walk(node.value) if isinstance(x, ast.Constant)} - {False}
                assert flags <= {"reassoc", "nsz", "contract"}, path


def test_nothing_downloaded_or_built_is_kept():
    for path in tracked():
        assert path.stat().st_size < 2**20 and path.suffix not in (".whl", ".so", ".pyc", ".nbc", ".nbi"), path


def test_no_machine_is_named():
    forbidden = re.compile(r"/(home|root|work|Users)/|/tmp/v\b|index-url|localhost")
    for path in tracked():
        if path.suffix in (".py", ".md", ".cfg", ".toml", ".csv", ".json", "") and path != Path(__file__).resolve():
            found = forbidden.search(path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{path.relative_to(ROOT)}: {found[0]}"


def test_versions_agree():
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", reflosses.__version__)


def test_every_module_can_be_imported():
    for path in MODULES:
        if path.stem not in ("__main__", "rivals"):
            names = path.relative_to(ROOT).with_suffix("").parts
            importlib.import_module(".".join(name for name in names if name != "__init__"))


def test_nothing_public_is_forgotten():
    verbs = set(reflosses.api.__all__)
    losses = {loss.__name__ for loss in LOSSES}
    assert verbs | losses <= set(reflosses.__all__)
    assert all(hasattr(reflosses, name) for name in reflosses.__all__)
    assert len(set(reflosses.__all__)) == len(reflosses.__all__)

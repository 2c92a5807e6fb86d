"""The sessions that README and docs show are held again: files are written, commands run, outputs compared.

A block ``python`` or ``c`` that begins with the name of a file in a comment is that file; a block
``console`` has commands after ``$``, and what they print.
"""

import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^(?:#|/\*) (\w+\.\w+)")
NUMBER = re.compile(r"(?<![\w.])-?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|inf|nan)(?!\w)")
ROUGHLY = 0.5  # relative: the last bits of a framework, and what hangs on them, differ between processors


class Session(NamedTuple):
    """The files of a page, and its commands with what they print."""

    files: dict
    commands: list


def session(text):
    """Return the session that a page shows."""
    files, commands = {}, []
    for language, block in BLOCK.findall(text):
        name = FILE.match(block)
        if language == "console":
            found = re.split(r"^\$ ", block, flags=re.MULTILINE)
            assert not found[0], "a session begins with a command"
            parts = [part.partition("\n") for part in found[1:]]
            commands += [(command, output) for command, _, output in parts if not command.startswith("pip ")]
        elif name:
            commands.append((name[1], block))
            files[name[1]] = block
    return Session(files, commands)


def agree(shown, printed):
    """Whether two texts have the same words, "..." standing for any, and roughly the same numbers."""
    pattern = re.escape(NUMBER.sub("#", " ".join(shown.split()))).replace(re.escape("..."), "(.*)")
    printed = " ".join(printed.split())
    if not re.fullmatch(pattern, NUMBER.sub("#", printed), re.DOTALL):
        return False
    if "..." in shown:
        return True  # which numbers are which is not known
    pairs = zip(NUMBER.findall(" ".join(shown.split())), NUMBER.findall(printed), strict=True)
    return all(a == b or math.isclose(float(a), float(b), rel_tol=ROUGHLY, abs_tol=1.0) for a, b in pairs)


@pytest.mark.parametrize("page", [x for x in PAGES if session(x.read_text("utf-8")).commands], ids=lambda x: x.name)
def test_a_session_can_be_held_again(page, tmp_path):
    text = page.read_text("utf-8")
    for package in "torch", "jax":
        if f"import {package}" in text and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    for command, shown in session(text).commands:
        if command in session(text).files:
            (tmp_path / command).write_text(shown, encoding="utf-8")
            continue
        command = command.replace("docs/", f"{ROOT / 'docs'}/")
        command = re.sub(
            r"^(reflosses|python)\b",
            lambda m: f"{sys.executable} -m reflosses" if m[1] != "python" else sys.executable,
            command,
        )
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8"
        )
        assert agree(shown, done.stdout), f"$ {command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    "shown, printed, expected",
    [
        ("grade F, 3.57 ulps\n", "grade F,  3.4 ulps", True),
        ("grade F, 3.57 ulps\n", "grade B,  3.57 ulps", False),
        ("2e7 ulps", "3e3 ulps", False),
        ("a ... z", "a b c z", True),
        ("a ... z", "a b c", False),
        ("is -0.5 at float32", "is -0.52 at float32", True),
        ("in float32", "in float64", False),
        ("is 1", "is nan", False),
    ],
)
def test_agreement_is_of_words_and_roughly_of_numbers(shown, printed, expected):
    assert agree(shown, printed) == expected


def test_there_is_a_session_of_a_new_user():
    assert session((ROOT / "README.md").read_text("utf-8")).commands

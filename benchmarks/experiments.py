"""What the experiments share: options, wrong labels, tables, and their places in ``docs/classic_ml.md``."""

import argparse
import sys
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parent.parent / "docs" / "classic_ml.md"
SEEDS = 5


def options(description):
    """Return the options of an experiment: ``seeds`` and ``publish``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--publish", action="store_true", help=f"put the tables into {PAGE.name}")
    return parser.parse_args()


def tell(*words):
    """Show how far an experiment is."""
    print(*words, file=sys.stderr, flush=True)


def flipped(labels, share, random):
    """Return labels of which a share are those of another class, all others being as likely."""
    classes = int(labels.max()) + 1
    wrong = random.permutation(len(labels)) < round(share * len(labels))
    return np.where(wrong, (labels + random.integers(1, classes, len(labels))) % classes, labels)


def spread(found):
    """Return numbers as text: their mean and their standard deviation."""
    return f"{np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}" if len(found) > 1 else f"{np.mean(found):.3f}"


def table(head, rows):
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def publish(name, text):
    """Put a table into its place on the page, between two comments with its name."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    before, found, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    if not found or end not in rest:
        raise ValueError(f"{PAGE.name} has no place for {name}")
    PAGE.write_text(before + begin + "\n" + text + "\n" + rest[rest.index(end) :], encoding="utf-8")

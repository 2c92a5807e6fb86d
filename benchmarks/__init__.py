"""Benchmarks against the frameworks; ``python -m benchmarks --help``."""

from pathlib import Path

RESULTS = Path(__file__).parent / "results"

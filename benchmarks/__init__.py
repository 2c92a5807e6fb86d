"""Benchmarks against the frameworks; ``python -m benchmarks --help``."""

"""The version, apart from the package so that building does not import it."""

__version__ = "0.1.0"

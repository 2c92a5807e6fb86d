"""The losses: one file each, and this list, which tests, docs and benchmarks iterate."""

from .binary_cross_entropy import BinaryCrossEntropy
from .cross_entropy import CrossEntropy
from .label_smoothing import LabelSmoothing
from .sigmoid_focal import SigmoidFocal

LOSSES = (CrossEntropy, LabelSmoothing, BinaryCrossEntropy, SigmoidFocal)

__all__ = [loss.__name__ for loss in LOSSES]

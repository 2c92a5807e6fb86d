"""The losses: one file each, and one line each here; tests, docs and benchmarks iterate ``LOSSES``."""

from .bi_tempered import BiTempered as BiTempered
from .bi_tempered_binary import BiTemperedBinary as BiTemperedBinary
from .binary_cross_entropy import BinaryCrossEntropy as BinaryCrossEntropy
from .binary_focal import BinaryFocal as BinaryFocal
from .binary_label_smoothing import BinaryLabelSmoothing as BinaryLabelSmoothing
from .binary_probability_cross_entropy import BinaryProbabilityCrossEntropy as BinaryProbabilityCrossEntropy
from .categorical_focal import CategoricalFocal as CategoricalFocal
from .classification_mae import ClassificationMAE as ClassificationMAE
from .cross_entropy import CrossEntropy as CrossEntropy
from .label_smoothing import LabelSmoothing as LabelSmoothing
from .other_classes_smoothing import OtherClassesSmoothing as OtherClassesSmoothing
from .probability_cross_entropy import ProbabilityCrossEntropy as ProbabilityCrossEntropy
from .rescaled_probability_cross_entropy import RescaledProbabilityCrossEntropy as RescaledProbabilityCrossEntropy
from .sigmoid_focal import SigmoidFocal as SigmoidFocal
from .soft_label_smoothing import SoftLabelSmoothing as SoftLabelSmoothing
from .sparse_label_smoothing import SparseLSR as SparseLSR

LOSSES = tuple(x for x in tuple(globals().values()) if hasattr(x, "textbook") and hasattr(x, "targets"))

__all__ = [loss.__name__ for loss in LOSSES]

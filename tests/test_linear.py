"""The linear classifier keeps scikit-learn's conventions, equals its logistic regression, and takes every loss."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from reflosses import BinaryCrossEntropy
from reflosses.linear import LossLinearClassifier


@parametrize_with_checks(
    [LossLinearClassifier(), LossLinearClassifier(BinaryCrossEntropy()), LossLinearClassifier(solver="lbfgs")]
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)

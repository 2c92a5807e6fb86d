"""For test suites of other projects: ``assert_conforms``, and in ``strategies`` what Hypothesis draws.

pytest knows ``assert_conforms`` as a fixture too, whose grade ``--reflosses-grade`` or the ini file sets.
"""

from .. import audit
from ..audit.grades import GRADES

__all__ = ["assert_conforms"]


def assert_conforms(target, loss, *, grade="B", framework=None, arguments=None, dtypes=None, timeout=20.0):
    """Fail unless an implementation of a loss is as good as a grade.

    Parameters
    ----------
    target, loss, framework, arguments, dtypes, timeout
        Those of ``reflosses.audit``.
    grade : {"A", "B", "C", "D", "F"}
        The worst that passes: A is at most 4 ulps off everywhere, B is backward stable.

    Returns
    -------
    Report

    Raises
    ------
    AssertionError
        With the sentences of the report, if the grade is worse, or the one why there is no report.
    ValueError
        If there is no such grade, loss, framework or dtype, or a parameter of the loss is not legal.

    Examples
    --------
    >>> import numpy as np, reflosses
    >>> def mine(z, y):
    ...     return (1 - y) * np.maximum(z, 0) + y * np.maximum(-z, 0) + np.log1p(np.exp(-np.abs(z)))
    >>> assert_conforms(mine, reflosses.BinaryCrossEntropy()).grade
    'A'
    """
    __tracebackhide__ = True  # a failing test shows the report, not this function
    if grade not in GRADES:
        raise ValueError(f"there is no grade {grade!r}; choose from {', '.join(GRADES)}")
    options = {"framework": framework, "arguments": arguments, "dtypes": dtypes, "timeout": timeout}
    try:
        report = audit(target, loss, **options)
    except ModuleNotFoundError:
        raise
    except audit.target.TargetError as error:
        raise AssertionError(str(error)) from None
    if report.grade > grade:
        raise AssertionError(f"grade {grade} is wanted\n\n{report}")
    return report

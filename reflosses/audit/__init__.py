"""The audit of implementations of losses: ``reflosses.audit(function, loss)`` says what is wrong with one.

The package itself is what is called; its modules are what it is made of: ``points`` and ``truth``
what is asked and answered, ``judge`` the grades, ``report`` what comes out.
"""

import sys
from types import ModuleType


class _Audit(ModuleType):
    """The package as a function: calling it audits, and only that imports what an audit needs."""

    def __call__(self, target, loss, *, framework=None, arguments=None, dtypes=None, timeout=20.0):
        """Compare somebody's implementation of a loss with certified results.

        Parameters
        ----------
        target : callable or str
            A function of logits and labels, an object that can be called, or a class of such.  It
            returns values, or values and gradient.  A text such as ``"module:callable"`` is run in a
            process of its own: it may hang, crash or end, and is told what it did.
        loss : NamedTuple or str
            What it should compute: ``SigmoidFocal(2.0, 0.25)`` or ``"sigmoid_focal(gamma=2, alpha=0.25)"``.
        framework : {"numpy", "torch", "jax", "keras", "tensorflow", "lightgbm", "xgboost"}, optional
            Whose arrays it takes; found out by trying unless given.
        arguments : str, optional
            The names or the order of its arguments, as in ``"y_true, y_pred"``.
        dtypes : sequence of dtype, optional
            Some of float16, bfloat16, float32 and float64; by default the last two.
        timeout : float
            How many seconds one call may take.

        Returns
        -------
        Report
            ``print`` tells it in sentences and a notebook shows its page; it has ``grade``,
            ``findings``, ``to_html()``, ``to_json()`` and ``to_junit()``.

        Raises
        ------
        reflosses.audit.target.TargetError
            With one sentence, if the target cannot be audited.
        ValueError
            If there is no such loss, framework or dtype, or a parameter of the loss is not legal.
        ModuleNotFoundError
            If what the audit needs is not installed.

        Examples
        --------
        >>> import numpy as np, reflosses
        >>> def entropy(logits, labels):
        ...     p = 1 / (1 + np.exp(-logits))
        ...     return -(labels * np.log(p) + (1 - labels) * np.log(1 - p))
        >>> report = reflosses.audit(entropy, reflosses.BinaryCrossEntropy())
        >>> report.grade
        'D'
        """
        try:
            from .door import audit
        except ModuleNotFoundError as error:
            message = f"the audit needs {error.name}, which is not installed: pip install 'reflosses[audit]'"
            raise ModuleNotFoundError(message, name=error.name) from None
        return audit(target, loss, framework=framework, arguments=arguments, dtypes=dtypes, timeout=timeout)


sys.modules[__name__].__class__ = _Audit

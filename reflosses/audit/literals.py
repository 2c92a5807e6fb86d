"""Arrays as text to paste into Python, as NumPy or a framework makes them."""

import numpy as np

MADE = {"torch": "torch.from_numpy({})", "jax": "jax.numpy.asarray({})", "keras": "keras.ops.convert_to_tensor({})"}
NARROWED = {"torch": ".bfloat16()", "jax": '.astype("bfloat16")'}  # NumPy has it by the name once ml_dtypes is there


def literal(x):
    """Return an array as nested lists of the shortest numbers that read back the same."""
    if x.ndim:
        return f"[{', '.join(map(literal, x))}]"
    if np.isfinite(x):
        text = str(x)
        return text[:-2] if text.endswith(".0") else text
    return {"inf": "np.inf", "-inf": "-np.inf"}.get(str(x), "np.nan")


def array(x, framework=None, layout="{}"):
    """Return an array as text; ``layout`` makes a view of it.

    >>> array(np.float32([0.5, 1]), "torch")
    'torch.from_numpy(np.float32([0.5, 1]))'
    """
    kind = x.dtype.name
    if kind == "bfloat16":
        made, narrowed = f"np.float32({literal(x)})", NARROWED.get(framework, '.astype("bfloat16")')
    else:
        made, narrowed = f"np.{kind}({literal(x)})", ""
    if x.size == 0 or x.dtype.kind in "iub":
        made = f"np.array({literal(x)}" + (")" if kind == "int64" else f", dtype=np.{kind})")
    within, after = (narrowed, "") if framework in (None, "keras") else ("", narrowed)
    return MADE.get(framework, "{}").format(layout.format(made) + within) + after

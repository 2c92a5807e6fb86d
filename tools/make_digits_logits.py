"""Make ``reflosses/audit/digits.npz``: the logits of a real classifier on real data.

Half of scikit-learn's digits train a small neural network; the file holds its logits on the
other half, in float32, with the true classes.  A network trained to the end is nearly always
sure and now and then wrong, which is what a loss meets in practice.

    python tools/make_digits_logits.py
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

WHERE = Path(__file__).parents[1] / "reflosses" / "audit" / "digits.npz"


def logits_of(network, pixels):
    """Return what the network's softmax is taken of."""
    hidden = np.maximum(pixels @ network.coefs_[0] + network.intercepts_[0], 0)
    return hidden @ network.coefs_[1] + network.intercepts_[1]


def main():
    """Train, check and write."""
    pixels, labels = load_digits(return_X_y=True)
    split = train_test_split(pixels / 16, labels, test_size=0.5, random_state=0, stratify=labels)
    train, held_out, train_labels, held_out_labels = split
    network = MLPClassifier((32,), solver="lbfgs", alpha=0.03, max_iter=2000, random_state=0).fit(train, train_labels)
    logits = logits_of(network, held_out)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p, network.predict_proba(held_out), rtol=1e-9, atol=1e-300)
    np.savez_compressed(WHERE, logits=logits.astype(np.float32), labels=held_out_labels.astype(np.uint8))
    accuracy = np.mean(logits.argmax(axis=1) == held_out_labels)
    gaps = np.ptp(np.sort(logits, axis=1)[:, -2:], axis=1)
    print(f"{len(logits)} rows, accuracy {accuracy:.3f}, median gap to the runner-up {np.median(gaps):.1f}")


if __name__ == "__main__":
    main()

"""A small network in NumPy, trained with the gradients of this library: what the examples share."""

import numpy as np

from reflosses import gradient


def network(sizes, random):
    """Return the layers of a network, (weights, biases) each, as He et al. 2015 draw them for ReLU."""
    pairs = zip(sizes[:-1], sizes[1:], strict=True)
    return [[random.standard_normal((m, n)) * np.sqrt(2 / m), np.zeros(n)] for m, n in pairs]


def activations(layers, x):
    """Return what every layer is given, and last the logits."""
    found = [x]
    for weights, biases in layers[:-1]:
        found.append(np.maximum(found[-1] @ weights + biases, 0))
    weights, biases = layers[-1]
    return [*found, found[-1] @ weights + biases]


def slopes(layers, x, labels, loss):
    """Return the derivatives of a batch's mean loss in all weights and biases."""
    *inputs, logits = activations(layers, x)
    slope = gradient(loss, logits, labels, reduction="mean")  # all that the network knows of the loss
    found = []
    for (weights, _), given in zip(layers[::-1], inputs[::-1], strict=True):
        found.append([given.T @ slope, slope.sum(axis=0)])
        slope = (slope @ weights.T) * (given > 0)
    return found[::-1]


def trained(loss, x, labels, sizes, *, epochs, seed, rate=1e-3, batch=32, after_epoch=lambda: None):
    """Return the layers of a network that Adam (Kingma, Ba 2015) has trained on shuffled batches."""
    random = np.random.default_rng(seed)
    layers = network(sizes, random)
    moments = [[[np.zeros_like(part), np.zeros_like(part)] for part in layer] for layer in layers]
    step = 0
    for _ in range(epochs):
        for chosen in np.array_split(random.permutation(len(x)), max(len(x) // batch, 1)):
            step += 1
            found = slopes(layers, x[chosen], labels[chosen], loss)
            for layer, layer_moments, layer_slopes in zip(layers, moments, found, strict=True):
                for part, (mean, square), slope in zip(layer, layer_moments, layer_slopes, strict=True):
                    mean += 0.1 * (slope - mean)
                    square += 0.001 * (slope * slope - square)
                    part -= rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        after_epoch()
    return layers


def accuracy(layers, x, labels):
    """Return the share of rows whose largest logit is the label's."""
    return np.mean(activations(layers, x)[-1].argmax(axis=1) == labels)

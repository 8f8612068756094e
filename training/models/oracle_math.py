"""Plain numpy pieces of the oracle, in float64. They share nothing with the models but their parameters."""

import math

import numpy as np

from data.features import Feature

Vector = np.ndarray


class Parameters(dict[str, Vector]):
    """A model's parameters and buffers by name, in float64."""

    def linear(self, name: str, x: Vector) -> Vector:
        """Returns the linear layer of that name, over one row."""
        y = self[f"{name}.weight"] @ x
        return y + self[f"{name}.bias"] if f"{name}.bias" in self else y

    def layer_norm(self, name: str, x: Vector) -> Vector:
        """Returns the layer norm of that name, over one row."""
        return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * self[f"{name}.weight"] + self[f"{name}.bias"]


def expand(features: list[Feature], values: Vector) -> list[float]:
    """Returns each feature scaled to [0, 1], or as a point on the circle of its period."""
    found = []
    for feature, value in zip(features, values):
        share = (value - feature.low) / (feature.high - feature.low)
        found += [math.sin(2 * math.pi * share), math.cos(2 * math.pi * share)] if feature.period else [share]
    return found


def softmax_sum(logits: list[float], values: list[Vector]) -> Vector:
    """Returns the sum of the values, weighed by the softmax of the logits."""
    weights = np.exp(np.array(logits) - max(logits))
    return sum(w * value for w, value in zip(weights / weights.sum(), values))


def silu(x: Vector) -> Vector:
    return x / (1 + np.exp(-x))

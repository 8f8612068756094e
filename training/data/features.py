"""Numeric features of interactions, candidates and requests."""

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from errors import UserError

NAME = "[a-z0-9][a-z0-9_-]{0,63}"  # the rule of bundle manifests


@dataclass
class Feature:
    """A numeric feature. With a period, as for the hour of the day, it enters as a point on a circle."""

    name: str
    low: float = 0.0
    high: float = 1.0
    default: float = 0.5
    period: bool = False

    @property
    def width(self) -> int:
        """Columns of the feature in a model's input."""
        return 2 if self.period else 1

    def expand(self, x: Tensor) -> Tensor:
        """Returns columns, [...] -> [..., width]: values scaled to [0, 1], or [sin, cos] of the place in the period."""
        x = (x - self.low) / (self.high - self.low)
        return torch.stack([(2 * math.pi * x).sin(), (2 * math.pi * x).cos()], -1) if self.period else x[..., None]


def parse_feature(text: str) -> Feature:
    """Parses `name`, `name:low:high` or `name:low:high:default`, each also with `:period` at the end.

    Raises UserError for another form, and for bounds that do not fit each other.
    """
    name, *rest = text.split(":")
    period = rest[-1:] == ["period"]
    try:
        numbers = [float(x) for x in (rest[:-1] if period else rest)]
    except ValueError:
        numbers = [0.0]
    if not re.fullmatch(NAME, name) or len(numbers) not in (0, 2, 3):
        raise UserError(
            f"feature {text!r}: NAME[:LOW:HIGH[:DEFAULT]][:period] is required, such as hour:0:24:12:period, "
            "with a NAME of a-z, 0-9, - and _"
        )
    low, high = numbers[:2] or (0.0, 1.0)
    default = numbers[2] if len(numbers) == 3 else (low + high) / 2
    if not low <= default <= high or low == high:
        raise UserError(f"feature {text!r}: the default must lie within LOW and HIGH, and these must differ")
    return Feature(name, low, high, default, period)

"""A number and how far chance may have moved it."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

__all__ = ["Estimate", "mean_of"]


class Estimate(NamedTuple):
    """A value and its standard error."""

    value: float
    standard_error: float


def mean_of(values: Float[Tensor, " n"]) -> Estimate:
    """The mean of n >= 2 independent values."""
    values = values.double()
    return Estimate(values.mean().item(), (values.std() / len(values) ** 0.5).item())

"""How to choose the noise levels and the step size of NCSN from the data (Song & Ermon 2020, NCSNv2, sections 3 and 4).

Technique 3 is the preconditioning `NCSN`, technique 5 the averaging of weights.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["largest_distance", "level_count", "level_ratio", "step_size"]


def largest_distance(data: Float[Tensor, "n *event"], chunk: int = 1024) -> float:
    """The largest Euclidean distance between two of n data: sigma_max, so that chains mix (technique 1).

    Args:
        data: (n, *event); some thousand samples of a large set are enough.
        chunk: rows of the n x n distances made at once.
    """
    flat = data.flatten(1)
    return max(float(torch.cdist(rows, flat).max()) for rows in flat.split(chunk))


def level_ratio(dimensions: int) -> float:
    """gamma = sigma_i / sigma_{i+1}, so that the shell of one level meets half of the next's (technique 2).

    The root of Phi(sqrt(2 D) (gamma - 1) + 3 gamma) - Phi(sqrt(2 D) (gamma - 1) - 3 gamma) = 1/2.

    Args:
        dimensions: D >= 5; with fewer there is no root: any ratio has shells that meet.

    Raises:
        ValueError: D < 5.
    """
    if dimensions < 5:
        raise ValueError(f"dimensions: {dimensions} < 5; shells of so few dimensions always meet, any ratio will do")

    def overlap(gamma: float) -> float:
        middle = torch.tensor([math.sqrt(2 * dimensions) * (gamma - 1)], dtype=torch.float64)
        upper, lower = torch.special.ndtr(middle + 3 * gamma), torch.special.ndtr(middle - 3 * gamma)
        return float(upper - lower)

    low, high = 1.0, 2.0
    while overlap(high) > 0.5:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if overlap(middle) > 0.5 else (low, middle)
    return (low + high) / 2


def level_count(sigma_min: float, sigma_max: float, dimensions: int) -> int:
    """The number of levels from sigma_max to sigma_min whose ratio is `level_ratio` or a little less."""
    return 1 + math.ceil(math.log(sigma_max / sigma_min) / math.log(level_ratio(dimensions)))


def step_size(sigma_min: float, sigma_max: float, levels: int, steps: int) -> float:
    """epsilon of annealed Langevin, so that each level ends with the variance that it should have (technique 4).

    With alpha_i = epsilon sigma_i^2 / sigma_min^2 and q = 1 - epsilon / sigma_min^2, a level that starts with the
    variance of the one before ends, after T steps, with sigma_i^2 times

        q^{2T} (gamma^2 - w) + w,   w = 2 epsilon / (sigma_min^2 (1 - q^2)),

    which is always above 1; the epsilon that brings it nearest is taken (to three digits, their number).

    Args:
        sigma_min: of the lowest level.
        sigma_max: of the highest.
        levels: L.
        steps: T, of each level; chosen by what can be afforded.
    """
    gamma = (sigma_max / sigma_min) ** (1 / (levels - 1))
    share = torch.logspace(-8, 0, 100_000, dtype=torch.float64)  # epsilon / sigma_min^2
    w = 2 / (2 - share)  # = 2 share / (1 - (1 - share)^2)
    variance = (1 - share) ** (2 * steps) * (gamma**2 - w) + w
    return float(share[variance.argmin()]) * sigma_min**2

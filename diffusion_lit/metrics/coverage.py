"""Coverage: how often the truth lies in a credible region that has a nominal probability.

With K samples and a truth of one law, the rank of the truth is uniform on 0..K. A region that is bounded by ranks then
has exactly the nominal coverage in expectation, for any K, if the rank on its edge counts in part.
"""

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.metrics.estimate import Estimate, mean_of

__all__ = ["covered", "hpd_coverage", "interval_coverage"]


def hpd_coverage(
    of_samples: Float[Tensor, "batch draws"], of_truth: Float[Tensor, " batch"], level: float = 0.9
) -> Estimate:
    """How often the truth is in the region of highest posterior density of mass `level`.

    The truth is inside if few enough samples have a greater density than it. Any other function of (x, y) makes a
    calibrated region too; the density's is the smallest.

    Args:
        of_samples: (B, K) log p(x | y), up to a constant for each y, of K samples for each of B measurements.
        of_truth: (B,) of the x that was measured.
        level: in (0, 1).

    Raises:
        UserError: level is not in (0, 1).
    """
    draws = of_samples.shape[1]
    inside = (_level(level) * (draws + 1) - torch.arange(draws + 1, dtype=torch.float64)).clamp(0, 1)
    truth = of_truth[:, None]
    return mean_of(_average(inside, of_samples > truth, of_samples == truth))


def interval_coverage(
    samples: Float[Tensor, "batch draws *event"], truth: Float[Tensor, "batch *event"], level: float = 0.9
) -> Estimate:
    """How often an entry of the truth lies between the (1 - level) / 2 quantiles of its samples.

    The standard error takes the entries of one truth as one, since they depend on each other.

    Args:
        samples: (B, K, *event), K for each of B measurements.
        truth: (B, *event).
        level: in (0, 1).

    Raises:
        UserError: level is not in (0, 1).
    """
    return mean_of(covered(samples, truth, level))


def covered(
    samples: Float[Tensor, "batch draws *event"], truth: Float[Tensor, "batch *event"], level: float
) -> Float64[Tensor, " batch"]:
    """The part of the entries of each truth that `interval_coverage` averages (B,)."""
    draws = samples.shape[1]
    rank = torch.arange(draws + 1, dtype=torch.float64)
    tail = (1 - _level(level)) / 2 * (draws + 1)  # ranks, or a part of one, that are left out at each end
    inside = 1 - (tail - rank).clamp(0, 1) - (tail - (draws - rank)).clamp(0, 1)
    truth = truth[:, None]
    return _average(inside, samples < truth, samples == truth).reshape(len(samples), -1).mean(1)


def _average(
    inside: Float64[Tensor, " ranks"], beyond: Bool[Tensor, "batch draws *event"], tied: Bool[Tensor, "..."]
) -> Float64[Tensor, "batch *event"]:
    """The mean of inside[rank] over the ranks that ties leave open."""
    sums = torch.cat((inside.new_zeros(1), inside.cumsum(0))).to(beyond.device)
    first, ties = beyond.sum(1), tied.sum(1)
    return (sums[first + ties + 1] - sums[first]) / (ties + 1)


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise UserError(f"level: {level} is not in (0, 1); give the probability of the region, such as 0.9")
    return level

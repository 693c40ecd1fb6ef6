"""Rank statistics: simulation-based calibration (Talts et al. 2018, arXiv:1804.06788)."""

import torch
from jaxtyping import Float, Int64
from scipy import stats
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.randomness import Randomness

__all__ = ["rank_histogram", "ranks", "uniformity"]


def ranks(
    samples: Float[Tensor, "batch draws *event"], truth: Float[Tensor, "batch *event"], *, seed: int = 0
) -> Int64[Tensor, "batch *event"]:
    """How many of K samples are below the truth: uniform on 0..K if all are of one posterior (Talts 2018, theorem 1).

    Too many low and high ranks: the samples are too narrow; too many in the middle: too wide; a slope: a bias. The
    samples must be independent of each other. Ties are broken by a coin.

    Args:
        samples: (B, K, *event).
        truth: (B, *event), drawn from the prior, each with the measurement that its samples are for.
        seed: of the coins.
    """
    below, tied = (samples < truth[:, None]).sum(1), (samples == truth[:, None]).sum(1)
    coin = Randomness(seed, torch.arange(len(truth)), truth.device).uniform(*truth.shape[1:])
    return below + (coin * (tied + 1)).long()


def rank_histogram(ranks: Int64[Tensor, " n"], draws: int, bins: int) -> Int64[Tensor, " bins"]:
    """Count ranks 0..K in bins of equally many ranks.

    Args:
        ranks: of one quantity.
        draws: K.
        bins: a divisor of K + 1.

    Raises:
        UserError: bins does not divide K + 1.
    """
    if (draws + 1) % bins:
        raise UserError(f"bins: {bins} does not divide {draws + 1}, the number of ranks of {draws} draws")
    return torch.bincount(ranks * bins // (draws + 1), minlength=bins)


def uniformity(ranks: Int64[Tensor, " n"], draws: int, bins: int = 20) -> float:
    """The p-value of Pearson's chi^2 test that the ranks are uniform; about 5 or more ranks a bin are needed.

    Raises:
        UserError: bins does not divide K + 1.
    """
    return float(stats.chisquare(rank_histogram(ranks, draws, bins).cpu().numpy()).pvalue)

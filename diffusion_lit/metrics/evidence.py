"""Estimates of an evidence p(y) from weights, against the exact one."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.metrics.estimate import Estimate

__all__ = ["evidence_error", "log_mean_exp"]


def log_mean_exp(log_weights: Float[Tensor, " n"]) -> Estimate:
    """log (1 / n) sum_i exp(log w_i), and its standard error by the delta method, sd(w) / (sqrt(n) mean(w)).

    The mean of the w is without bias, its logarithm lies below log E w by about half the squared standard error. With
    an error near 1 neither says anything: one weight rules.

    Args:
        log_weights: of independent w_i, n >= 2.
    """
    log_weights = log_weights.double()
    count = len(log_weights)
    centre = torch.logsumexp(log_weights, 0) - math.log(count)
    relative = (log_weights - centre).exp()
    return Estimate(centre.item(), (relative.std() / count**0.5).item())


def evidence_error(log_estimates: Float[Tensor, " runs"], exact: float) -> Estimate:
    """log of the mean of independent unbiased estimates of p(y), less the exact log p(y), in nats.

    Args:
        log_estimates: log p(y) of two or more independent runs, such as populations of particles.
        exact: log p(y).
    """
    found = log_mean_exp(log_estimates)
    return Estimate(found.value - exact, found.standard_error)

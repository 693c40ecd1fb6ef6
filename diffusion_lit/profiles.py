"""Power-function profiles of weight averages, and any width from those that were kept (Karras et al. 2024, EDM2).

An average of exponent gamma at time s weighs the weights of time t <= s by p(t) = (gamma + 1) t^gamma / s^(gamma + 1).
A sum of averages has the sum of their profiles, so a width that nobody tracked is found by least squares on profiles.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.errors import UserError

__all__ = ["Reconstruction", "exponent", "inner_products", "reconstruct"]


class Reconstruction(NamedTuple):
    """A profile as a sum of others.

    Args:
        coefficients: of the averages, in the order in which they were given.
        error: |sum - profile| / |profile| in L2; how far the average is from a tracked one is at most
            error |profile| |weights over time| in every parameter (Cauchy and Schwarz).
    """

    coefficients: Float[Tensor, " averages"]
    error: float


def exponent(width: float) -> float:
    """The gamma whose profile t^gamma has the relative standard deviation `width` (Karras et al. 2024, algorithm 2).

    width = (gamma + 1)^(1/2) (gamma + 2)^-1 (gamma + 3)^(-1/2); 0.05 -> 16.97, 0.10 -> 6.94.

    Raises:
        UserError: the width is not in (0, 0.28); 0.2887 would be the plain average of all weights.
    """
    if not 0 < width < 0.28:
        raise UserError(
            f"ema width: {width} is not in (0, 0.28); it is a share of the training run, usually 0.05 or 0.1"
        )
    return float(np.roots([1, 7, 16 - width**-2, 12 - width**-2]).real.max())


def inner_products(
    s: Float[Tensor, " m"], gamma: Float[Tensor, " m"], t: Float[Tensor, " n"], delta: Float[Tensor, " n"]
) -> Float[Tensor, "m n"]:
    """The integrals of p_i q_j over time, for profiles p at times s and q at times t (Karras et al. 2024, algorithm 3).

    (gamma + 1) (delta + 1) / (gamma + delta + 1) min(s, t)^(gamma + delta + 1) / (s^(gamma + 1) t^(delta + 1)),
    written without powers of large numbers.

    Args:
        s, t: when the averages were taken; positive, in one unit.
        gamma, delta: their exponents.
    """
    s, gamma = s[:, None], gamma[:, None]
    ratio = (s / t) ** torch.where(s < t, delta, -gamma)  # (min / max)^(exponent of the later profile)
    return (gamma + 1) * (delta + 1) / (gamma + delta + 1) * ratio / torch.maximum(s, t)


def reconstruct(
    times: Sequence[int | float], widths: Sequence[float], *, time: int | float, width: float
) -> Reconstruction:
    """The sum of kept averages whose profile is nearest to that of `width` at `time` (Karras et al. 2024, section 3.2).

    Args:
        times, widths: of the averages that were kept, one of each an average; times are positive.
        time: when the wanted average ends, in the unit of `times`.
        width: of the wanted average, in (0, 0.28).

    Raises:
        UserError: no averages, a time that is not positive, or an impossible width.
    """
    if not len(times) or min(*times, time) <= 0:
        raise UserError(f"averages to reconstruct from: their times must be positive and are {[*times]}, {time} wanted")
    t, wanted_t = (torch.tensor(values, dtype=torch.float64) for values in ([*times], [time]))
    gamma = torch.tensor([exponent(w) for w in widths], dtype=torch.float64)
    wanted = torch.tensor([exponent(width)], dtype=torch.float64)
    gram, right = inner_products(t, gamma, t, gamma), inner_products(t, gamma, wanted_t, wanted)[:, 0]
    norms = gram.diagonal().sqrt()  # early profiles are high: profiles of norm 1 are solved for
    gram, right = gram / norms[:, None] / norms, right / norms
    # gelsd: two averages of one profile are no error
    solution = torch.linalg.lstsq(gram, right[:, None], driver="gelsd").solution[:, 0]
    square = inner_products(wanted_t, wanted, wanted_t, wanted).item()
    residual = square - 2 * (solution @ right) + solution @ gram @ solution
    return Reconstruction(solution / norms, (residual.clamp(min=0).item() / square) ** 0.5)

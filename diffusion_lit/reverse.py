"""The step from t to s < t of the reverse chain: its law when x_0 is known, and its variance when it is not."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.noise import Batch, Schedule, expand

__all__ = ["Bridge", "Interpolated", "bridge", "step_variance"]


class Bridge(NamedTuple):
    """q(x_s | x_t, x_0) = N(of_x_t x_t + of_x_0 x_0, variance I), each a tensor like t, in float64."""

    of_x_t: Tensor
    of_x_0: Tensor
    variance: Tensor


def bridge(schedule: Schedule, t: Float[Tensor, "*times"], s: Float[Tensor, "*times"]) -> Bridge:
    """The law of the step from t to s < t when x_0 is known (Ho et al. 2020, eq. 6 and 7, for every schedule).

    With tau = 1 - SNR_t / SNR_s: of_x_0 = alpha_s tau, variance = beta-tilde = sigma_s^2 tau, and of_x_t makes the mean
    of x_s right. At s = 0 it is x_0 itself.

    Args:
        schedule: the noise.
        t: () or (B,) in (0, 1].
        s: like t, in [0, t).
    """
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t.double()), schedule(s.double())
    share = alpha_t * sigma_s / (alpha_s * sigma_t)  # sqrt(1 - tau)
    tau = 1 - share.square()
    return Bridge(share * sigma_s / sigma_t, alpha_s * tau, sigma_s.square() * tau)


def step_variance(
    schedule: Schedule, variance: Batch, t: Float[Tensor, "*times"], s: Float[Tensor, "*times"]
) -> Float[Tensor, "batch *event"]:
    """Var[x_s | x_t] = beta-tilde + c^2 Var[x_0 | x_t] (B, *): the reverse variance of a step of any length.

    The law of total variance, with c the coefficient of x_0 in the mean of q(x_s | x_t, x_0); `bridge(schedule, t, s)`
    returns both. It is the best Gaussian step's (Bao et al. 2022, Analytic-DPM, theorem 1). A variance that was learned
    on one chain serves on any other ("respacing", Nichol & Dhariwal 2021, section 4): x_0 does not know the grid.

    Args:
        schedule: the noise.
        variance: (B, *) Var[x_0 | x_t], the `.variance` of a Posterior. One that a network makes may come out below
            zero; a hundredth of beta-tilde is kept.
        t: () or (B,) in (0, 1].
        s: like t, in [0, t).
    """
    _, c, beta_tilde = (expand(coefficient, variance) for coefficient in bridge(schedule, t, s))
    return torch.maximum(beta_tilde + c.square() * variance, beta_tilde / 100)


@dataclass(frozen=True)
class Interpolated:
    """A learned variance: between the least and the most that a step of the chain t = i / steps can have.

    Var[x_s | x_t] = exp(v log beta + (1 - v) log beta-tilde), s = t - 1 / steps (Nichol & Dhariwal 2021, eq. 15), said
    as Var[x_0 | x_t], from which every other step's follows (`step_variance`). v = 0 is right for data that are one
    point, v = 1 for data N(0, I), where it says Var[x_0 | x_t] = sigma_t^2 at any t, whatever `steps` is.

    beta = sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2 is the variance of the forward step. In the first step
    beta-tilde = 0; there the ratio beta-tilde / beta of the second step is taken (the published code takes the second
    step's beta-tilde).

    Args:
        steps: of the chain, T.
    """

    steps: int = 1000

    def _chain(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """beta / c^2 = sigma_t^2 / (alpha_s^2 tau), and beta-tilde / beta as it is and as the interpolation has it."""
        t = t.double()
        s = (t - 1 / self.steps).clamp_min(0)
        s = torch.where(s < 1e-6 / self.steps, 0, s)  # rounding of i / steps
        inner = t.clamp_min(2 / self.steps)
        (alpha_s, sigma_s), (_, sigma_t) = schedule(s), schedule(t)
        ratio = (sigma_s / sigma_t).square()
        floor = (schedule(inner - 1 / self.steps)[1] / schedule(inner)[1]).square()
        return sigma_t.square() / (alpha_s * bridge(schedule, t, s).of_x_0), ratio, floor

    def __call__(self, v: Batch, schedule: Schedule, t: Float[Tensor, "*times"]) -> Batch:
        """Var[x_0 | x_t] (B, *) from v (B, *), which is meant to be in [0, 1]; t () or (B,)."""
        scale, ratio, floor = self._chain(schedule, t.to(v.device))
        # (floor^(1 - v) - ratio) beta / c^2, without the cancellation at floor = ratio near 1
        powers = expand(floor, v) * torch.expm1(-v * expand(floor.log(), v)) + expand(floor - ratio, v)
        return expand(scale, v) * powers

    def fraction(self, variance: Batch, schedule: Schedule, t: Float[Tensor, "*times"]) -> Batch:
        """The v (B, *) that gives Var[x_0 | x_t] (B, *): a diagnostic, 1 on N(0, I) and 0 on a point."""
        scale, ratio, floor = self._chain(schedule, t.to(variance.device))
        powers = variance.double() / expand(scale, variance.double()) + expand(ratio, variance.double())
        return (1 - powers.log() / expand(floor.log(), powers)).to(variance)

"""The variational bound of a chain, t = i / T: DDPM's L_vlb (Ho et al. 2020, eq. 5) and iDDPM's L_hybrid.

    -log p(x_0) <= KL(q(x_1 | x_0) || p(x_1)) + sum_{i=2..T} KL(q(x_s | x_t, x_0) || p(x_s | x_t)) - log p(x_0 | x_1/T)

with s = t - 1/T. Both laws of a step are Gaussian and their means differ by c (x_0 - D), so that a term is a squared
error of D, and a function of the variance of the step. All are in nats, summed over dimensions, unless said.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from diffusion_lit.denoise import Batch, Denoiser, Interpolated, Posterior, bridge, expand, step_variance
from diffusion_lit.noise import Schedule
from diffusion_lit.objectives.base import Objective
from diffusion_lit.objectives.denoising import diffuse
from diffusion_lit.objectives.times import DiscreteTime
from diffusion_lit.objectives.weightings import EpsWeighting
from diffusion_lit.randomness import Randomness, weyl

__all__ = [
    "Continuous",
    "Decoder",
    "Discretised",
    "FixedVariance",
    "Hybrid",
    "LearnedVariance",
    "Variational",
    "decoder_term",
    "prior_term",
    "step_term",
]

Losses = Float[Tensor, " batch"]
Times = Float[Tensor, "*times"]


def prior_term(schedule: Schedule, x_0: Batch) -> Losses:
    """KL(q(x_1 | x_0) || N(0, (alpha_1^2 + sigma_1^2) I)) (B,): L_T; the prior is N(0, I) if variance is preserved."""
    alpha, sigma = (float(c) for c in schedule(torch.ones((), dtype=torch.float64)))
    total = alpha**2 + sigma**2
    per_dimension = (sigma**2 + alpha**2 * x_0.square()) / total - 1 - math.log(sigma**2 / total)
    return per_dimension.flatten(1).sum(1) / 2


def step_term(schedule: Schedule, x_0: Batch, mean: Batch, variance: Batch, t: Times, s: Times) -> Losses:
    """KL(q(x_s | x_t, x_0) || N(mean of q at x_0 = D, variance)) (B,): L_{t-1} of a step to s > 0.

    Args:
        schedule: the noise.
        x_0: (B, *) the data.
        mean: (B, *) D(x_t, t).
        variance: (B, *) of x_s, such as `step_variance` gives.
        t: () or (B,) in (0, 1].
        s: like t, in (0, t).
    """
    _, c, beta_tilde = (expand(coefficient, x_0) for coefficient in bridge(schedule, t, s))
    squares = (beta_tilde + (c * (x_0 - mean)).square()) / variance
    return (squares - 1 + variance.log() - beta_tilde.log()).flatten(1).sum(1) / 2


@runtime_checkable
class Decoder(Protocol):
    """log p(x_0 | mean, variance) (B, *), dimension by dimension."""

    def __call__(self, x_0: Batch, mean: Batch, variance: Batch) -> Float[Tensor, "batch *event"]: ...


@dataclass(frozen=True)
class Continuous:
    """A Gaussian density, for data that are not discrete."""

    def __call__(self, x_0: Batch, mean: Batch, variance: Batch) -> Float[Tensor, "batch *event"]:
        return -((x_0 - mean).square() / variance + (2 * math.pi * variance).log()) / 2


@dataclass(frozen=True)
class Discretised:
    """The probability that a Gaussian gives to the bin of x_0; the outermost bins are open (Ho et al. 2020, eq. 13).

    Args:
        levels: how many equally spaced values in [-1, 1] the data take; 256 of images of 8 bits, 17 of the digits.
    """

    levels: int = 256

    def __call__(self, x_0: Batch, mean: Batch, variance: Batch) -> Float[Tensor, "batch *event"]:
        half, deviation = 1 / (self.levels - 1), variance.double().sqrt()
        # mirrored, so that both edges are taken in the lower tail, where they do not cancel
        side = torch.where(x_0 > mean, -1.0, 1.0)
        centre = side * (x_0 - mean).double()
        upper, lower = _log_ndtr((centre + half) / deviation), _log_ndtr((centre - half) / deviation)
        inside = upper + (-torch.expm1(lower - upper)).log()
        # what is beyond the edge: of the lowest value all below x_0 + half, of the highest all above x_0 - half
        lowest = _log_ndtr(((x_0 - mean).double() + half) / deviation)
        highest = _log_ndtr(-((x_0 - mean).double() - half) / deviation)
        edge = 1 - half
        return torch.where(x_0 < -edge, lowest, torch.where(x_0 > edge, highest, inside)).to(x_0)


def _log_ndtr(x: Tensor) -> Tensor:
    """log of the normal distribution function; torch's own has no gradient below -38."""
    tail = x.clamp(max=0)
    below = -tail.square() / 2 + (torch.special.erfcx(-tail / math.sqrt(2)) / 2).log()
    return torch.where(x < 0, below, torch.special.log_ndtr(x.clamp(min=0)))


def decoder_term(x_0: Batch, mean: Batch, variance: Batch, decoder: Decoder) -> Losses:
    """-log p(x_0 | x_t) (B,): L_0 of the last step, to s = 0, with D(x_t, t) (B, *) and the variance of the step."""
    return -decoder(x_0, mean, variance).flatten(1).sum(1)


@runtime_checkable
class ReverseVariance(Protocol):
    """Var[x_0 | x_t] (B, *) that a chain reckons with."""

    def __call__(self, posterior: Posterior, schedule: Schedule, t: Times) -> Batch: ...


@dataclass(frozen=True)
class FixedVariance:
    """Each step's variance is beta^v beta-tilde^(1 - v): DDPM's two choices are v = 1 and v = 0 (section 3.2).

    The last step, where beta-tilde = 0, has beta_1.

    Args:
        steps: of the chain, T.
        v: in [0, 1].
    """

    steps: int = 1000
    v: float = 1.0

    def __call__(self, posterior: Posterior, schedule: Schedule, t: Times) -> Batch:
        v = torch.where(expand(t * self.steps, posterior.mean) < 1.5, 1.0, self.v)
        return Interpolated(self.steps)(v.expand_as(posterior.mean).to(posterior.mean), schedule, t)


@dataclass(frozen=True)
class LearnedVariance:
    """The one that the denoiser says."""

    def __call__(self, posterior: Posterior, schedule: Schedule, t: Times) -> Batch:
        if posterior.variance is None:
            raise ValueError(
                "variance: the denoiser says none; build it with NetworkDenoiser(..., variance=Interpolated(steps)) "
                "and a network of twice the outputs, or take FixedVariance(steps)"
            )
        return posterior.variance


@runtime_checkable
class StepLaw(Protocol):
    """The law of the step that a sample is trained on; it may learn from the losses."""

    def __call__(self, u: Losses, schedule: Schedule) -> Losses: ...
    def density(self, t: Times, schedule: Schedule) -> Times: ...
    def record(self, t: Losses, losses: Losses) -> None: ...


class Variational(nn.Module):
    """L_vlb: one step a sample, in nats per dimension; its mean over steps and noise is the bound on -log p(x_0) / d.

    Args:
        steps: of the chain, T.
        variance: of the reverse steps; `FixedVariance(steps)`, beta, unless told.
        decoder: p(x_0 | x_{1/T}); `Discretised(256)` unless told.
        times: how steps are drawn; equally often unless told, or `LossSecondMoment(steps)` (Nichol & Dhariwal 2021).
    """

    def __init__(
        self,
        steps: int = 1000,
        variance: ReverseVariance | None = None,
        decoder: Decoder | None = None,
        times: StepLaw | None = None,
    ):
        super().__init__()
        self.steps = steps
        self.variance = variance or FixedVariance(steps)
        self.decoder = decoder or Discretised()
        self.times = times or DiscreteTime(steps)

    def forward(
        self, denoiser: Denoiser, x_0: Batch, *, seed: int, positions: Int64[Tensor, " batch"], **condition
    ) -> Losses:
        """Return the bound's estimate of each sample (B,); see `Objective` for the arguments."""
        t = self.times(weyl(seed, positions), denoiser.schedule)
        bound = self.loss_at(denoiser, x_0, t, seed=seed, positions=positions, **condition)
        if torch.is_grad_enabled():  # what is only evaluated must not change how training goes on
            self.times.record(t, bound.detach())
        return bound / self.times.density(t, denoiser.schedule).to(bound)

    def loss_at(
        self, denoiser: Denoiser, x_0: Batch, t: Losses, *, seed: int, positions: Int64[Tensor, " batch"], **condition
    ) -> Losses:
        """The same at given times t (B,) of the chain, without the importance weight."""
        posterior = denoiser(diffuse(denoiser.schedule, x_0, t, Randomness(seed, positions)), t, **condition)
        return self.bound(denoiser.schedule, x_0, posterior, t)

    def bound(self, schedule: Schedule, x_0: Batch, posterior: Posterior, t: Losses) -> Losses:
        """(L_T + T times the term of the step from t) / d (B,)."""
        s = (t * self.steps).round().sub(1) / self.steps
        variance = step_variance(schedule, self.variance(posterior, schedule, t), t, s)
        inner = step_term(schedule, x_0, posterior.mean, variance, t, s)
        last = decoder_term(x_0, posterior.mean, variance, self.decoder)
        return (prior_term(schedule, x_0) + self.steps * torch.where(s > 0, inner, last)) / x_0[0].numel()


class Hybrid(Objective):
    """L_simple + scale * L_vlb, where L_vlb teaches the variance only (Nichol & Dhariwal 2021, eq. 16).

    L_simple is the error of eps per dimension, L_vlb is in nats per dimension.

    Args:
        steps: of the chain, T.
        scale: their lambda.
        decoder: p(x_0 | x_{1/T}); `Discretised(256)` unless told.
    """

    def __init__(self, steps: int = 1000, scale: float = 0.001, decoder: Decoder | None = None):
        self.variational = Variational(steps, LearnedVariance(), decoder)
        self.times, self.scale = DiscreteTime(steps), scale

    def loss_at(
        self, denoiser: Denoiser, x_0: Batch, t: Losses, *, seed: int, positions: Int64[Tensor, " batch"], **condition
    ) -> Losses:
        """The loss of each sample (B,) at times t (B,) of the chain."""
        schedule = denoiser.schedule
        posterior = denoiser(diffuse(schedule, x_0, t, Randomness(seed, positions)), t, **condition)
        error = (posterior.mean - x_0).square().flatten(1).mean(1)
        bound = self.variational.bound(schedule, x_0, Posterior(posterior.mean.detach(), posterior.variance), t)
        return EpsWeighting()(schedule, t).to(error) * error + self.scale * bound

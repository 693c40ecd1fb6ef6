"""Ancestral sampling: DDIM's family, of which DDPM is a member.

With tau = 1 - (alpha_t sigma_s / (alpha_s sigma_t))^2, q(x_s | x_t, x_0) has, for every schedule,

    x_s = alpha_s D + sqrt(sigma_s^2 - v) eps(x_t) + sqrt(v) z,    v = eta^2 sigma_s^2 tau,

where eta = 1 gives DDPM's posterior variance beta-tilde and eta = 0 is deterministic (Song et al. 2021, DDIM, eq. 12
and 16; their eta is ours).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, Posterior, expand
from diffusion_lit.errors import UserError
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.reverse import bridge, step_variance
from diffusion_lit.samplers.base import Mean, Past, Sampler
from diffusion_lit.samplers.grids import Grid, Uniform

__all__ = ["DDIM", "DDPM", "Fixed", "Learned", "StepVariance", "renoise"]


def renoise(schedule: Schedule, mean: Batch, x_t: Batch, t: Tensor, s: Tensor, eta: float) -> tuple[Batch, Tensor]:
    """Return the mean of q(x_s | x_t, x_0 = mean) and its variance v = eta^2 sigma_s^2 tau, a tensor ()."""
    alpha_t, sigma_t = schedule(t)
    alpha_s, sigma_s = schedule(s)
    variance = eta**2 * bridge(schedule, t, s).variance
    eps_scale = (sigma_s**2 - variance).clamp_min(0).sqrt() / sigma_t
    # alpha_s D + eps_scale (x_t - alpha_t D), gathered so that no large terms cancel
    centre = (alpha_s - eps_scale * alpha_t).to(x_t) * mean + eps_scale.to(x_t) * x_t
    return centre, variance


class DDIM(Sampler):
    """DDIM (Song et al. 2021), with eta between the deterministic map (0) and DDPM's beta-tilde (1).

    The row "sigma-hat" of their table 1 has the mean of eta = 1 and the noise of DDPM's beta: it is `DDPM(v=1)`.
    """

    def __init__(self, steps: int = 50, eta: float = 0.0, grid: Grid | None = None):
        super().__init__(steps, grid or Uniform())
        self.eta = eta

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        x_s, variance = renoise(schedule, mean(x_t, t), x_t, t, s, self.eta)
        if variance > 0:
            x_s = x_s + variance.sqrt().to(x_t) * noise.normal(*x_t.shape[1:], dtype=x_t.dtype)
        return x_s

    @torch.no_grad()
    def invert(self, denoiser: Denoiser, x_0: Batch, **condition) -> Batch:
        """Return the latent x_1 (B, *) that `decode` makes x_0 (B, *) of: the same steps upward (DDIM, section 4.3).

        Its error falls with the first power of 1 / steps, as the sampler's does. One call of the denoiser a step.

        Raises:
            UserError: eta > 0, where x_1 does not determine x_0.
        """
        schedule, mean = denoiser.schedule, Mean(denoiser, condition)
        times = self._deterministic(schedule).flip(0).to(x_0.device)
        # x_0 has no noise from which to tell eps: ask at the first time what noise alpha x_0 seems to have
        alpha = schedule(times[1])[0].to(x_0)
        x = alpha * (x_0 + x_0 - mean(alpha * x_0, times[1]))
        for s, t in pairwise(times[1:]):
            x, _ = renoise(schedule, mean(x, s), x, s, t, eta=0.0)
        return x

    def decode(self, denoiser: Denoiser, x_1: Batch, **condition) -> Batch:
        """Return the x_0 (B, *) of the latents x_1 (B, *).

        Raises:
            UserError: eta > 0.
        """
        times = self._deterministic(denoiser.schedule)
        return self.integrate(denoiser, x_1, times, Randomness(0, torch.arange(len(x_1)), x_1.device), **condition)

    def interpolate(
        self, denoiser: Denoiser, x_1: Batch, z_1: Batch, shares: Float[Tensor, " points"], **condition
    ) -> Float[Tensor, "points batch *event"]:
        """Decode points of the great circle between two latents (DDIM, section 5.3, appendix D.5).

        Args:
            denoiser: what to decode with.
            x_1, z_1: (B, *) latents.
            shares: (K,) in [0, 1], the share of the angle from x_1 to z_1.
            condition: passed on to the denoiser.

        Returns:
            (K, B, *) the x_0 of each point.

        Raises:
            UserError: eta > 0.
        """
        return torch.stack([self.decode(denoiser, slerp(x_1, z_1, share), **condition) for share in shares])

    def _deterministic(self, schedule: Schedule) -> Tensor:
        if self.eta > 0:
            raise UserError(f"eta: {self.eta} > 0; only the deterministic map, eta = 0, has latents")
        return self.grid(schedule, self.steps)


def slerp(x: Batch, z: Batch, share: Float[Tensor, ""]) -> Batch:
    """sin((1 - w) a) / sin a x + sin(w a) / sin a z, a the angle between x and z, each sample's own."""
    cosine = torch.nn.functional.cosine_similarity(x.flatten(1).double(), z.flatten(1).double())
    angle = cosine.clamp(-1, 1).acos().clamp_min(1e-6)  # nearly one line: (1 - w) x + w z
    first, second = (((portion * angle).sin() / angle.sin()) for portion in (1 - share.double(), share.double()))
    return expand(first, x) * x + expand(second, z) * z


@runtime_checkable
class StepVariance(Protocol):
    """The variance of the reverse step from t to s > 0: () or (B, *)."""

    def __call__(self, schedule: Schedule, posterior: Posterior, t: Tensor, s: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Fixed:
    """exp(v log beta + (1 - v) log beta-tilde) (Nichol & Dhariwal 2021, eq. 15), with one v for all.

    beta = tau sigma_t^2 is the variance of one step of the forward chain, right for data N(0, I); beta-tilde =
    tau sigma_s^2 is right for data that are one point (Ho et al. 2020, section 3.2).

    Args:
        v: in [0, 1].
    """

    v: float = 1.0

    def __call__(self, schedule: Schedule, posterior: Posterior, t: Tensor, s: Tensor) -> Tensor:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
        tau = 1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2
        return tau * sigma_t ** (2 * self.v) * sigma_s ** (2 - 2 * self.v)


@dataclass(frozen=True)
class Learned:
    """Var[x_s | x_t], of the denoiser's Var[x_0 | x_t]: the learned variance of Nichol & Dhariwal 2021, section 3.1.

    It serves on any grid, whatever chain it was learned on (their "respacing", section 4). With an exact denoiser it is
    the best that a Gaussian step can do (Bao et al. 2022).
    """

    def __call__(self, schedule: Schedule, posterior: Posterior, t: Tensor, s: Tensor) -> Tensor:
        if posterior.variance is None:
            raise UserError(
                "variance: Learned() needs a denoiser that returns Posterior.variance, and this one returns a mean "
                "only; use Fixed(v), or train with a learned variance"
            )
        return step_variance(schedule, posterior.variance, t, s)


class DDPM(Sampler):
    """Ancestral sampling (Ho et al. 2020): the mean of q(x_s | x_t, x_0 = D), and noise; none in the last step.

    With a DiscreteVP of T steps and steps = T it walks the chain t = i / T itself.

    Args:
        steps: number of steps.
        v: the variance, from beta-tilde (0) to beta (1): short for `variance=Fixed(v)`.
        variance: Fixed(v) unless given; with one, v says nothing.
        grid: uniform unless given.
    """

    def __init__(
        self, steps: int = 1000, v: float = 1.0, variance: StepVariance | None = None, grid: Grid | None = None
    ):
        super().__init__(steps, grid or Uniform())
        self.variance = variance or Fixed(v)

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        posterior = mean.posterior(x_t, t)
        x_s, beta_tilde = renoise(schedule, posterior.mean, x_t, t, s, eta=1.0)
        if beta_tilde > 0:
            spread = self.variance(schedule, posterior, t, s).sqrt().to(x_t)
            x_s = x_s + spread * noise.normal(*x_t.shape[1:], dtype=x_t.dtype)
        return x_s

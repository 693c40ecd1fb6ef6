"""Ancestral sampling: DDIM's family, of which DDPM is a member.

With tau = 1 - (alpha_t sigma_s / (alpha_s sigma_t))^2, q(x_s | x_t, x_0) has, for every schedule,

    x_s = alpha_s D + sqrt(sigma_s^2 - v) eps(x_t) + sqrt(v) z,    v = eta^2 sigma_s^2 tau,

where eta = 1 gives DDPM's posterior variance beta-tilde and eta = 0 is deterministic (Song et al. 2021, DDIM, eq. 12
and 16; their eta is ours).
"""

from torch import Tensor

from diffusion_lit.denoise import Batch
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.base import Mean, Past, Sampler
from diffusion_lit.samplers.grids import Grid, Uniform

__all__ = ["DDIM", "DDPM", "renoise"]


def renoise(schedule: Schedule, mean: Batch, x_t: Batch, t: Tensor, s: Tensor, eta: float) -> tuple[Batch, Tensor]:
    """Return the mean of q(x_s | x_t, x_0 = mean) and its variance v = eta^2 sigma_s^2 tau, a tensor ()."""
    alpha_t, sigma_t = schedule(t)
    alpha_s, sigma_s = schedule(s)
    tau = 1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2
    variance = eta**2 * sigma_s**2 * tau
    eps_scale = (sigma_s**2 - variance).clamp_min(0).sqrt() / sigma_t
    # alpha_s D + eps_scale (x_t - alpha_t D), gathered so that no large terms cancel
    centre = (alpha_s - eps_scale * alpha_t).to(x_t) * mean + eps_scale.to(x_t) * x_t
    return centre, variance


class DDIM(Sampler):
    """DDIM (Song et al. 2021), with eta between the deterministic map (0) and DDPM's beta-tilde (1)."""

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


class DDPM(Sampler):
    """Ancestral sampling (Ho et al. 2020), the variance between beta-tilde (v = 0) and beta (v = 1).

    The variance is exp(v log beta + (1 - v) log beta-tilde) (Nichol & Dhariwal 2021, eq. 15), where
    beta = tau sigma_t^2 is the variance of one step of the forward chain. No noise is added by the last step.
    """

    def __init__(self, steps: int = 1000, v: float = 1.0, grid: Grid | None = None):
        super().__init__(steps, grid or Uniform())
        self.v = v

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        x_s, beta_tilde = renoise(schedule, mean(x_t, t), x_t, t, s, eta=1.0)
        if beta_tilde > 0:
            (_, sigma_t), (_, sigma_s) = schedule(t), schedule(s)
            variance = beta_tilde * (sigma_t / sigma_s) ** (2 * self.v)  # beta / beta-tilde = (sigma_t / sigma_s)^2
            x_s = x_s + variance.sqrt().to(x_t) * noise.normal(*x_t.shape[1:], dtype=x_t.dtype)
        return x_s

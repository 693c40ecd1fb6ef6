"""Foellmer's process: from the point 0 to the data in unit time (Foellmer 1985; Tzen & Raginsky 2019).

dX = grad log Q_{1-u} f(X) du + dW, X_0 = 0, f = dp / dN(0, I), has X_1 ~ p, and given X_1 it is a Brownian bridge,

    X_u = u X_1 + sqrt(u (1 - u)) z,   so that the drift is   (E[X_1 | X_u] - X_u) / (1 - u).

Its signal-to-noise ratio is u / (1 - u), so any denoiser knows that mean: X_u / u = x_t / alpha_t at the time t with
u = alpha_t^2 / (alpha_t^2 + sigma_t^2).
"""

from torch import Tensor

from diffusion_lit.denoise import Batch
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.base import Mean, Past, Sampler
from diffusion_lit.samplers.grids import Grid, SignalShare

__all__ = ["Foellmer"]


class Foellmer(Sampler):
    """The Euler-Maruyama method for Foellmer's process, with noise in the last step too, since X_1 has it.

    Args:
        steps: number of steps, one call of the denoiser each.
        grid: equal steps in u unless given.
    """

    def __init__(self, steps: int = 200, grid: Grid | None = None):
        super().__init__(steps, grid or SignalShare())

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
        power_t, power_s = alpha_t**2 + sigma_t**2, alpha_s**2 + sigma_s**2
        u_t, u_s = alpha_t**2 / power_t, alpha_s**2 / power_s
        stride = u_s - u_t
        x = (alpha_t / power_t).to(x_t) * x_t  # u / alpha
        drift = (mean(x_t, t) - x) / (sigma_t**2 / power_t).to(x_t)
        x = x + stride.to(x_t) * drift + stride.sqrt().to(x_t) * noise.normal(*x_t.shape[1:], dtype=x_t.dtype)
        return (alpha_s / u_s).to(x_t) * x

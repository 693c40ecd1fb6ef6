"""FPS-SMC: a filtering perspective on posterior sampling (Dou & Song 2024)."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor

from diffusion_lit.inverse.posterior.filtering import Filter, Level, Potential, log_normal
from diffusion_lit.inverse.posterior.population import Cloud
from diffusion_lit.inverse.spectrum import Spectrum
from diffusion_lit.samplers.grids import Grid

__all__ = ["FPS"]


class FPS(Filter):
    """A path of noisy y is drawn for each population, and particles are filtered as its hidden states.

    y_t follows y by the same diffusion as x_t follows x_0, so that A x_t = y_t where A x_0 = y. Backwards from y_t,

        y_s / alpha_s ~ N(y + rho (y_t / alpha_t - y), (1 - rho) (r_s^2 - d^2)),   rho = (r_s^2 - d^2) / (r_t^2 - d^2)

    x_s ~ p(x_s | x_t, y_s) and the weight is p(y_s | x_t), both Gaussian     (Dou & Song 2024, algorithm 2).

    The paper takes p(y_s | x_s) = N(A x_s, alpha_s^2 sigma_y^2), as if y_s had noise of its own at each s. But all y_s
    have the noise of the one y: a filter that is told otherwise learns y anew in every step, the more steps the more
    surely, and its posterior is too narrow. Here the noise of y is the diffusion's own (see `Filter`), y_s is met
    exactly until its noise is y's, and populations together are right; without noise the two are the same.

    Each population is right for the path it was given, not by itself: there y leaves the hidden part the less freedom,
    the fewer its particles. The evidence is unbiased, with a variance that the paths add to.

    Args:
        steps: calls of the denoiser.
        particles: K, of a population; the paper's 20.
        threshold: of the effective size, below which a population is resampled.
        grid: of times, LogSNR unless given; those nearest to the tau_i are moved there.

    Raises:
        UserError: no step, fewer than two particles, or a threshold outside of [0, 1].
    """

    def __init__(self, steps: int = 100, particles: int = 20, threshold: float = 0.5, grid: Grid | None = None):
        super().__init__(steps, particles, threshold, grid)

    def lead(self, spectrum: Spectrum, cloud: Cloud) -> Callable[[Level, Bool[Tensor, " r"]], Potential]:
        count = cloud.log_w.shape[1]
        # y_t / alpha_t - y, and r_t^2 - d^2, of the level before
        apart = spectrum.s.new_zeros(cloud.log_w.numel(), len(spectrum.s))
        width = torch.full_like(spectrum.s, math.inf)

        def potential(level: Level, ahead: Bool[Tensor, " r"]) -> Potential:
            nonlocal apart, width
            w, z = level.ratio**2 - spectrum.deviation**2, cloud.luck.normal(len(width), dtype=torch.float64)
            # met: y lies between y_t and x_s
            below = (-w).clamp_min(0)
            kappa = below / (below + width)
            met = (1 - kappa) * spectrum.y - torch.where(kappa > 0, kappa * apart, 0.0)
            # ahead: y_s lies between y_t and y
            rho = w / width
            spread = torch.where(ahead, (1 - rho) * w, 1.0)
            centre = torch.where(rho > 0, rho * apart, 0.0)
            apart = centre + spread.sqrt() * z.repeat_interleave(count, 0)
            width = w.clamp_min(0)
            log_q = log_normal(apart, centre, spread) - level.alpha.log()
            return Potential(
                torch.where(ahead, level.alpha * (spectrum.y + apart), met),
                torch.where(ahead, 1.0, (1 - kappa) / level.alpha),
                torch.where(ahead, 0.0, (1 - kappa) * below),
                torch.where(ahead, log_q, 0.0).sum(1),
                lent=False,
            )

        return potential

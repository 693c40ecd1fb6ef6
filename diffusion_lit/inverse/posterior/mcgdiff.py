"""MCGDiff: Monte Carlo guided diffusion (Cardoso, Janati, Le Corff & Moulines 2023)."""

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.posterior.filtering import Filter, Level, Potential
from diffusion_lit.inverse.posterior.population import Cloud
from diffusion_lit.inverse.spectrum import Spectrum
from diffusion_lit.samplers.grids import Grid

__all__ = ["MCGDiff"]


class MCGDiff(Filter):
    """Particles that are led by y's own diffusion, q(x_s | x_tau = alpha_tau y), until it is met.

    With w_s = alpha_s^2 (r_s^2 - d^2) the potential above tau is, in each coordinate,

        g_s(x) = N(x; alpha_s y, w_s)                                              (Cardoso et al. 2023, eq. 3.5)

    and the weight of a step N(x_s; mu, v) is N(mu; alpha_s y, v + w_s) / g_t(x_t); no gradient of the denoiser is
    taken. Their kappa, which widens g_tau, is 0 here: the step that meets y is exact (see `Filter`), and no last weight
    p(y | x_0) / g_tau is needed, whose variance grows with d_y.

    g_s is p(y | x_s) for data of any size. At high noise, where it is as narrow as the law of x_s itself, it leads too
    far, and in many coordinates at once the weights collapse. If the variance v of the data along A's singular vectors
    is known, p(y | x_s) for data N(0, v) takes its place.

    Args:
        steps: calls of the denoiser.
        particles: K, of a population.
        threshold: of the effective size, below which a population is resampled.
        data_variance: v, around 0; none unless given, which is v = infinity.
        grid: of times, LogSNR unless given; those nearest to the tau_i are moved there.

    Raises:
        UserError: no step, fewer than two particles, a threshold outside of [0, 1], or a variance that is not above 0.
    """

    def __init__(
        self,
        steps: int = 100,
        particles: int = 256,
        threshold: float = 0.5,
        data_variance: float | None = None,
        grid: Grid | None = None,
    ):
        super().__init__(steps, particles, threshold, grid)
        if data_variance is not None and data_variance <= 0:
            raise UserError(f"data_variance: {data_variance} <= 0; give the variance of the data, or leave it")
        self.data_variance = data_variance

    def lead(self, spectrum: Spectrum, cloud: Cloud) -> Callable[[Level, Bool[Tensor, " r"]], Potential]:
        none = spectrum.s.new_zeros(())

        def potential(level: Level, ahead: Bool[Tensor, " r"]) -> Potential:
            w = (level.ratio**2 - spectrum.deviation**2).abs()  # between x_s / alpha_s and y, above tau and below
            share = torch.ones_like(w)
            if self.data_variance is not None:
                of_y = self.data_variance + spectrum.deviation**2
                share = torch.where(ahead, of_y / (of_y + w), share)
            return Potential(spectrum.y, share / level.alpha, share * w, none, lent=True)

        return potential

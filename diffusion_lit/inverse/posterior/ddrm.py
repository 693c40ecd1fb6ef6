"""Denoising diffusion restoration models (Kawar et al. 2022)."""

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.posterior.spectral import Spectral
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Grid

__all__ = ["DDRM"]


class DDRM(Spectral):
    """Each singular coordinate by itself, with x = x_t / alpha_t, r = sigma_t / alpha_t and d_i = sigma_y / s_i.

    x_s ~ N(D + sqrt(1 - eta^2) r_s (x_t - D) / r_t, eta^2 r_s^2)     not seen by A
          N(D + sqrt(1 - eta^2) r_s (y - D) / d_i,   eta^2 r_s^2)     r_s < d_i
          N((1 - eta_b) D + eta_b y,    r_s^2 - eta_b^2 d_i^2)        r_s >= d_i
    with x_1 ~ N(y, r_1^2 - d_i^2) where r_1 >= d_i, else N(0, r_1^2)     (Kawar et al. 2022, eq. 7 and 8)

    Each of these keeps the law of x_s around a known x_0. Around a D that is only a mean it does not, and here, unlike
    with DDIM, that does not mend itself as the steps become short: of a coordinate that is not seen, fine steps leave
    (1 + sqrt(1 - eta^2)) / 2 of a Gaussian's variance, 0.763 for eta = 0.85. (deepinv's DDRM divides every noise by
    sqrt(2) besides, and keeps half of that.) Nor does a coordinate hear of what y says of the others, but through D.

    Args:
        steps: the paper's 20; it has 100, too.
        eta, eta_b: in [0, 1], the noise of the coordinates below and above the level of y's noise.
        grid: of times.
        threshold: singular values up to this part of the largest count as zero; published code has 1e-3.

    Raises:
        UserError: eta or eta_b is not in [0, 1].
    """

    def __init__(
        self,
        steps: int = 20,
        eta: float = 0.85,
        eta_b: float = 1.0,
        grid: Grid | None = None,
        threshold: float = 1e-10,
    ):
        super().__init__(steps, grid, threshold)
        if not (0 <= eta <= 1 and 0 <= eta_b <= 1):
            raise UserError(f"eta {eta}, eta_b {eta_b}: both are parts of a standard deviation, from 0 to 1")
        self.eta, self.eta_b = eta, eta_b

    def step(
        self,
        denoiser: Denoiser,
        measurement: Measurement,
        x_t: Batch,
        t: Float64[Tensor, ""],
        s: Float64[Tensor, ""],
        noise: Randomness,
        **condition,
    ) -> Batch:
        spectrum = self.spectrum(measurement)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = denoiser.schedule(t), denoiser.schedule(s)
        r_t, r_s, d = sigma_t / alpha_t, sigma_s / alpha_s, spectrum.deviation
        kept = (1 - self.eta**2) ** 0.5
        mean = denoiser(x_t, t, **condition).mean
        along, rest = spectrum.split(mean)
        below = r_s < d
        to_y = torch.where(below, kept * r_s / d.where(below, 1.0), self.eta_b).to(x_t)
        variance = torch.where(below, self.eta**2 * r_s**2, r_s**2 - self.eta_b**2 * d**2)
        z, z_rest = spectrum.split(noise.normal(*x_t.shape[1:], dtype=x_t.dtype))
        _, x_rest = spectrum.split(x_t / alpha_t.to(x_t))
        along = along + to_y * (spectrum.y.to(x_t) - along) + variance.sqrt().to(x_t) * z
        rest = rest + (kept * r_s / r_t).to(x_t) * (x_rest - rest) + (self.eta * r_s).to(x_t) * z_rest
        return alpha_s.to(x_t) * spectrum.join(along, rest)

    def walk(
        self,
        denoiser: Denoiser,
        measurement: Measurement,
        x: Batch,
        times: Float64[Tensor, " times"],
        noise: Randomness,
        **condition,
    ) -> Batch:
        x = self.start(denoiser.schedule, measurement, x, times[0])
        return super().walk(denoiser, measurement, x, times, noise, **condition)

    def start(self, schedule: Schedule, measurement: Measurement, x: Batch, t: Float64[Tensor, ""]) -> Batch:
        """Move noise x = sigma_t z to y, in the coordinates in which y has less noise than x_t."""
        spectrum = self.spectrum(measurement)
        alpha, sigma = schedule(t)
        along, rest = spectrum.split(x)
        share = (1 - (alpha * spectrum.deviation / sigma).square()).to(x)
        at_y = alpha.to(x) * spectrum.y.to(x) + share.clamp_min(0).sqrt() * along
        return spectrum.join(torch.where(share >= 0, at_y, along), rest)

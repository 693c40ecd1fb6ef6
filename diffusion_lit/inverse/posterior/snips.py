"""Stochastic image denoising by sampling from the posterior, for linear inverse problems (Kawar et al. 2021, SNIPS)."""

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.posterior.spectral import Spectral
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Grid, LogSNR

__all__ = ["SNIPS"]


class SNIPS(Spectral):
    """Langevin moves down a ladder of levels, with x = x_t / alpha_t, r = sigma_t / alpha_t and d_i = sigma_y / s_i.

    The noise of y is thought of as made of the diffusion's: where r < d_i, y is x and N(0, d_i^2 - r^2) more; where
    r >= d_i, x is y and N(0, r^2 - d_i^2) more. So p(x | y) has the scores (Kawar et al. 2021, eq. 7 and 8)

        (D - x) / r^2                                   not seen by A
        (D - x) / r^2 + (y - x) / (d_i^2 - r^2)         r < d_i
        (y - x) / (r^2 - d_i^2)                         r >= d_i

    and a move is x + h A score + sqrt(2 h A) z, where A_i is one over the most that the coordinate can curve:

        r^2,    r^2 (1 - r^2 / d_i^2),    r^2 - d_i^2,

    for the prior curves by 1 / r^2 at most. The paper has the same A; h is its c. In these units a Langevin move of
    h < 2 is stable; where the coordinate is stiff it forgets a part h of the past and makes the variance
    1 / (1 - h / 2) of what it should be. That is on the noise r, of which the last step, D, keeps little, so h is
    long: 0.5. Where all r < d_i the score is exact; at the levels above, the unseen coordinates take x for the best
    there is to know of the seen ones, though y is better, and the moves further down mend it. Enough moves at each
    level give the exact posterior.

    Args:
        steps: levels.
        moves: at each level.
        h: in (0, 2), the step.
        grid: of the levels; geometric in r unless given.
        threshold: singular values up to this part of the largest count as zero.

    Raises:
        UserError: `moves` or h is out of range.
    """

    def __init__(
        self,
        steps: int = 100,
        moves: int = 5,
        h: float = 0.5,
        grid: Grid | None = None,
        threshold: float = 1e-10,
    ):
        super().__init__(steps, grid or LogSNR(), threshold)
        if moves < 1 or not 0 < h < 2:
            raise UserError(f"moves {moves}, h {h}: at least one move a level, with 0 < h < 2, where it is stable")
        self.moves, self.h = moves, h

    @property
    def nfe(self) -> int:
        return self.steps * self.moves + 1

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
        alpha, sigma = denoiser.schedule(t)
        r2, d2, y = (sigma / alpha).square(), spectrum.deviation.square(), spectrum.y.to(x_t)
        below = r2 < d2
        trust = torch.where(below, r2 / d2.where(below, 1.0), 1.0).to(x_t)  # A score = (1 - trust) (D - x) + ...
        scale = torch.where(below, r2 * (1 - r2 / d2.where(below, 1.0)), r2 - d2)
        spread, spread_rest = (2 * self.h * scale).sqrt().to(x_t), (2 * self.h * r2).sqrt().to(x_t)
        for _ in range(self.moves):
            mean, mean_rest = spectrum.split(denoiser(x_t, t, **condition).mean)
            along, rest = spectrum.split(x_t / alpha.to(x_t))
            z, z_rest = spectrum.split(noise.normal(*x_t.shape[1:], dtype=x_t.dtype))
            along = along + self.h * ((1 - trust) * (mean - along) + trust * (y - along)) + spread * z
            rest = rest + self.h * (mean_rest - rest) + spread_rest * z_rest
            x_t = alpha.to(x_t) * spectrum.join(along, rest)
        if s == 0:
            return denoiser(x_t, t, **condition).mean
        return (denoiser.schedule(s)[0] / alpha).to(x_t) * x_t

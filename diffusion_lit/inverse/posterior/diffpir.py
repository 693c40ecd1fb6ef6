"""Denoising diffusion models for plug-and-play image restoration (Zhu et al. 2023, DiffPIR)."""

from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.posterior.base import Stepwise
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Grid, Quadratic

__all__ = ["DiffPIR"]


class DiffPIR(Stepwise):
    """D moved to y, then noise of which a part is new (Zhu et al. 2023, algorithm 1).

    x_0 = argmin ||y - A x||^2 / sigma_y^2 + lam ||x - D||^2 / r^2,  r = sigma_t / alpha_t      (their eq. 11 and 13)
        = D + (r^2 / lam) A^T ((r^2 / lam) A A^T + Sigma_y)^-1 (y - A D)
    x_s = alpha_s x_0 + sigma_s (sqrt(1 - zeta) (x_t - alpha_t x_0) / sigma_t + sqrt(zeta) z)   (eq. 15)

    x_0 is E[x_0 | x_t, y] if D's variance is r^2 / lam, as it is for lam = 1 and very wide data. Then zeta = 0 is
    DDIM's step, right when short; with zeta of the whole noise new, fine steps leave (1 + sqrt(1 - zeta)) / 2 of a
    Gaussian's variance, 0.92 for 0.3 (DDRM's 0.763 is zeta = 0.85^2). For narrower data x_0 trusts y too much, which
    new noise mends by and by: on 4-D Gaussian data 0.3 comes nearer to the posterior than both 0 and 1.

    Args:
        steps: the paper's 100.
        lam: > 0, trust in D against y; 1 takes its variance to be r^2, the paper has up to 8.
        zeta: in [0, 1], the new part of the noise.
        grid: of times; quadratic unless given, as in the paper.

    Raises:
        UserError: lam or zeta is out of range.
    """

    needs = LinearOperator

    def __init__(self, steps: int = 100, lam: float = 1.0, zeta: float = 0.3, grid: Grid | None = None):
        super().__init__(steps, grid or Quadratic())
        if lam <= 0 or not 0 <= zeta <= 1:
            raise UserError(f"lam {lam}, zeta {zeta}: lam is above 0 and zeta, a part of the noise, in [0, 1]")
        self.lam, self.zeta = lam, zeta

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
        (alpha_t, sigma_t), (alpha_s, sigma_s) = denoiser.schedule(t), denoiser.schedule(s)
        mean = denoiser(x_t, t, **condition).mean.double()
        spread = (sigma_t / alpha_t).square() / self.lam
        law = measurement.gaussian(mean)
        solved = measurement.gram_solve(measurement.residual(mean), spread, law)
        mean = (mean + spread * measurement.linear.transpose(solved)).to(x_t)
        eps = (x_t - alpha_t.to(x_t) * mean) / sigma_t.to(x_t)
        z = noise.normal(*x_t.shape[1:], dtype=x_t.dtype)
        fresh = (1 - self.zeta) ** 0.5 * eps + self.zeta**0.5 * z
        return alpha_s.to(x_t) * mean + sigma_s.to(x_t) * fresh

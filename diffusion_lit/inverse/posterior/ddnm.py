"""Denoising diffusion null-space models (Wang, Yu & Zhang 2023): DDNM for exact measurements, DDNM+ for noisy ones."""

from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.posterior.base import Stepwise
from diffusion_lit.inverse.posterior.ddrm import DDRM
from diffusion_lit.inverse.posterior.jumps import Jumps
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.ancestral import renoise
from diffusion_lit.samplers.grids import Grid

__all__ = ["DDNM", "DDNMPlus"]


class DDNM(Stepwise):
    """x_s ~ q(x_s | x_t, x_0 = D + A^+ (y - A D))   (Wang et al. 2023, algorithm 1 and 2).

    The seen part of x_0 is y's, the unseen part D's. y is taken as exact: with noise it is copied into the sample. eta
    is DDIM's, so that at 1 the step is the paper's DDPM and the variance of the unseen part is right for short steps;
    the published code has 0.85 of the whole of sigma_s instead, as DDRM, with which it is not.

    Args:
        steps: the paper's 100.
        eta: in [0, 1], DDIM's.
        travel_length, travel_repeat: after every `travel_length` levels go back up as many, so that each stretch is
            walked `travel_repeat` times; 1 is a plain walk (the paper's l and r).
        grid: of times.

    Raises:
        UserError: eta is not in [0, 1].
    """

    needs = LinearOperator

    def __init__(
        self,
        steps: int = 100,
        eta: float = 1.0,
        travel_length: int = 1,
        travel_repeat: int = 1,
        grid: Grid | None = None,
    ):
        super().__init__(steps, grid)
        if not 0 <= eta <= 1:
            raise UserError(f"eta: {eta} is not in [0, 1], from the deterministic step to DDPM's")
        self.eta, self.jumps = eta, Jumps(steps, travel_length, travel_repeat)

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
        mean = denoiser(x_t, t, **condition).mean
        mean = mean + measurement.linear.pinv(measurement.residual(mean))
        x_s, variance = renoise(denoiser.schedule, mean, x_t, t, s, self.eta)
        return x_s + variance.sqrt().to(x_t) * noise.normal(*x_t.shape[1:], dtype=x_t.dtype)


class DDNMPlus(DDRM):
    """DDNM whose correction and noise are scaled in every singular coordinate so that x_s has the noise sigma_s.

    x_0 = (1 - l_i) D + l_i y,  l_i = 1 where r_s >= d_i, else sqrt(1 - eta^2) r_s / d_i   (Wang et al. 2023, section
    3.3 and the published code)

    and the noise that y brings is taken off: the first is what is left of r_s^2 - d_i^2, the second eta^2 r_s^2. Worked
    out, that is DDRM with eta_b = 1, so it inherits what is said there; new is the time travel, which lets seen and
    unseen coordinates agree. Without noise it is DDNM with eta as in the published code.

    Args:
        steps: the paper's 100.
        eta: in [0, 1].
        travel_length, travel_repeat: as for DDNM.
        grid: of times.
        threshold: singular values up to this part of the largest count as zero.
    """

    def __init__(
        self,
        steps: int = 100,
        eta: float = 0.85,
        travel_length: int = 1,
        travel_repeat: int = 1,
        grid: Grid | None = None,
        threshold: float = 1e-10,
    ):
        super().__init__(steps, eta, 1.0, grid, threshold)
        self.jumps = Jumps(steps, travel_length, travel_repeat)

    def start(self, schedule: Schedule, measurement: Measurement, x: Batch, t: Float64[Tensor, ""]) -> Batch:
        """Noise, as published: y is first heard in the first step."""
        return x

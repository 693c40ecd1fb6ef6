"""Decoupled annealing posterior sampling (Zhang et al. 2024, DAPS)."""

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.posterior.base import Stepwise
from diffusion_lit.inverse.proximal import ProximalDraw, proximal_draw
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers import DDIM
from diffusion_lit.samplers.grids import Grid, Karras

__all__ = ["DAPS", "descent"]


def descent(schedule: Schedule, t: Float64[Tensor, ""], steps: int) -> Float64[Tensor, " steps_plus_1"]:
    """Times from t to the schedule's t_min in Karras' spacing (rho = 7), then 0; of one step, t and 0."""
    first, last = (-schedule.log_snr(torch.cat((t[None], t.new_full((1,), schedule.t_min)))) / 14).exp().tolist()
    times = schedule.time(-14 * torch.linspace(first, last, steps, dtype=t.dtype, device=t.device).log())
    return torch.cat((t[None], times[1:], t.new_zeros(1)))


class DAPS(Stepwise):
    """At each level: guess x_0 from x_t, draw an x_0 around the guess that has seen y, and add fresh noise.

    x_0' = the probability-flow ODE's end from x_t, in a few Euler steps;  x_0 ~ N(x_0', r_t^2 I) p(y | x_0)
    x_s = alpha_s x_0 + sigma_s z,    r_t = sigma_t / alpha_t       (Zhang et al. 2024, algorithm 1 and section 3.2)

    For a linear operator with Gaussian noise x_0 is drawn exactly in place of the paper's Langevin moves, and
    everywhere y has its true noise, where the published code has 0.01 whatever it is. A sample that is not finite is an
    error, not an image of zeros.

    The paper's guess takes 5 calls, here it takes one: x_0' = D. Where y says nothing, x then makes a Langevin move of
    step r_t^2, D + r_t z + r_s z', and keeps the law of x_t as the levels become fine. The ODE's end is a draw of x_0
    already, to which N(x_0', r_t^2 I) adds a variance at every level: of Gaussian data with variance v those
    coordinates keep v + e, where e becomes e v / (v + r_t^2) + r_t^2 from level to level: 2 v in the end, however fine.

    Args:
        steps: levels; the paper's 200.
        ode_steps: calls of the denoiser a level; at the last, whose noise is the least, one.
        inner: draws x_0; the exact draw where there is one, else Langevin's, unless given.
        grid: of the levels; Karras' with rho = 7 unless given, as in the paper.

    Raises:
        UserError: ode_steps is below 1.
    """

    def __init__(
        self, steps: int = 200, ode_steps: int = 1, inner: ProximalDraw | None = None, grid: Grid | None = None
    ):
        super().__init__(steps, grid or Karras())
        if ode_steps < 1:
            raise UserError(f"ode_steps: {ode_steps} < 1; a guess takes one call of the denoiser at least")
        self.ode_steps, self.inner = ode_steps, inner

    @property
    def nfe(self) -> int:
        return (self.steps - 1) * self.ode_steps + 1

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
        calls = self.ode_steps if s > 0 else 1
        times = descent(denoiser.schedule, t, calls)
        guess = DDIM(calls).integrate(denoiser, x_t, times, noise, **condition)
        alpha, sigma = denoiser.schedule(t)
        draw = self.inner or proximal_draw(measurement)
        x_0 = draw(measurement, guess, sigma / alpha, noise)
        alpha, sigma = denoiser.schedule(s)
        return alpha.to(x_t) * x_0 + sigma.to(x_t) * noise.normal(*x_t.shape[1:], dtype=x_t.dtype)

"""The probability flow with steps as long as a tolerance allows (Song et al. 2021, Score-SDE, section 4.3).

In the angle theta with tan(theta) = sigma_t / alpha_t and in z = x_t / (alpha_t^2 + sigma_t^2)^(1/2) the flow of every
schedule is one and the same, dz/dtheta = (z cos(theta) - D) / sin(theta): nothing in it is large, so a tolerance means
the same all the way, and the cost does not depend on the schedule. (The paper integrates x in t.)
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, expand
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.base import Mean, Past, Sampler
from diffusion_lit.samplers.grids import Grid, Uniform
from diffusion_lit.samplers.ode import dormand_prince

__all__ = ["RK45"]


class RK45(Sampler):
    """Dormand and Prince's method for the probability flow, each sample with steps of its own; then the mean.

    Args:
        rtol, atol: tolerances of one step, for x_t scaled to alpha^2 + sigma^2 = 1.
        max_steps: the most steps a sample may take between two times of the grid.
        steps: intervals of the grid, >= 2: the last goes to the data, the others are solved.
        grid: uniform unless given.

    Attributes:
        nfe: the most calls a sample may need; `solve` tells how many it did.
    """

    def __init__(
        self,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        max_steps: int = 1000,
        steps: int = 2,
        grid: Grid | None = None,
    ):
        super().__init__(steps, grid or Uniform())
        self.rtol, self.atol, self.max_steps = rtol, atol, max_steps

    @property
    def nfe(self) -> int:
        return (self.steps - 1) * (2 + 6 * self.max_steps) + 1

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        return mean(x_t, t) if s == 0 else self._flow(mean, x_t, t, s)[0]

    @torch.no_grad()
    def solve(
        self,
        denoiser: Denoiser,
        x_t: Batch,
        t: Float[Tensor, "*times"],
        s: Float[Tensor, "*times"],
        **condition,
    ) -> tuple[Batch, Int64[Tensor, " batch"]]:
        """Carry x_t (B, *) along the flow from t to s, either way; return x_s and the calls each sample needed (B,).

        Args:
            denoiser: D.
            x_t: (B, *).
            t, s: () or (B,) in (0, 1].
            condition: passed on to the denoiser.

        Raises:
            UserError: the tolerance was not met; the message names t and the step.
        """
        return self._flow(Mean(denoiser, condition), x_t, t, s)

    def _flow(self, mean: Mean, x_t: Batch, t: Tensor, s: Tensor) -> tuple[Batch, Tensor]:
        schedule = mean.denoiser.schedule

        def angle(t: Tensor) -> Tensor:
            return (-schedule.log_snr(t.double()) / 2).exp().atan()

        def time(theta: Tensor) -> Tensor:
            return schedule.time(-2 * theta.tan().log())

        def size(t: Tensor) -> Tensor:
            alpha, sigma = schedule(t)
            return expand((alpha**2 + sigma**2).sqrt(), z)

        def field(z: Tensor, theta: Tensor) -> Tensor:
            t = time(theta)
            estimate = mean((size(t) * z).to(x_t), t)
            return (expand(theta.cos(), z) * z - estimate) / expand(theta.sin(), z)

        z = x_t.double()
        z = z / size(t.double())
        z, evaluations = dormand_prince(
            field, z, angle(t), angle(s), rtol=self.rtol, atol=self.atol, max_steps=self.max_steps, time=time
        )
        return (size(s.double()) * z).to(x_t), evaluations

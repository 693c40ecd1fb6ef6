"""Methods with a step of their own: from x_t to x_s down a grid of times."""

from abc import abstractmethod

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.posterior.jumps import Jumps
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.ancestral import renoise
from diffusion_lit.samplers.grids import Grid, Uniform

__all__ = ["Stepwise", "ancestral"]


def ancestral(schedule: Schedule, mean: Batch, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness) -> Batch:
    """Draw x_s from q(x_s | x_t, x_0 = mean): DDPM with the variance beta-tilde (Ho et al. 2020, eq. 6)."""
    x_s, variance = renoise(schedule, mean, x_t, t, s, eta=1.0)
    return x_s + variance.sqrt().to(x_t) * noise.normal(*x_t.shape[1:], dtype=x_t.dtype)


class Stepwise(Method):
    """Repeats a step down a grid.

    Args:
        steps: number of steps, one call of the denoiser each.
        grid: (schedule, steps) -> the steps + 1 times; uniform unless given.

    Attributes:
        jumps: the walk, straight down unless a subclass sets another.
    """

    def __init__(self, steps: int, grid: Grid | None = None):
        if steps < 1:
            raise UserError(f"steps: {steps} < 1; a method takes at least one step, to the data")
        self.steps, self.grid = steps, grid or Uniform()
        self.jumps = Jumps(steps, 1, 1)

    @property
    def nfe(self) -> int:
        return self.jumps.nfe

    @property
    def vjps(self) -> int:
        return 0

    @abstractmethod
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
        """Go from x_t (B, *) at time t to x_s at s < t."""

    def times(self, schedule: Schedule, measurement: Measurement) -> Float64[Tensor, " steps_plus_1"]:
        """The falling times of the walk, 1 to 0."""
        return self.grid(schedule, self.steps)

    def draw(
        self, denoiser: Denoiser, measurement: Measurement, ids: Int64[Tensor, "batch *names"], seed: int, **condition
    ) -> Float[Tensor, "batch *x_shape"]:
        reference = denoiser.reference
        noise = Randomness(seed, ids, reference.device)
        times = self.times(denoiser.schedule, measurement).to(reference.device)
        _, sigma = denoiser.schedule(times[0])
        x = sigma.to(reference) * noise.normal(*measurement.operator.x_shape, dtype=reference.dtype)
        return self.walk(denoiser, measurement, x, times, noise, **condition)

    def walk(
        self,
        denoiser: Denoiser,
        measurement: Measurement,
        x: Batch,
        times: Float64[Tensor, " times"],
        noise: Randomness,
        **condition,
    ) -> Batch:
        """Carry x, which stands at times[0], to the data at times[-1]."""

        def step(x_t: Batch, t: Tensor, s: Tensor) -> Batch:
            return self.step(denoiser, measurement, x_t, t, s, noise, **condition)

        return self.jumps.walk(denoiser.schedule, step, x, times, noise)

"""The filter that MCGDiff and FPS are instances of: the noise of y taken as the diffusion's own.

Along a right singular vector of A, y is one number y_i = x_0i + n with a deviation of d_i = sigma_y / s_i
(`Spectrum`). Where the diffusion's noise r_t = sigma_t / alpha_t is as large, at a time tau_i, y_i has the law of
x_tau / alpha_tau, and nothing but x_0 says which of the two noises it has: so the posterior given y is that of a
reverse chain of which coordinate i is seen at tau_i, without noise (Cardoso et al. 2023, section 3.2). At a time s of
the grid below tau_i

    y_i = x_s / alpha_s + N(0, d_i^2 - r_s^2)

is as exact, so the grid need not meet tau_i; below it the coordinate goes free. Above it, particles are led
by what they may expect, which is where the methods differ. The particles are moved and weighed by the exact Gaussian
product of step and potential ("fully adapted", Pitt & Shephard 1999).
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, Posterior
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.posterior.population import Cloud, Population
from diffusion_lit.inverse.spectrum import Spectrum
from diffusion_lit.noise import Schedule
from diffusion_lit.reverse import bridge
from diffusion_lit.samplers.ancestral import Fixed
from diffusion_lit.samplers.grids import Grid, LogSNR

__all__ = ["Filter", "Level", "Potential", "log_normal"]

Along = Float64[Tensor, "batch_or_1 r"]


class Level(NamedTuple):
    """Where a grid's time stands: alpha_s, and r_s = sigma_s / alpha_s, each ()."""

    alpha: Tensor
    ratio: Tensor


class Potential(NamedTuple):
    """N(value; slope x_s, variance) along each singular vector.

    Attributes:
        value: (B, r) or (1, r).
        slope, variance: (r,).
        log_q: (B,) or () the log of the density that `value` itself was drawn with; 0 if it was not.
        lent: whether it is given back at the next step, above tau, or stays a part of the target.
    """

    value: Along
    slope: Tensor
    variance: Tensor
    log_q: Tensor
    lent: bool


def log_normal(value: Tensor, mean: Tensor, variance: Tensor) -> Float64[Tensor, "..."]:
    """log N(value; mean, variance) of each entry."""
    return -((value - mean).square() / variance + (2 * math.pi * variance).log()) / 2


class Filter(Population):
    """The filter; a subclass says how particles are led while the diffusion's noise is above y's.

    Args:
        steps: calls of the denoiser.
        particles: K, of a population.
        threshold: of the effective size, below which a population is resampled.
        grid: of times, LogSNR unless given; those nearest to the tau_i are moved there, as far as there are as many.

    Raises:
        UserError: no step, fewer than two particles, or a threshold outside of [0, 1].
    """

    needs = LinearOperator

    def __init__(self, steps: int, particles: int, threshold: float, grid: Grid | None = None):
        super().__init__(particles, threshold)
        if steps < 1:
            raise UserError(f"steps: {steps} < 1; a method takes at least one step, to the data")
        self.steps, self.grid, self.variance = steps, grid or LogSNR(), Fixed(0.5)

    @property
    def nfe(self) -> int:
        return self.steps

    @property
    def vjps(self) -> int:
        return 0

    @abstractmethod
    def lead(self, spectrum: Spectrum, cloud: Cloud) -> Callable[[Level, Bool[Tensor, " r"]], Potential]:
        """Return the potential at each level of the way down.

        It is told which coordinates are above their tau; the others are read once, at the first level that is not.
        """

    def times(self, schedule: Schedule, spectrum: Spectrum) -> Float64[Tensor, " steps_plus_1"]:
        """The grid's times, some of them moved to where the diffusion's noise is y's, d_i = r_t."""
        times = self.grid(schedule, self.steps)
        if spectrum.sigma > 0 and self.steps > 2:
            log_snr = schedule.log_snr(times[:-1])
            for level in (-2 * spectrum.deviation.cpu().log()).unique():
                if log_snr[0] < level < log_snr[-1]:
                    nearest = 1 + (log_snr[1:] - level).abs().argmin()
                    times[nearest] = schedule.time(level)
        return times

    def populate(self, denoiser: Denoiser, measurement: Measurement, cloud: Cloud, **condition) -> Batch:
        spectrum, schedule, reference = Spectrum.of(measurement), denoiser.schedule, denoiser.reference
        shape, lead = measurement.operator.x_shape, self.lead(spectrum, cloud)
        times = self.times(schedule, spectrum).to(reference.device)

        def move(mean: Batch, variance: Tensor, s: Tensor, seen: Tensor) -> tuple[Batch, Tensor, Tensor]:
            """From the prior's step N(mean, variance) to x_s, what is due next, and what of y is now seen."""
            alpha, sigma = schedule(s)
            level = Level(alpha, sigma / alpha)
            ahead = level.ratio > spectrum.deviation * (1 + 1e-9)  # a time moved to tau has met y, but for rounding
            now = ~ahead & ~seen
            led, heard = lead(level, ahead), ahead | now
            slope, noise = torch.where(heard, led.slope, 0.0), torch.where(heard, led.variance, 1.0)
            value = torch.where(heard, led.value, spectrum.y)
            total = slope**2 * variance + noise
            along, _ = spectrum.split(mean.double())
            cloud.weigh((heard * log_normal(value, slope * along, total)).sum(1) - led.log_q)
            mean, along, value = cloud.resample(mean, along, value.expand_as(along))
            _, across = spectrum.split(mean.double())
            z, z_across = spectrum.split(cloud.noise.normal(*shape, dtype=torch.float64))
            along = along + variance * slope / total * (value - slope * along) + (variance * noise / total).sqrt() * z
            x = spectrum.join(along, across + variance.sqrt() * z_across)
            lent = ahead if led.lent else torch.zeros_like(ahead)
            due = torch.where(lent, log_normal(value, slope * along, noise), 0.0).sum(1)
            return x.to(mean), due, seen | now

        noise = torch.zeros(cloud.log_w.numel(), *shape, dtype=reference.dtype, device=reference.device)
        seen = torch.zeros_like(spectrum.s, dtype=torch.bool)
        x, due, seen = move(noise, schedule(times[0])[1] ** 2, times[0], seen)
        for t, s in pairwise(times):
            posterior = denoiser(x, t, **condition)
            cloud.weigh(-due)
            if s > 0:
                of_x_t, of_x_0, _ = bridge(schedule, t, s)
                variance = self.variance(schedule, Posterior(posterior.mean), t, s)
                mean = of_x_t.to(x) * x + of_x_0.to(x) * posterior.mean
            else:
                alpha, sigma = schedule(t)
                mean, variance = posterior.mean, (sigma / alpha) ** 2
            x, due, seen = move(mean, variance, s, seen)
        cloud.weigh(_as_density_of_y(measurement, spectrum, x))
        return x


def _as_density_of_y(measurement: Measurement, spectrum: Spectrum, x: Batch) -> Float64[Tensor, "..."]:
    """log p(y | x_0) less its part along the singular vectors: for Gaussian noise the same for all particles of one y.

    It makes the evidence one of y itself. For other noise it weighs what the Gaussian in its place has made.
    """
    if spectrum.sigma == 0:
        return -spectrum.s.log().sum().expand(len(x))
    along, _ = spectrum.split(x.double())
    return measurement.log_likelihood(x.double()) - log_normal(spectrum.y, along, spectrum.deviation**2).sum(1)

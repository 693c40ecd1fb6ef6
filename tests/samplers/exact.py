"""Exact arithmetic with samplers: on Gaussian data a step is x_s = a x_t + b z, so what each z does can be summed."""

import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers import Sampler


class Impulses(Randomness):
    """Noise whose draw number c is `size` for sample c, counted from 1, and 0 for all others."""

    def __init__(self, samples: int, size: float = 1.0):
        super().__init__(0, torch.arange(samples))
        self.samples, self.size, self.draws = samples, size, 0

    def normal(self, *event: int, dtype: torch.dtype = torch.float32) -> Tensor:
        self.draws += 1
        z = torch.zeros(self.samples, *event, dtype=dtype)
        z[self.draws] = self.size
        return z


def independent(variances: Tensor, schedule: Schedule) -> GaussianDenoiser:
    """The exact denoiser of N(0, diag(variances))."""
    return GaussianDenoiser(torch.zeros(len(variances)), torch.diag(variances), schedule)


def gain(sampler: Sampler, denoiser: GaussianDenoiser, times: Tensor) -> Tensor:
    """What a deterministic sampler multiplies each dimension (d,) of x by."""
    x = torch.ones(1, len(denoiser.means[0]), dtype=torch.float64)
    return sampler.integrate(denoiser, x, times, Randomness(0, torch.arange(1)))[0]


def propagate(sampler: Sampler, denoiser: GaussianDenoiser, times: Tensor, variance: float) -> Tensor:
    """Carry the variance of x at times[0] down to times[-1]: each row is the effect of one independent number."""
    x = torch.zeros(len(times), len(denoiser.means[0]), dtype=torch.float64)
    x[0] = variance**0.5
    return sampler.integrate(denoiser, x, times, Impulses(len(times))).square().sum(0)

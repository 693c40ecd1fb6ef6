"""Guidance made exact by resampling: a population of paths, drawn again in proportion to their weights."""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from diffusion_lit.denoise import Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.guidance import MMPS, Guidance
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.posterior.paths import GuidedChain
from diffusion_lit.randomness import Randomness, beside

__all__ = ["PathResampling", "systematic"]


def systematic(log_w: Float64[Tensor, "populations particles"], u: Float64[Tensor, " populations"]) -> Tensor:
    """Systematic resampling (Kitagawa 1996): which particle takes each place, (P, K), in the order of the particles.

    Particle k is taken floor or ceil of K w_k / sum w times.

    Args:
        log_w: (P, K) log-weights, each row up to a constant.
        u: (P,) uniform in (0, 1).
    """
    count = log_w.shape[1]
    edges = log_w.softmax(1).cumsum(1)
    points = (torch.arange(count, dtype=torch.float64, device=log_w.device) + u[:, None]) / count
    return torch.searchsorted(edges, points.contiguous()).clamp(max=count - 1)


class PathResampling(Method):
    """Sampling-importance-resampling of paths of a guided chain (Rubin 1988).

    Sample i is particle i mod K of population i div K; with ids of several integers the last is i. A population depends
    on (seed, its number) alone, and is made whole for whichever of its particles is asked for.

    Args:
        steps: of the default guidance, MMPS.
        particles: K, of a population.
        guidance: in place of the default.

    Raises:
        UserError: fewer than two particles.
    """

    needs = LinearOperator

    def __init__(self, steps: int = 100, particles: int = 256, guidance: Guidance | None = None):
        if particles < 2:
            raise UserError(f"particles: {particles} < 2; a population has two or more")
        self.chain, self.particles = GuidedChain(guidance or MMPS(steps)), particles

    @property
    def nfe(self) -> int:
        """Calls a sample, if whole populations are asked for."""
        return self.chain.nfe

    @property
    def vjps(self) -> int:
        return self.chain.vjps

    def draw(
        self, denoiser: Denoiser, measurement: Measurement, ids: Int64[Tensor, "batch *names"], seed: int, **condition
    ) -> Float[Tensor, "batch *x_shape"]:
        names, count, device = ids.reshape(len(ids), -1), self.particles, denoiser.reference.device
        population = torch.cat((names[:, :-1], names[:, -1:] // count), dim=1)
        which, first = _groups(population, measurement)
        of_each = measurement
        if measurement.batched:
            y = measurement.y[first.to(measurement.y.device)]
            of_each = Measurement(y, measurement.operator, measurement.noise).repeat(count)
        particles = torch.arange(count, device=ids.device).repeat(len(first))[:, None]
        streams = torch.cat((population[first].repeat_interleave(count, 0), particles), dim=1)
        x, log_w = self.chain(denoiser, of_each, Randomness(seed, streams, device), **condition)
        luck = Randomness(seed, beside(population[first], -1), device)
        taken = systematic(log_w.reshape(len(first), count), luck.uniform())
        taken = taken.gather(1, luck.uniform(count).argsort(1))  # in random order: a part of them is a fair part
        place = (names[:, -1] % count).to(device)
        return x[which.to(device) * count + taken[which.to(device), place]]


def _groups(population: Int64[Tensor, "batch *names"], measurement: Measurement) -> tuple[Tensor, Tensor]:
    """Which population each sample is of (B,), and a sample of each (P,); one name with two y is two populations."""
    if measurement.batched:
        _, y = torch.unique(measurement.y.flatten(1), dim=0, return_inverse=True)
        population = torch.cat((population, y.to(population)[:, None]), dim=1)
    _, which = torch.unique(population, dim=0, return_inverse=True)
    order = which.argsort(stable=True)
    first = order[torch.cat((which.new_zeros(1), which.bincount().cumsum(0)[:-1]))]
    return which, first

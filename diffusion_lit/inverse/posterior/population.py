"""What the particle methods share: populations of weighted particles, drawn again in proportion to their weights."""

import math
from abc import abstractmethod

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.randomness import Randomness, beside

__all__ = ["Cloud", "Population", "systematic"]

Weights = Float64[Tensor, "populations particles"]


def systematic(log_w: Weights, u: Float64[Tensor, " populations"]) -> Int64[Tensor, "populations particles"]:
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


class Cloud:
    """P populations of K particles on their way: their weights, and the luck of each particle and each population.

    Args:
        seed: with its names it determines a population.
        names: (P, names) integers.
        count: K.
        threshold: a population is resampled when its effective size 1 / sum w^2 is below this part of K.
        device: of the numbers.

    Attributes:
        noise: a stream for each of the P K places, population by population.
        luck: a stream for each population.
        log_w: (P, K). Resampling sets a population's weights to their mean, so that log mean w at the end is the
            product of all the means on the way: the estimate of the evidence.
    """

    def __init__(
        self, seed: int, names: Int64[Tensor, "populations names"], count: int, threshold: float, device: torch.device
    ):
        places = torch.arange(count, device=names.device).repeat(len(names))[:, None]
        self.noise = Randomness(seed, torch.cat((names.repeat_interleave(count, 0), places), dim=1), device)
        self.luck = Randomness(seed, beside(names, -1), device)
        self.threshold = threshold
        self.log_w = torch.zeros(len(names), count, dtype=torch.float64, device=device)

    def weigh(self, log_factor: Float[Tensor, " batch"]) -> None:
        """Multiply the weights by exp(log_factor), which may be 0.

        Raises:
            UserError: a factor is not a number.
        """
        if bool(log_factor.isnan().any()):
            raise UserError(
                f"the weights of {int(log_factor.isnan().sum())} of {log_factor.numel()} particles are not finite: the "
                f"denoiser returns such numbers, or the particles ran away; take more steps"
            )
        self.log_w = self.log_w + log_factor.double().reshape(self.log_w.shape)

    def resample(self, *of_each: Tensor) -> tuple[Tensor, ...]:
        """Return tensors of P K rows as the populations have them after a resampling, where one is due."""
        if bool((self.log_w.amax(1) == -math.inf).any()):
            raise UserError(
                "every particle of a population has weight 0: y cannot be under this prior and noise, or the denoiser "
                "returns numbers that are not finite"
            )
        (populations, count), device = self.log_w.shape, self.log_w.device
        u = self.luck.uniform()  # drawn in any case, so that a stream has one length
        due = 1 / self.log_w.softmax(1).square().sum(1) < self.threshold * count
        if not bool(due.any()):
            return of_each
        places = torch.arange(count, device=device)
        taken = torch.where(due[:, None], systematic(self.log_w, u), places)
        mean = self.log_evidence[:, None].expand(-1, count)
        self.log_w = torch.where(due[:, None], mean, self.log_w)
        index = (torch.arange(populations, device=device)[:, None] * count + taken).flatten()
        return tuple(rows[index] for rows in of_each)

    @property
    def log_evidence(self) -> Float64[Tensor, " populations"]:
        """log mean w: exp of it is an unbiased estimate."""
        return self.log_w.logsumexp(1) - math.log(self.log_w.shape[1])


class Population(Method):
    """A method whose samples are particles of a population: alike within one, independent between two.

    Sample i is particle i mod K of population i div K; with ids of several integers the last is i. A population depends
    on (seed, its name) and its y alone, and is made whole for whichever of its particles is asked for. The particles
    are at last drawn systematically by their weights, and put in random order: a part of them is a fair part. The cost
    a sample, nfe and vjps, is that of whole populations.

    Args:
        particles: K, of a population.
        threshold: of the effective size, in [0, 1]; 0 never resamples on the way, 1 always.

    Raises:
        UserError: fewer than two particles, or a threshold outside of [0, 1].
    """

    def __init__(self, particles: int, threshold: float = 0.5):
        if particles < 2:
            raise UserError(f"particles: {particles} < 2; a population has two or more")
        if not 0 <= threshold <= 1:
            raise UserError(f"threshold: {threshold} is not in [0, 1]; it is a part of the number of particles")
        self.particles, self.threshold = particles, threshold

    @abstractmethod
    def populate(self, denoiser: Denoiser, measurement: Measurement, cloud: Cloud, **condition) -> Batch:
        """Make the cloud's particles, (P K, *x_shape), and weigh them.

        Args:
            denoiser: the prior.
            measurement: of one y, or of one for each of the P K particles.
            cloud: weights to multiply, and the streams to draw from.
            condition: passed on to the denoiser.
        """

    def normaliser(self, denoiser: Denoiser, measurement: Measurement) -> Float64[Tensor, ""]:
        """The log of the factor that `populate` leaves out of the weights, since all particles of one y share it."""
        return torch.zeros((), dtype=torch.float64)

    def log_evidence(
        self, denoiser: Denoiser, measurement: Measurement, *, populations: int = 1, seed: int = 0, **condition
    ) -> Float64[Tensor, "*batch populations"]:
        """Estimate log p(y), once by each population; the exp of an estimate has the mean p(y) under the prior's chain.

        Args:
            denoiser: the prior.
            measurement: y, operator and noise.
            populations: how many for each y; these are the populations that the first samples of this seed belong to.
            seed: of theirs.
            condition: passed on to the denoiser, for K particles of each population.

        Returns:
            (populations,), or (B, populations) if y is batched.
        """
        if measurement.batched:
            each = [Measurement(y, measurement.operator, measurement.noise) for y in measurement.y]
            of_each = [self.log_evidence(denoiser, m, populations=populations, seed=seed, **condition) for m in each]
            return torch.stack(of_each)
        device = denoiser.reference.device
        with torch.inference_mode(False), torch.no_grad():
            measurement = measurement.repeat(1).to(device)
            names = torch.arange(populations)[:, None]
            cloud = Cloud(seed, names, self.particles, self.threshold, device)
            self.populate(denoiser, measurement, cloud, **condition)
            return cloud.log_evidence + self.normaliser(denoiser, measurement).to(device)

    def draw(
        self, denoiser: Denoiser, measurement: Measurement, ids: Int64[Tensor, "batch *names"], seed: int, **condition
    ) -> Float[Tensor, "batch *x_shape"]:
        names, count, device = ids.reshape(len(ids), -1), self.particles, denoiser.reference.device
        population = torch.cat((names[:, :-1], names[:, -1:] // count), dim=1)
        which, first = _groups(population, measurement)

        def of_particles(rows: Tensor) -> Tensor:
            return rows[first.to(rows.device)].repeat_interleave(count, 0)

        if measurement.batched:
            measurement = Measurement(of_particles(measurement.y), measurement.operator, measurement.noise)
        condition = {
            key: of_particles(value) if isinstance(value, Tensor) and value.ndim and len(value) == len(ids) else value
            for key, value in condition.items()
        }
        cloud = Cloud(seed, population[first], count, self.threshold, device)
        x = self.populate(denoiser, measurement, cloud, **condition)
        taken = systematic(cloud.log_w, cloud.luck.uniform())
        taken = taken.gather(1, cloud.luck.uniform(count).argsort(1))  # in random order: a part of them is a fair part
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

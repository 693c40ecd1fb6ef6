"""The bootstrap particle filter, and trajectories drawn from it: the truth where nothing is linear."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from diffusion_lit.assimilation.chains import Chain, States, Trajectories
from diffusion_lit.errors import UserError
from diffusion_lit.randomness import Randomness

__all__ = ["BootstrapFilter", "Filtered"]

#: x (N, d) -> log p(y_i | x_i = x) in nats, (N,).
LogLikelihood = Callable[[Tensor], Tensor]


class Uniforms:
    """One stream of uniform numbers."""

    def __init__(self, seed: int, stream: int):
        self.noise = Randomness(seed, torch.tensor([[0, stream]]))

    def __call__(self, count: int) -> Float64[Tensor, " count"]:
        return self.noise.uniform(count)[0]


def systematic(weights: Float64[Tensor, " n"], u: Float64[Tensor, ""]) -> Int64[Tensor, " n"]:
    """Draw n indices by their weights: those at (i + u) / n of the cumulated weights (Kitagawa 1996)."""
    edges = weights.cumsum(0)
    places = (torch.arange(len(weights), dtype=torch.float64) + u) / len(weights) * edges[-1]
    return torch.searchsorted(edges, places).clamp_max(len(weights) - 1)


@dataclass(frozen=True)
class Filtered:
    """What the filter saw on its way.

    Attributes:
        chain: whose states they are.
        particles: (L, N, d); those of time i are of p(x_i | y_1 .. y_{i-1}) when they have equal weights.
        log_weights: (L, N), normalised, of p(x_i | y_1 .. y_i).
        ancestors: (L, N), where at time i - 1 each particle of time i came from; the first row is not used.
        log_evidence: () log p(y) in nats; exp(log_evidence) is unbiased.
    """

    chain: Chain
    particles: Float64[Tensor, "length n d"]
    log_weights: Float64[Tensor, "length n"]
    ancestors: Int64[Tensor, "length n"]
    log_evidence: Float64[Tensor, ""]

    def inherited(self, samples: int, seed: int) -> Trajectories:
        """Draw trajectories (samples, L, d): the last states by their weights, and the ancestors of each.

        Their early states are few: all particles share them after some resamplings ("path degeneracy").
        """
        index = _choose(self.log_weights[-1], Uniforms(seed, 1)(samples))
        states = []
        for i in reversed(range(len(self.particles))):
            states.append(self.particles[i, index])
            index = self.ancestors[i, index]
        return torch.stack(states[::-1], 1)

    def smoothed(self, samples: int, seed: int, chunk: int = 64) -> Trajectories:
        """Draw trajectories (samples, L, d) of p(x_1 .. x_L | y) backwards (Godsill, Doucet & West 2004).

        Given x_{i+1}, x_i is drawn from the particles of time i, with weights w_i p(x_{i+1} | x_i): trajectories have
        early states of their own. N * L densities a sample.

        Args:
            samples: how many.
            seed: names them.
            chunk: samples at a time, for the memory.
        """
        uniforms = Uniforms(seed, 2)
        states = [self.particles[-1, _choose(self.log_weights[-1], uniforms(samples))]]
        for i in reversed(range(len(self.particles) - 1)):
            # in units of the noise of the transition, p(x_{i+1} | x_i) is a function of a distance
            means = self.chain.mean(self.particles[i]) / self.chain.std
            draws = uniforms(samples)
            index = [
                _choose(self.log_weights[i] - torch.cdist(following / self.chain.std, means).square() / 2, u)
                for following, u in zip(states[-1].split(chunk), draws.split(chunk))
            ]
            states.append(self.particles[i, torch.cat(index)])
        return torch.stack(states[::-1], 1)


def _choose(log_weights: Float64[Tensor, "*samples n"], u: Float64[Tensor, " samples"]) -> Int64[Tensor, " samples"]:
    """One index for each u in (0, 1): by weights (N,), or by weights (samples, N) of its own."""
    edges = (log_weights - log_weights.amax(-1, keepdim=True)).exp().cumsum(-1)
    found = torch.searchsorted(edges, (u * edges[..., -1])[:, None] if edges.ndim == 2 else u * edges[-1])
    return found.reshape(-1).clamp_max(edges.shape[-1] - 1)


class BootstrapFilter:
    """Move particles by the chain, weight them by the likelihood, resample (Gordon, Salmond & Smith 1993).

    Resampled, systematically, after every observation, so that the weights are those of the last one.

    Args:
        chain: the transitions.
        particles: N; 2^14 for Lorenz' chain in Rozet & Louppe 2023.
    """

    def __init__(self, chain: Chain, particles: int = 16_384):
        if particles < 1:
            raise UserError(f"particles: {particles} < 1")
        self.chain, self.particles = chain, particles

    def __call__(self, observed: Mapping[int, LogLikelihood], length: int, *, seed: int) -> Filtered:
        """Filter a trajectory of `length` states.

        Args:
            observed: time 0 .. length - 1 -> log p(y_i | x_i) of particles (N, d); where there is none nothing is seen.
            length: L.
            seed: of everything random.

        Raises:
            UserError: a time outside the trajectory, or an observation that no particle explains.
        """
        if outside := [i for i in observed if not 0 <= i < length]:
            raise UserError(f"observed: time {outside[0]} is not one of 0 .. {length - 1}")
        noise, uniforms = Randomness(seed, torch.arange(self.particles)), Uniforms(seed, 0)
        x: States = self.chain.start(noise)
        everyone = torch.arange(self.particles)
        equal = torch.full((self.particles,), 1 / self.particles, dtype=torch.float64).log()
        particles, weights, ancestors, evidence = [], [], [], torch.zeros((), dtype=torch.float64)
        origin = everyone
        for i in range(length):
            log_weights = equal + observed[i](x) if i in observed else equal
            total = log_weights.logsumexp(0)
            if not bool(total.isfinite()):
                raise UserError(f"observed: no particle explains time {i} (its likelihood is {total:g}); take more")
            evidence, log_weights = evidence + total, log_weights - total
            particles.append(x)
            weights.append(log_weights)
            ancestors.append(origin)
            if i < length - 1:
                origin = systematic(log_weights.exp(), uniforms(1)[0]) if i in observed else everyone
                x = self.chain.step(x[origin], noise)
        return Filtered(self.chain, torch.stack(particles), torch.stack(weights), torch.stack(ancestors), evidence)

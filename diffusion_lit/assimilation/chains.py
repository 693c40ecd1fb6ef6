"""Markov chains whose transitions are known: x_{i+1} = f(x_i) + N(0, diag(std^2)).

They are the truth of data assimilation: a trajectory can be simulated, its probability given its first state is exact,
and a particle filter can tell what was to be learnt.
"""

import math
from abc import ABC, abstractmethod
from functools import cached_property

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.randomness import Randomness

__all__ = ["Chain", "LinearChain", "Lorenz63", "Windows"]

States = Float64[Tensor, "batch d"]
Trajectories = Float64[Tensor, "batch length d"]


class Chain(ABC):
    """x_{i+1} = f(x_i) + std * N(0, I), started from its stationary law.

    Args:
        std: (d,) standard deviations of the noise of one transition, > 0, in the units of x.

    Attributes:
        size: d.
    """

    def __init__(self, std: Float64[Tensor, " d"]):
        if not bool((std > 0).all()):
            raise UserError(f"std: {std.tolist()}; the noise of a transition has a density, so every entry is > 0")
        self.std, self.size = std, len(std)

    @abstractmethod
    def mean(self, x: States) -> States:
        """f(x), (B, d)."""

    @abstractmethod
    def start(self, noise: Randomness) -> States:
        """Draw one state a stream from the stationary law, (B, d)."""

    def step(self, x: States, noise: Randomness) -> States:
        """Draw the next state of each x (B, d)."""
        return self.mean(x) + self.std * noise.normal(self.size, dtype=torch.float64)

    def simulate(self, x: States, length: int, noise: Randomness) -> Trajectories:
        """Go on from x (B, d), which is the first of `length` states, (B, length, d)."""
        states = [x]
        for _ in range(length - 1):
            states.append(self.step(states[-1], noise))
        return torch.stack(states, 1)

    def log_transition(self, x: States, following: States) -> Float64[Tensor, " batch"]:
        """log p(x_{i+1} | x_i) in nats, (B,)."""
        z = (following - self.mean(x)) / self.std
        return -z.square().sum(1) / 2 - self.std.log().sum() - self.size * math.log(2 * math.pi) / 2

    def log_path(self, x: Trajectories) -> Float64[Tensor, " batch"]:
        """log p(x_2, ..., x_L | x_1) of trajectories (B, L, d), in nats, (B,)."""
        steps = self.log_transition(x[:, :-1].reshape(-1, self.size), x[:, 1:].reshape(-1, self.size))
        return steps.reshape(len(x), -1).sum(1)


class LinearChain(Chain):
    """x_{i+1} = A x_i + N(0, diag(std^2)), whose trajectories are Gaussian: everything is known in closed form.

    Args:
        matrix: A (d, d), of spectral radius < 1, so that the chain has a stationary law N(0, P), P = A P A^T + Q.
        std: (d,).
    """

    def __init__(self, matrix: Float64[Tensor, "d d"], std: Float64[Tensor, " d"]):
        super().__init__(std)
        radius = float(torch.linalg.eigvals(matrix).abs().max())
        if radius >= 1:
            raise UserError(f"matrix: spectral radius {radius:.4g} >= 1; the chain runs away and has no stationary law")
        self.matrix = matrix

    @cached_property
    def stationary(self) -> Float64[Tensor, "d d"]:
        """P: vec(P) = (I - A (x) A)^-1 vec(Q)."""
        a, q = self.matrix, self.std.square().diag()
        system = torch.eye(self.size**2, dtype=torch.float64) - torch.kron(a, a)
        return torch.linalg.solve(system, q.flatten()).reshape(a.shape)

    def covariance(self, length: int) -> Float64[Tensor, "size size"]:
        """Of (x_1, ..., x_length) stacked, (length d, length d): Cov(x_{i+n}, x_i) = A^n P."""
        rows = torch.zeros(length, self.size, length, self.size, dtype=torch.float64)
        block = self.stationary
        for n in range(length):
            for i in range(length - n):
                rows[i + n, :, i] = block
                rows[i, :, i + n] = block.mT
            block = self.matrix @ block
        return rows.reshape(length * self.size, length * self.size)

    def mean(self, x: States) -> States:
        return x @ self.matrix.mT

    def start(self, noise: Randomness) -> States:
        return noise.normal(self.size, dtype=torch.float64) @ torch.linalg.cholesky(self.stationary).mT


class Lorenz63(Chain):
    """Lorenz' convection (1963) with noise.

    da = s (b - a), db = a (r - c) - b, dc = a b - q c with s = 10, r = 28, q = 8 / 3. A transition is one step of the
    classical Runge-Kutta method of order 4, and N(0, dt I) (Rozet & Louppe 2023, section 4.1). States are in Lorenz'
    own units; `normalised` they have about mean 0 and variance 1 in each coordinate.

    Args:
        dt: length of a step.
        burn_in: steps from the prior N([0, 0, 25], [[64, 50, 0], [50, 81, 0], [0, 0, 75]]) to the stationary law.
    """

    shift = torch.tensor([0.0, 0.0, 25.0], dtype=torch.float64)
    scale = torch.tensor([8.0, 9.0, 8.6], dtype=torch.float64)

    def __init__(self, dt: float = 0.025, burn_in: int = 1024):
        super().__init__(torch.full((3,), math.sqrt(dt), dtype=torch.float64))
        self.dt, self.burn_in = dt, burn_in

    def normalised(self, x: Float64[Tensor, "*batch 3"]) -> Float64[Tensor, "*batch 3"]:
        return (x - self.shift) / self.scale

    def raw(self, z: Float64[Tensor, "*batch 3"]) -> Float64[Tensor, "*batch 3"]:
        """The inverse of `normalised`."""
        return self.shift + self.scale * z

    def mean(self, x: States) -> States:
        x, h = x.mT.contiguous(), self.dt  # each coordinate in one piece of memory
        first = _lorenz(x)
        second = _lorenz(x + h / 2 * first)
        third = _lorenz(x + h / 2 * second)
        fourth = _lorenz(x + h * third)
        return (x + h / 6 * (first + 2 * second + 2 * third + fourth)).mT

    def start(self, noise: Randomness) -> States:
        covariance = torch.tensor([[64.0, 50.0, 0.0], [50.0, 81.0, 0.0], [0.0, 0.0, 75.0]], dtype=torch.float64)
        x = self.shift + noise.normal(3, dtype=torch.float64) @ torch.linalg.cholesky(covariance).mT
        for _ in range(self.burn_in):
            x = self.step(x, noise)
        return x


def _lorenz(x: Float64[Tensor, "3 batch"]) -> Float64[Tensor, "3 batch"]:
    a, b, c = x
    return torch.stack((10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c))


class Windows:
    """`length` successive states of Lorenz' chain, normalised and flat: what a window's denoiser is trained on.

    The first state is one of many that are simulated once: `snapshots` states, 16 steps apart, of each of `paths`
    trajectories. The transitions are fresh; sample i depends on (seed, id_i) alone, and none comes twice.

    Args:
        length: W, the number of states.
        chain: the system; Lorenz63() unless given.
        paths, snapshots: how many first states there are, paths * snapshots.
    """

    def __init__(self, length: int, chain: Lorenz63 | None = None, paths: int = 4096, snapshots: int = 32):
        if min(length, paths, snapshots) < 1:
            raise UserError(f"length, paths, snapshots: {length}, {paths}, {snapshots}; each is at least 1")
        self.length, self.chain, self.paths, self.snapshots = length, chain or Lorenz63(), paths, snapshots
        self.size = length * self.chain.size

    @cached_property
    def starts(self) -> States:
        """The first states (paths * snapshots, 3)."""
        noise = Randomness(63, torch.arange(self.paths))
        x = self.chain.start(noise)
        return torch.cat([x, *(x := self.chain.simulate(x, 17, noise)[:, -1] for _ in range(self.snapshots - 1))])

    def draw(self, noise: Randomness) -> Float64[Tensor, "batch size"]:
        """Draw one window a stream, (B, 3 W)."""
        first = (noise.uniform() * len(self.starts)).long().clamp_max(len(self.starts) - 1)
        return self.chain.normalised(self.chain.simulate(self.starts[first], self.length, noise)).flatten(1)

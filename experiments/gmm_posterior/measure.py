"""How far samples of a method are from the exact posterior of a Gaussian mixture, on stored problems.

The set-up of Cardoso et al. 2023 (MCGDiff, section 4): 25 unit components on a grid, A with random singular values.
The problems are data (instances.npz): an SVD drawn from a seed differs between linear-algebra builds.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianMixtureDenoiser
from diffusion_lit.inverse import GaussianNoise, LinearOperator, Measurement, Method, methods
from diffusion_lit.noise import VP
from diffusion_lit.reproduction import Experiment

FOLDER = Path(__file__).parent
EXACT, PROJECTIONS = 10_000, 1_000  # samples of the exact posterior, directions


@dataclass(frozen=True, eq=False)
class Problem:
    """One problem, and its exact samples projected and sorted, (EXACT, PROJECTIONS)."""

    denoiser: GaussianMixtureDenoiser
    measurement: Measurement
    posterior: GaussianMixtureDenoiser
    directions: Tensor
    quantiles: Tensor

    @property
    def y(self) -> Tensor:
        return self.measurement.y

    @property
    def sigma(self) -> float:
        return math.sqrt(self.measurement.noise.variance)

    @property
    def matrix(self) -> Tensor:
        return self.measurement.operator.matrix()

    def apply(self, x: Tensor) -> Tensor:
        return self.measurement.operator(x)

    def distance(self, x: Tensor) -> float:
        """The sliced W1 of n samples to the exact ones: n divides EXACT."""
        sorted_x = (x.double() @ self.directions).sort(0).values.repeat_interleave(EXACT // len(x), 0)
        return float((sorted_x - self.quantiles).abs().mean())


@cache
def problem(cell: str, number: int) -> Problem:
    """Problem `number` of a cell d_dy."""
    with np.load(FOLDER / "instances.npz") as stored:
        d = cell.split("_")[0]
        weights, means = (torch.tensor(stored[f"{name}_{d}"]) for name in ("weights", "means"))
        matrix, y, sigma = (torch.tensor(stored[f"{name}_{cell}"][number]) for name in ("A", "y", "sigma"))
    denoiser = GaussianMixtureDenoiser(weights, means, torch.ones(len(weights)), VP())
    measurement = Measurement(y, LinearOperator.from_matrix(matrix), GaussianNoise(float(sigma)))
    posterior = denoiser.posterior(measurement)
    directions = torch.randn(means.shape[1], PROJECTIONS, generator=torch.Generator().manual_seed(0)).double()
    directions = directions / directions.norm(dim=0)
    quantiles = (posterior.sample(EXACT, seed=1) @ directions).sort(0).values
    return Problem(denoiser, measurement, posterior, directions, quantiles)


def build(name: str, d_y: int, steps: int, options: Mapping) -> Method:
    """A method by its name; the value d_y is the problem's, and a mapping is another method, such as a guidance."""
    given = {}
    for key, value in options.items():
        if isinstance(value, Mapping):
            value = build(value["name"], d_y, steps, {k: v for k, v in value.items() if k != "name"})
        given[key] = d_y if value == "d_y" else value
    return methods[name](steps=steps, **given)


def measure(
    seed: int,
    *,
    method: str,
    cell: str,
    problems: int,
    repeats: int,
    n: int,
    steps: int,
    options: Mapping | None = None,
    peer: bool = False,
    run: Path | None = None,
) -> dict[str, float]:
    """The mean sliced W1 of n samples to the exact posterior, with its 95 % interval over problems, and the cost.

    `w1`, `interval`, `nfe`, `vjps`, `seconds` (of n samples), and `w1/NUMBER`, each problem's: the mean of `repeats`
    sampling seeds.
    """
    distances, seconds, cost = torch.zeros(problems, dtype=torch.float64), 0.0, {}
    for number in range(problems):
        this = problem(cell, number)
        for repeat in range(repeats):
            began = time.perf_counter()
            if method == "exact":
                x = this.posterior.sample(n, seed=100 + seed + repeat)
            elif peer:
                x = Experiment.read(FOLDER).script("peers").peers[method](this, steps, n, seed + repeat)
            else:
                made = build(method, len(this.y), steps, options or {})
                cost = {"nfe": float(made.nfe), "vjps": float(made.vjps)}
                x = made(this.denoiser, this.measurement, samples=n, seed=seed + repeat)
            seconds += time.perf_counter() - began
            distances[number] += this.distance(x) / repeats
    interval = 1.96 * distances.std() / math.sqrt(problems) if problems > 1 else torch.tensor(0.0)
    numbers = {"w1": float(distances.mean()), "interval": float(interval), "seconds": seconds / problems / repeats}
    each = {f"w1/{number:02}": float(value) for number, value in enumerate(distances)}
    return {**numbers, **cost, **each}

"""Trajectories of Lorenz' chain given its first coordinate, by windows and guidance, against a particle filter."""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import diffusion_lit
from diffusion_lit.assimilation import BootstrapFilter, Lorenz63, WindowedDenoiser
from diffusion_lit.inverse import GaussianNoise, Inpainting, Measurement
from diffusion_lit.inverse.guidance.sda import SDA, ByNoise
from diffusion_lit.randomness import Randomness
from diffusion_lit.reproduction import Results
from diffusion_lit.samplers import DDIM, Langevin, LogSNR, PredictorCorrector, Sampler

CHUNK = 64  # trajectories at a time: what the caches hold


def earth_mover(a: Tensor, b: Tensor) -> float:
    """W1 of two sets of as many trajectories (n, L, 3), in Lorenz' units: the best assignment's mean distance."""
    cost = torch.cdist(a.flatten(1), b.flatten(1)).numpy()
    return float(cost[linear_sum_assignment(cost)].mean())


def observe(seed: int, length: int, every: int, sigma: float) -> Measurement:
    """See coordinate a of one trajectory at every so many steps, with noise sigma in normalised units."""
    chain, noise = Lorenz63(), Randomness(seed, torch.tensor([[0, 63]]))
    truth = chain.simulate(chain.start(noise), length, noise)[0]
    seen = torch.zeros(length, 3, dtype=torch.bool)
    seen[::every, 0] = True
    return Measurement.simulate(Inpainting(seen), GaussianNoise(sigma), chain.normalised(truth), seed)


@cache
def filtered(seed: int, length: int, every: int, sigma: float, samples: int, particles: int, run: int) -> Tensor:
    """Trajectories (samples, L, 3) by backward simulation from a filter of its own seed."""
    measurement, chain = observe(seed, length, every, sigma), Lorenz63()

    def likelihood(y: float) -> Callable[[Tensor], Tensor]:
        constant = math.log(sigma * math.sqrt(2 * math.pi))
        return lambda x: -(((y - chain.normalised(x)[:, 0]) / sigma) ** 2) / 2 - constant

    seen = {i: likelihood(float(measurement.y[i, 0])) for i in range(0, length, every)}
    return BootstrapFilter(chain, particles)(seen, length, seed=run).smoothed(samples, seed=run)


def walk(steps: int, corrections: int, tau: float) -> Sampler:
    """DDIM with so many Langevin moves before each step (Rozet & Louppe 2023, algorithm 4)."""
    predictor = DDIM(steps, grid=LogSNR())
    return PredictorCorrector(predictor, Langevin(ByNoise(tau), corrections)) if corrections else predictor


@cache
def unguided(run: Path, k: int, length: int, seed: int, steps: int, corrections: int, tau: float) -> Tensor:
    """Trajectories (64, L, 3) without observations, normalised."""
    denoiser = WindowedDenoiser(diffusion_lit.load(run), k, 3)
    return walk(steps, corrections, tau)(denoiser, (CHUNK, length, 3), seed=seed).double()


def measure(
    seed: int,
    *,
    run: Path,
    k: int,
    every: int,
    sigma: float,
    corrections: int,
    length: int,
    steps: int,
    gamma: float,
    tau: float,
    samples: int,
    particles: int,
) -> dict[str, float]:
    """Compare samples given y with the particle filter's, and samples of the prior with the chain.

    Args:
        seed: names the truth, the observations and everything drawn.
        run: the window's denoiser.
        k: its reach.
        every, sigma: steps between two observations, and their noise in normalised units.
        corrections, steps, gamma, tau: of SDA.
        length: L, states of a trajectory.
        samples: trajectories of either side.
        particles: of the filter.

    Returns:
        `emd`: W1 to the filter's trajectories; `emd/filter`, that of two filters; `emd/ratio` of the two;
        `path`, `path/filter`: the mean of log p(x_2 .. x_L | x_1), in nats and Lorenz' units;
        `misfit/excess`: the mean of log p(y | x) over trajectories, less that of the filter's, in nats;
        `prior/path`, `prior/std`: of trajectories without y: the mean as above, and the standard deviation of the
        normalised states, 0.99 in truth; `prior/path/chain`: minus the entropy of the chain's noise.
    """
    chain, measurement = Lorenz63(), observe(seed, length, every, sigma)
    denoiser = WindowedDenoiser(diffusion_lit.load(run), k, 3)
    method, parts = SDA(gamma=gamma, sampler=walk(steps, corrections, tau)), torch.arange(samples).split(CHUNK)
    guided = torch.cat([method(denoiser, measurement, samples=len(ids), ids=ids, seed=seed) for ids in parts])
    prior = unguided(run, k, length, seed, steps, corrections, tau)
    ours = chain.raw(guided.double())
    truth, other = (filtered(seed, length, every, sigma, samples, particles, apart) for apart in (0, 1))

    def seen(x: Tensor) -> Tensor:
        return measurement.log_likelihood(chain.normalised(x))

    apart, floor = earth_mover(ours, truth), earth_mover(other, truth)
    return {
        "emd": apart,
        "emd/filter": floor,
        "emd/ratio": apart / floor,
        "path": chain.log_path(ours).mean().item(),
        "path/filter": chain.log_path(truth).mean().item(),
        "misfit/excess": (seen(ours).mean() - seen(truth).mean()).item(),
        "prior/path": chain.log_path(chain.raw(prior)).mean().item(),
        "prior/path/chain": -(length - 1) * 3 * (1 + math.log(2 * math.pi * chain.dt)) / 2,
        "prior/std": prior.std().item(),
    }


def figure(results: Results, path: Path) -> None:
    """Draw the distance to the filter over that of two filters, a bar for each choice of windows."""
    import matplotlib.pyplot as plt

    rows = results.axes["windows"]
    picture, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    for i, regime in enumerate(results.axes["observations"]):
        ratios = [results.mean("emd/ratio", windows=row, observations=regime) for row in rows]
        axes.bar([j + 0.4 * i - 0.2 for j in range(len(rows))], ratios, 0.4, label=regime)
    axes.axhline(1.5, color="0.3", linestyle=":")
    axes.set(xticks=range(len(rows)), xticklabels=rows, yscale="log", ylabel="EMD / EMD of two filters")
    axes.legend(title="observations")
    picture.savefig(path, bbox_inches="tight", dpi=120)
    plt.close(picture)

"""A mixture in R^16 with two linear measurements: samples of a method against the exact posterior."""

import time
from pathlib import Path
from typing import Any

import torch

from diffusion_lit.analytic import GaussianMixtureDenoiser
from diffusion_lit.inverse import GaussianNoise, LinearOperator, Measurement, Method, methods
from diffusion_lit.inverse.guidance.dps import Published
from diffusion_lit.metrics.coverage import interval_coverage
from diffusion_lit.metrics.sliced import sliced_wasserstein
from diffusion_lit.metrics.stein import stein_discrepancy
from diffusion_lit.noise import VP
from diffusion_lit.reproduction import Results
from diffusion_lit.samplers import DDPM

TRUTH = torch.tensor(
    [3, 2, 0.5, -0.5, 1, 0.8, -0.6, 1.1, -0.9, 0.4, 0, -1.2, 0.7, -0.3, 0.5, -0.8], dtype=torch.float64
)


def prior() -> GaussianMixtureDenoiser:
    """(x_1, x_2) ~ .8 N(0, I) + .2 N((3, 3), 2 I), the other 14 are standard normal."""
    means, covariances = torch.zeros(2, 16), torch.eye(16).repeat(2, 1, 1)
    means[1, :2] = 3
    covariances[1, :2, :2] *= 2
    return GaussianMixtureDenoiser(torch.tensor([0.8, 0.2]), means, covariances, VP())


def measured_by(name: str) -> LinearOperator:
    """A1: y_i = s_i x_{i+2}, s = .1, .15 .. .75; A2: y_i = 3 x_i, i = 1..4."""
    matrix = torch.zeros(14 if name == "A1" else 4, 16, dtype=torch.float64)
    if name == "A1":
        matrix[range(14), range(2, 16)] = 0.1 + 0.05 * torch.arange(14, dtype=torch.float64)
    else:
        matrix[range(4), range(4)] = 3.0
    return LinearOperator.from_matrix(matrix)


def build(method: str, published: bool = False, **options: Any) -> Method:
    """A method by its name; `published`: DPS by the paper's step on the paper's chain of 1,000."""
    kind: Any = methods[method]
    if published:
        return kind(step=Published(), sampler=DDPM(1000, v=0.0))
    return kind(**options)


def measure(
    seed: int, *, operator: str, sigma: float, method: str, n: int, options: dict | None = None
) -> dict[str, float]:
    """Of n samples for noise draw `seed` of the measurement:

    `rmse` to the truth, over samples and entries; `ksd`, the score-KSD; `sw`, the sliced W2 to n exact samples;
    `coverage`, the exact posterior's mass in the samples' 90 % intervals, the mean over entries; `share`, of samples
    with x_1 + x_2 > 3, over the exact share; `nfe`, `vjps`, `seconds`.
    """
    denoiser = prior()
    measurement = Measurement.simulate(measured_by(operator), GaussianNoise(sigma), TRUTH, seed)
    posterior = denoiser.posterior(measurement)
    exact = posterior.sample(n, seed=1000 + seed)
    began, sampler = time.perf_counter(), None
    if method == "exact":
        x = posterior.sample(n, seed=2000 + seed)
    else:
        sampler = build(method, **(options or {}))
        x = sampler(denoiser, measurement, samples=n, seed=seed).double()
    seconds = time.perf_counter() - began
    point = x.clone().requires_grad_()
    score = torch.autograd.grad(posterior.log_prob(point).sum(), point)[0]
    share = float((x[:, :2].sum(1) > 3).double().mean() / (exact[:, :2].sum(1) > 3).double().mean().clamp_min(1 / n))
    return {
        "rmse": (x - TRUTH).square().mean().sqrt().item(),
        "ksd": stein_discrepancy(x, score).score_ksd,
        "sw": sliced_wasserstein(x, exact),
        "coverage": interval_coverage(x.expand(n, n, 16), exact).value,
        "share": share,
        "nfe": sampler.nfe if sampler else 0,
        "vjps": sampler.vjps if sampler else 0,
        "seconds": seconds,
    }


def figure(results: Results, path: Path) -> None:
    """Draw the score-KSD against the distance to the exact posterior, each over that of exact samples."""
    import matplotlib.pyplot as plt

    picture, panels = plt.subplots(1, 4, figsize=(14, 3.6), layout="constrained")
    for panel, problem in zip(panels, results.axes["problem"]):
        for method in results.axes["method"]:
            at = {"method": method, "problem": problem}
            x, y = (
                results.mean(key, **at) / results.mean(key, method="exact", problem=problem) for key in ("sw", "ksd")
            )
            panel.loglog(x, y, "k*" if method == "exact" else "o", markersize=9 if method == "exact" else 5)
            panel.annotate(method, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=6)
        panel.axhline(1, color="0.8", zorder=0)
        panel.axvline(1, color="0.8", zorder=0)
        panel.minorticks_off()
        panel.set(
            title=problem, xlabel="sliced W2 / that of exact samples", xticks=[1, 3, 10, 30, 100], xlim=(0.7, None)
        )
        panel.set(xticklabels=["1", "3", "10", "30", "100"])
    panels[0].set(ylabel="score-KSD / that of exact samples")
    picture.savefig(path, bbox_inches="tight")
    plt.close(picture)

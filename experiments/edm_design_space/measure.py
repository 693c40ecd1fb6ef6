"""The error of a sampler: on N(0, diag(2, 1, .5, .1)) without Monte Carlo, on digits by a Frechet distance.

On Gaussian data every deterministic sampler is linear, x_0 = G x_1, so the law of its samples is known: in the data's
own axes, each whitened, W2^2 = sum_i (g_i s_1 / s_i - 1)^2, x_1 being drawn with its exact deviation s_1. With churn
the deviations of 50,000 samples take the place of g_i s_1, which leaves .006 to chance.
"""

from pathlib import Path

import torch

import diffusion_lit
from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.commands.build import build_data_of, build_reference
from diffusion_lit.noise import EDM, VP, Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.reproduction import Results
from diffusion_lit.samplers import (
    DPMSolverPP,
    Euler,
    ExponentialAB,
    Heun,
    Karras,
    LogSNR,
    Quadratic,
    Sampler,
    Uniform,
)

VARIANCES = torch.tensor([2.0, 1.0, 0.5, 0.1], dtype=torch.float64)
SOLVERS = {solver.__name__: solver for solver in (Euler, Heun, DPMSolverPP, ExponentialAB)}
GRIDS = {grid.__name__: grid for grid in (Uniform, Quadratic, Karras, LogSNR)}


def error(sampler: Sampler, schedule: Schedule, draws: int) -> float:
    """The whitened W2 of a sampler on the Gaussian: of one draw if it is deterministic, else from as many samples."""
    denoiser = GaussianDenoiser(torch.zeros(4, dtype=torch.float64), VARIANCES.diag(), schedule)
    times, noise = sampler.grid(schedule, sampler.steps), Randomness(0, torch.arange(draws))
    alpha, sigma = schedule(times[0])
    start = (alpha**2 * VARIANCES + sigma**2).sqrt()
    if draws == 1:
        scale = sampler.integrate(denoiser, start[None], times, noise)[0]
    else:
        scale = sampler.integrate(denoiser, start * noise.normal(4, dtype=torch.float64), times, noise).std(0)
    return (scale / VARIANCES.sqrt() - 1).norm().item()


def measure(
    seed: int, *, data: str, solver: str, grid: str, nfe: int, churn: float, n: int, run: Path | None = None
) -> dict[str, float]:
    """The numbers of a solver that calls the denoiser at most `nfe` times.

    `vp/NFE`, `edm/NFE`: the whitened W2 on the Gaussian, exact but for churn; `digits/NFE`: the Frechet distance of n
    samples to the training images.
    """
    steps = (nfe + 1) // 2 if solver == "Heun" else nfe
    sampler = SOLVERS[solver](steps, grid=GRIDS[grid]())
    if churn:
        sampler = Heun(steps, churn=churn, grid=GRIDS[grid]())
    if run is not None:
        samples = sampler(diffusion_lit.load(run), (n, *build_data_of(run).shape), seed=seed)
        return {f"{data}/{nfe}": build_reference(run).frechet(samples)}
    draws = 100 * n if churn else 1
    return {f"{name}/{nfe}": error(sampler, schedule, draws) for name, schedule in {"vp": VP(), "edm": EDM()}.items()}


def figure(results: Results, path: Path) -> None:
    """Draw the error against the cost: on the Gaussian, the slope is the order."""
    import matplotlib.pyplot as plt

    picture, panels = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    nfe = sorted({int(entry.labels["nfe"]) for entry in results.entries})
    for panel, (name, grid) in zip(panels, {"vp": "quadratic", "edm": "karras", "digits": "karras"}.items()):
        data = "digits" if name == "digits" else "gaussian"
        for number, solver in enumerate(results.axes["solver"]):
            cells = [{"data": data, "solver": solver, "grid": grid, "nfe": str(n)} for n in nfe]
            errors = [results.mean(f"{name}/{n}", **cell) for n, cell in zip(nfe, cells)]
            panel.loglog(nfe, errors, "o-", color=f"C{number}", label=solver)
        if data == "gaussian":
            for order in (1, 2):
                panel.loglog(nfe, [0.3 * (nfe[0] / n) ** order for n in nfe], ":", color="0.6")
        panel.minorticks_off()
        title = f"{'digits, EDM' if data == 'digits' else f'Gaussian, {name.upper()}'}, {grid} grid"
        panel.set(xlabel="calls of the denoiser", title=title, xticks=nfe, xticklabels=nfe)
    panels[0].set(ylabel="whitened W2")
    panels[2].set(ylabel="Frechet distance", yscale="linear", ylim=(0, None))
    panels[2].legend()
    picture.savefig(path, bbox_inches="tight")
    plt.close(picture)

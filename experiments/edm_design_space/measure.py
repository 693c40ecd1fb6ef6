"""The error of a deterministic sampler on N(0, diag(2, 1, .5, .1)), without Monte Carlo.

On Gaussian data every such sampler is linear, x_0 = G x_1, so the law of its samples is known: in the data's own axes,
with each axis whitened, W2^2 = sum_i (g_i s_1 / s_i - 1)^2, x_1 being drawn with its exact deviation s_1.
"""

from pathlib import Path

import torch

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.noise import EDM, VP, Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.reproduction import Results
from diffusion_lit.samplers import DPMSolverPP, Euler, ExponentialAB, Heun, Karras, LogSNR, Quadratic, Uniform

VARIANCES = torch.tensor([2.0, 1.0, 0.5, 0.1], dtype=torch.float64)
SOLVERS = {solver.__name__: solver for solver in (Euler, Heun, DPMSolverPP, ExponentialAB)}
GRIDS = {grid.__name__: grid for grid in (Uniform, Quadratic, Karras, LogSNR)}


def error(schedule: Schedule, solver: str, grid: str, nfe: int) -> float:
    """The whitened W2 of a solver that calls the denoiser at most `nfe` times."""
    steps = (nfe + 1) // 2 if solver == "Heun" else nfe
    denoiser = GaussianDenoiser(torch.zeros(4, dtype=torch.float64), VARIANCES.diag(), schedule)
    times = GRIDS[grid]()(schedule, steps)
    alpha, sigma = schedule(times[0])
    start = (alpha**2 * VARIANCES + sigma**2).sqrt()
    end = SOLVERS[solver](steps).integrate(denoiser, start[None], times, Randomness(0, torch.zeros(1).long()))[0]
    return (end / VARIANCES.sqrt() - 1).norm().item()


def measure(seed: int, *, solver: str, grid: str, nfe: int) -> dict[str, float]:
    """`SCHEDULE/NFE`: the whitened W2 on VP and EDM noise; nothing is random."""
    return {
        f"{name}/{nfe}": error(schedule, solver, grid, nfe) for name, schedule in {"vp": VP(), "edm": EDM()}.items()
    }


def figure(results: Results, path: Path) -> None:
    """Draw the error against the cost: the slope is the order."""
    import matplotlib.pyplot as plt

    picture, panels = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
    nfe = sorted({int(entry.labels["nfe"]) for entry in results.entries})
    for panel, (name, grid) in zip(panels, {"vp": "quadratic", "edm": "karras"}.items()):
        for solver in results.axes["solver"]:
            errors = [results.mean(f"{name}/{n}", solver=solver, grid=grid, nfe=str(n)) for n in nfe]
            panel.loglog(nfe, errors, "o-", label=solver)
        for order in (1, 2):
            panel.loglog(nfe, [0.3 * (nfe[0] / n) ** order for n in nfe], ":", color="0.6")
        panel.minorticks_off()
        panel.set(xlabel="calls of the denoiser", title=f"{name.upper()}, {grid} grid", xticks=nfe, xticklabels=nfe)
    panels[0].set(ylabel="whitened W2")
    panels[0].legend()
    picture.savefig(path, bbox_inches="tight")
    plt.close(picture)

"""Samples of one scheme against exact ones (sliced W2), or against the training images (Frechet distance)."""

from pathlib import Path

import diffusion_lit
from diffusion_lit.commands.build import build_data_of, build_reference
from diffusion_lit.metrics.sliced import sliced_wasserstein
from diffusion_lit.samplers import (
    DDPM,
    AnnealedLangevin,
    Langevin,
    PredictorCorrector,
    Relative,
    ReverseDiffusion,
    Sampler,
)

R = 0.16  # the paper's signal-to-noise ratio of a corrector's move


def scheme(predictor: str, steps: int, moves: int, alone: bool) -> Sampler:
    """The sampler of a row (predictor) and a column (steps, corrector moves a step, whether they are alone)."""
    if alone:
        return AnnealedLangevin(steps, moves, Relative(R))
    step = {
        "ancestral": lambda: DDPM(steps, v=0.0),
        "reverse_diffusion": lambda: ReverseDiffusion(steps),
        "probability_flow": lambda: ReverseDiffusion(steps, lam=0.0),
    }[predictor]()
    return PredictorCorrector(step, Langevin(Relative(R), moves)) if moves else step


def measure(
    seed: int, *, run: Path, data: str, sde: str, predictor: str, steps: int, moves: int, alone: bool, n: int
) -> dict[str, float]:
    """`ring/SDE`: 1,000 x the sliced W2 between n samples and n exact points, `floor` that of n others.

    `digits/SDE`: the Frechet distance of n samples to the training images.
    """
    shape = build_data_of(run).shape
    samples = scheme(predictor, steps, moves, alone)(diffusion_lit.load(run), (n, *shape), seed=seed)
    if data == "digits":
        return {f"digits/{sde}": build_reference(run).frechet(samples)}
    exact, others = (build_data_of(run).held_out(split, n)["image"] for split in ("test", "validation"))
    return {
        f"ring/{sde}": 1e3 * sliced_wasserstein(samples, exact),
        "floor": 1e3 * sliced_wasserstein(others, exact),
    }

"""Samples of one scheme against exact ones."""

from pathlib import Path

import diffusion_lit
from diffusion_lit.data.toy import ToyDataModule
from diffusion_lit.denoise import Denoiser
from diffusion_lit.metrics.sliced import sliced_wasserstein
from diffusion_lit.noise import VE
from diffusion_lit.samplers import (
    DDPM,
    AnnealedLangevin,
    Langevin,
    PredictorCorrector,
    Relative,
    ReverseDiffusion,
    Sampler,
)
from diffusion_lit.toys import ring

#: the paper's r for VP and VE is .16 in images; in two dimensions a move of r sigma_t with this r mixes as well
R = 0.16


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


def measure(seed: int, *, run: Path, predictor: str, steps: int, moves: int, alone: bool, n: int) -> dict[str, float]:
    """`w2/SDE`: sliced W2 between n samples and n exact points; `floor`: between n exact points and n others."""
    denoiser: Denoiser = diffusion_lit.load(run)
    data = ToyDataModule(ring(), batch_size=1)
    x, others = (data.held_out(split, n)["image"] for split in ("test", "validation"))
    samples = scheme(predictor, steps, moves, alone)(denoiser, (n, 2), seed=seed)
    sde = "VE" if isinstance(denoiser.schedule, VE) else "VP"
    return {f"w2/{sde}": sliced_wasserstein(samples, x), "floor": sliced_wasserstein(others, x)}

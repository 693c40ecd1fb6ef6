"""The distance of a learnt score to the exact one, and what it cost."""

from pathlib import Path

import torch

import diffusion_lit
from diffusion_lit.data.toy import ToyDataModule
from diffusion_lit.randomness import Randomness
from diffusion_lit.toys import moons, ring
from diffusion_lit.tracking.record import RunRecord

T = torch.tensor(1e-12, dtype=torch.float64)  # the noise of 0.1 that all are trained at


def measure(seed: int, *, run: Path, n: int) -> dict[str, float]:
    """`fisher`: E|s - s*|^2 / E|s*|^2 over n points of the blurred data; `minutes` of training."""
    record, denoiser = RunRecord(run), diffusion_lit.load(run).double()
    toy = {"ring": ring, "moons": moons}[record.config["data"]["datamodule"]["toy"]["_target_"].rpartition(".")[2]]()
    clean = ToyDataModule(toy, batch_size=1).held_out("test", n)["image"].double()
    x = clean + denoiser.schedule(T)[1] * Randomness(seed, torch.arange(n)).normal(2, dtype=torch.float64)
    exact = toy.exact(denoiser.schedule).score(x, T)
    with torch.no_grad():
        error = denoiser.score(x, T) - exact
    fisher = error.square().sum() / exact.square().sum()
    return {"fisher": fisher.item(), "minutes": record.run["train_seconds"] / 60}

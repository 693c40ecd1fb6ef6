"""How well a trained network knows the checkerboard: its likelihood, and the share of its samples on black squares."""

from pathlib import Path

import diffusion_lit
from diffusion_lit.data.toy import ToyDataModule
from diffusion_lit.divergence import Exact
from diffusion_lit.likelihood import DormandPrince, ProbabilityFlowNLL
from diffusion_lit.samplers import Heun
from diffusion_lit.toys import Checkerboard


def measure(seed: int, *, run: Path, n: int, nll: int) -> dict[str, float]:
    """`nll` in nats of so many test points by the probability-flow ODE; `in_support` of n samples."""
    board, denoiser = Checkerboard(), diffusion_lit.load(run).double()
    points = ToyDataModule(board, batch_size=1).held_out("test", nll)["image"].double()
    flow = ProbabilityFlowNLL(Exact(chunk=None), DormandPrince(1e-4, 1e-4))
    samples = Heun(steps=64)(denoiser, (n, 2), seed=seed)
    return {"nll": flow(denoiser, points).mean().item(), "in_support": board.inside(samples).double().mean().item()}

"""What a network has learned of a law whose answer is a closed form."""

from pathlib import Path

import torch
from torch import Tensor

import diffusion_lit
from diffusion_lit.commands.build import build_data_of
from diffusion_lit.denoise import Denoiser, NetworkDenoiser
from diffusion_lit.divergence import Exact
from diffusion_lit.likelihood import DormandPrince, ProbabilityFlowNLL
from diffusion_lit.objectives import DenoisingScoreMatching, DiscreteTime, EDMWeighting, EpsWeighting, LogNormal

STEPS = 1000


def measure(seed: int, *, run: Path, what: str, n: int) -> dict[str, float]:
    """`obtained` and `exact` over n held-out points, and the `gap` between them."""
    data = build_data_of(run)
    x = data.held_out("test", n)["image"].double()
    measured = {"simple": simple, "edm": edm, "fraction": fraction, "likelihood": likelihood}[what]
    denoiser = diffusion_lit.load(run).double()
    with torch.no_grad():
        obtained = measured(denoiser, x, seed)
    exact = {
        # the mean over the chain of abar / (abar + 1 - abar) for unit variance
        "simple": (denoiser.schedule(torch.arange(1, STEPS + 1).double() / STEPS)[0] ** 2).mean().item(),
        "edm": 1.0,
        "fraction": 1.0,
    }.get(what)
    exact = -data.toy.log_prob(x).mean().item() if exact is None else exact
    return {"obtained": obtained, "exact": exact, "gap": obtained - exact}


def simple(denoiser: Denoiser, x: Tensor, seed: int) -> float:
    """L_simple per dimension: every point at 100 steps of the chain, evenly spread."""
    objective = DenoisingScoreMatching(EpsWeighting(), DiscreteTime(STEPS))
    return _mean(objective, denoiser, x, seed, repeats=100)


def edm(denoiser: Denoiser, x: Tensor, seed: int) -> float:
    """EDM's loss per dimension, of sigma_data 1/2 and the law of noise that it was trained with."""
    return _mean(DenoisingScoreMatching(EDMWeighting(0.5), LogNormal(-1.0, 1.4)), denoiser, x, seed, repeats=100)


def _mean(objective: DenoisingScoreMatching, denoiser: Denoiser, x: Tensor, seed: int, repeats: int) -> float:
    losses = [
        objective(denoiser, x, seed=seed, positions=torch.arange(len(x)) + k * len(x)).mean() for k in range(repeats)
    ]
    return torch.stack(losses).mean().item()


def fraction(denoiser: Denoiser, x: Tensor, seed: int) -> float:
    """The mean of v over the steps above 50 of 1,000 and over points (Nichol & Dhariwal 2021, eq. 15)."""
    assert isinstance(denoiser, NetworkDenoiser)
    assert denoiser.variance is not None
    generator = torch.Generator().manual_seed(seed)
    means = []
    for step in range(51, STEPS + 1, 25):
        t = torch.tensor(step / STEPS, dtype=torch.float64)
        alpha, sigma = denoiser.schedule(t)
        x_t = alpha * x + sigma * torch.randn(x.shape, dtype=x.dtype, generator=generator)
        variance = denoiser(x_t, t).variance
        assert variance is not None
        means.append(denoiser.variance.fraction(variance, denoiser.schedule, t).mean())
    return torch.stack(means).mean().item()


def likelihood(denoiser: Denoiser, x: Tensor, seed: int) -> float:
    """NLL in nats by the probability flow with the exact trace."""
    return ProbabilityFlowNLL(Exact(chunk=None), DormandPrince(1e-4, 1e-4))(denoiser, x).mean().item()

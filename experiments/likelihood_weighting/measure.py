"""Likelihood and bound of a network: on eight Gaussians, where all is known, and on digits."""

from pathlib import Path

import torch

import diffusion_lit
from diffusion_lit.commands.build import build_data_of
from diffusion_lit.denoise import Denoiser
from diffusion_lit.divergence import Exact, Hutchinson
from diffusion_lit.likelihood import MMSENLL, Dequantisation, DormandPrince, FixedSteps, ProbabilityFlowNLL
from diffusion_lit.metrics.sliced import sliced_wasserstein
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers import Heun
from diffusion_lit.toys import ring

T_MIN = 1e-5  # sigma .001


def measure(seed: int, *, run: Path, data: str, n: int, draws: int, steps: int) -> dict[str, float]:
    """The numbers of one network over n test points; `draws` of I-MMSE a point, `steps` of the flow on digits."""
    denoiser, of = diffusion_lit.load(run), build_data_of(run)
    test, validation = (of.held_out(split, n)["image"] for split in ("test", "validation"))
    if data == "ring":
        return on_ring(seed, denoiser, test, validation, draws)
    return on_digits(seed, denoiser, test, draws, steps)


def on_ring(
    seed: int, denoiser: Denoiser, test: torch.Tensor, validation: torch.Tensor, draws: int
) -> dict[str, float]:
    """Also of as many samples.

    `nll` by the probability-flow ODE with the exact trace, `bound` from the denoising error (I-MMSE), `exact` -log p,
    all in nats; `eps_gap` E|eps - eps*|^2 / d, t uniform; `sliced_w2` to exact points, `floor` that of others;
    `least_mode` the smallest share of a mode, 1/8 if all are alike; `mass` within 3 sigma of one, 0.989 if exact.
    """
    toy, denoiser, x, n, scale = ring(), denoiser.double(), test.double(), len(test), 2.0**0.5
    noise = Randomness(seed, torch.arange(n))
    t = 1e-3 + (1 - 1e-3) * noise.uniform()
    alpha, sigma = denoiser.schedule(t)
    x_t = alpha[:, None] * x + sigma[:, None] * noise.normal(2, dtype=torch.float64)
    with torch.no_grad():
        gap = (denoiser.eps(x_t, t) - toy.exact(denoiser.schedule).eps(x_t, t)).square().mean()
    samples = Heun(steps=32)(denoiser, (n, 2), seed=seed)
    distance = torch.cdist(samples, toy.means)
    return {
        "nll": ProbabilityFlowNLL(Exact(chunk=None), DormandPrince(1e-4, 1e-4), scale=scale)(denoiser, x).mean().item(),
        "bound": MMSENLL(draws, scale=scale)(denoiser, x).nats.mean().item(),
        "exact": -toy.log_prob(x).mean().item(),
        "eps_gap": gap.item(),
        "sliced_w2": sliced_wasserstein(samples, x),
        "floor": sliced_wasserstein(validation.double(), x),
        "least_mode": (distance.argmin(1).bincount(minlength=8).min() / n).item(),
        "mass": (distance.min(1).values < 3 * toy.std).double().mean().item(),
    }


def on_digits(seed: int, denoiser: Denoiser, test: torch.Tensor, draws: int, steps: int) -> dict[str, float]:
    """`bits`, and `bits_half` with half the steps: the probability flow, two projections; `bits_bound`: I-MMSE.

    All are bits per dimension of the 17 levels, which a uniform law has at 4.087.
    """
    levels, ids = Dequantisation(17), torch.arange(len(test))
    x = levels(test.double(), seed=seed, ids=ids)

    def bits(nats: torch.Tensor) -> float:
        return levels.bits_per_dim(nats.mean(), x[0].numel()).item()

    def flow(steps: int) -> float:
        solver = FixedSteps(steps, rho=20.0)
        nll = ProbabilityFlowNLL(Hutchinson(projections=2), solver, t_min=T_MIN, scale=0.75)
        return bits(nll(denoiser, x, seed=seed))

    bound = bits(MMSENLL(draws, scale=0.75)(denoiser, x).nats)
    return {"bits": flow(steps), "bits_half": flow(steps // 2), "bits_bound": bound}

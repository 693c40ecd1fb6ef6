"""What a network knows of eight Gaussians: likelihood, bound, distance to the exact denoiser, samples."""

from pathlib import Path

import torch

import diffusion_lit
from diffusion_lit.data.toy import ToyDataModule
from diffusion_lit.divergence import Exact
from diffusion_lit.likelihood import MMSENLL, DormandPrince, ProbabilityFlowNLL
from diffusion_lit.metrics.sliced import sliced_wasserstein
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers import Heun
from diffusion_lit.toys import ring

SCALE = 2.0**0.5  # radius 2: variance 2 a coordinate


def measure(seed: int, *, run: Path, n: int) -> dict[str, float]:
    """Numbers over n test points and n samples.

    `nll` by the probability-flow ODE with the exact trace, `bound` from the denoising error (I-MMSE), `exact` -log p,
    all in nats; `eps_gap` E|eps - eps*|^2 / d, t uniform; `sliced_w2` to n exact points, `floor` that of n others;
    `least_mode` the smallest share of a mode, 1/8 if all are alike; `mass` within 3 sigma of one, 0.989 if exact.
    """
    toy, denoiser = ring(), diffusion_lit.load(run).double()
    data = ToyDataModule(toy, batch_size=1)
    x, others = (data.held_out(split, n)["image"].double() for split in ("test", "validation"))
    flow = ProbabilityFlowNLL(Exact(chunk=None), DormandPrince(1e-4, 1e-4), scale=SCALE)
    bound = MMSENLL(draws=200, scale=SCALE)
    noise = Randomness(seed, torch.arange(n))
    t = 1e-3 + (1 - 1e-3) * noise.uniform()
    alpha, sigma = denoiser.schedule(t)
    x_t = alpha[:, None] * x + sigma[:, None] * noise.normal(2, dtype=torch.float64)
    with torch.no_grad():
        gap = (denoiser.eps(x_t, t) - toy.exact(denoiser.schedule).eps(x_t, t)).square().mean()
    samples = Heun(steps=32)(denoiser, (n, 2), seed=seed)
    distance = torch.cdist(samples, toy.means)
    shares = torch.bincount(distance.argmin(1), minlength=8) / n
    return {
        "nll": flow(denoiser, x).mean().item(),
        "bound": bound(denoiser, x).nats.mean().item(),
        "exact": -toy.log_prob(x).mean().item(),
        "eps_gap": gap.item(),
        "sliced_w2": sliced_wasserstein(samples, x),
        "floor": sliced_wasserstein(others, x),
        "least_mode": shares.min().item(),
        "mass": (distance.min(1).values < 3 * toy.std).double().mean().item(),
    }

"""Selection bias and its cure (Efron 2011, sections 1 to 4): the largest of many z_i ~ N(mu_i, 1) are too large.

mu_i ~ exponential with mean 1, as in Efron's simulation. The 20 largest z are compared with their mu as they are, after
Tweedie's formula with a density fitted by Lindsey's method to the z alone, and with the exact marginal density, which
is f(z) = e^(1/2 - z) Phi(z - 1): there E[mu | z] = z - 1 + phi(z - 1) / Phi(z - 1).
"""

import math
from pathlib import Path

import torch
from torch import Tensor

from diffusion_lit.randomness import Randomness
from diffusion_lit.reproduction import Results
from diffusion_lit.tweedie import ExponentialFamily, Lindsey, NaturalSpline

TWEEDIE = ExponentialFamily.gaussian(1.0)


def exact_score(z: Tensor) -> Tensor:
    """(log f)'(z) = -1 + phi(z - 1) / Phi(z - 1)."""
    u = z - 1
    return -1 + (-(u**2) / 2 - math.log(2 * math.pi) / 2 - torch.special.log_ndtr(u)).exp()


def simulate(seed: int, n: int) -> tuple[Tensor, Tensor]:
    """One data set: mu (n,) and z (n,)."""
    noise = Randomness(seed, torch.arange(n))
    mu = -noise.uniform(1)[:, 0].log()
    return mu, mu + noise.normal(1, dtype=torch.float64)[:, 0]


def measure(
    seed: int, *, n: int = 5000, largest: int = 20, df: int = 5, bins: int = 60, repeats: int = 100
) -> dict[str, float]:
    """Mean and root mean square of (estimate - mu) over the `largest` z of each of `repeats` data sets.

    Args:
        seed: names the data sets.
        n: number of z in a data set.
        largest: how many are selected.
        df: degrees of freedom of the natural spline.
        bins: bins of the histogram.
        repeats: number of data sets (100 in the paper).

    Returns:
        `bias/NAME`, `rms/NAME` and `se/NAME`, the standard error of the bias over data sets, for uncorrected, tweedie
        and oracle.
    """
    errors: dict[str, list[Tensor]] = {"uncorrected": [], "tweedie": [], "oracle": []}
    for repeat in range(repeats):
        mu, z = simulate(seed * repeats + repeat, n)
        top = z.topk(largest).indices
        density = Lindsey(z, NaturalSpline(df), bins)
        errors["uncorrected"].append(z[top] - mu[top])
        errors["tweedie"].append(TWEEDIE(z[top], density.score(z[top])) - mu[top])
        errors["oracle"].append(TWEEDIE(z[top], exact_score(z[top])) - mu[top])
    numbers = {}
    for name, rows in errors.items():
        table = torch.stack(rows)
        numbers[f"bias/{name}"] = table.mean().item()
        numbers[f"rms/{name}"] = table.square().mean().sqrt().item()
        numbers[f"se/{name}"] = (table.mean(1).std() / math.sqrt(repeats)).item()
    return numbers


def figure(results: Results, path: Path, *, seed: int = 0, n: int = 5000) -> None:
    """Draw E[mu | z] by Lindsey's fit and exactly, over the z of one data set and their mu."""
    import matplotlib.pyplot as plt

    mu, z = simulate(seed, n)
    grid = torch.linspace(z.min().item(), z.max().item(), 200, dtype=torch.float64)
    picture, axes = plt.subplots(figsize=(5, 4))
    axes.plot(z, mu, ".", markersize=2, color="0.7")
    axes.plot(grid, grid, ":", color="black", label="uncorrected")
    axes.plot(grid, TWEEDIE(grid, Lindsey(z).score(grid)), label="Tweedie, Lindsey's density")
    axes.plot(grid, TWEEDIE(grid, exact_score(grid)), "--", label="exact")
    axes.set(xlabel="z", ylabel=r"E[$\mu$ | z]")
    axes.legend()
    picture.savefig(path, bbox_inches="tight")

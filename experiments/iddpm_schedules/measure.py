"""Samples of the chain against the training images, and its bound on the test images."""

from pathlib import Path

import diffusion_lit
from diffusion_lit.commands.build import build_data_of, build_reference
from diffusion_lit.denoise import Clipped
from diffusion_lit.likelihood import VariationalBound
from diffusion_lit.objectives import Discretised, LearnedVariance
from diffusion_lit.reproduction import Results
from diffusion_lit.samplers import DDPM, Learned


def measure(seed: int, *, run: Path, n: int, steps: int, draws: int) -> dict[str, float]:
    """`fd`: Frechet distance of n samples, `steps` of the chain's 1,000 taken; `bits`: the whole chain's bound per
    dimension, from `draws` of its 999 inner terms.

    The variance of a step is the network's, or else beta. Both clip E[x_0 | x_t] to the data's range, as in the paper.
    """
    denoiser = diffusion_lit.load(run)
    learned = getattr(denoiser, "variance", None) is not None
    sampler = DDPM(steps, variance=Learned() if learned else None)
    bound = VariationalBound(1000, draws, LearnedVariance() if learned else None, Discretised(17))
    denoiser, x = Clipped(denoiser), build_data_of(run).images("test")
    return {
        "fd": build_reference(run).frechet(sampler(denoiser, (n, *build_data_of(run).shape), seed=seed)),
        "bits": bound(denoiser, x, seed).bits_per_dim(x[0].numel()).mean().item(),
    }


def figure(results: Results, path: Path) -> None:
    """Draw the two numbers of each network against each other: low is good to look at, left is likely."""
    import matplotlib.pyplot as plt

    picture, panel = plt.subplots(figsize=(6, 4), layout="constrained")
    for cell in (entry.labels for entry in results.entries):
        colour, marker = (results.axes[axis].index(label) for axis, label in cell.items())
        place = results.mean("bits", **cell), results.mean("fd", **cell)
        panel.scatter(*place, color=f"C{colour}", marker="osD"[marker], label=", ".join(cell.values()))
    panel.set(xlabel="bound, bits/dim", ylabel="Frechet distance")
    panel.legend(fontsize=7)
    picture.savefig(path, bbox_inches="tight")
    plt.close(picture)

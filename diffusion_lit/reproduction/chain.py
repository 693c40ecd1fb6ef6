"""What the papers on DDPM's chain print of a network: how good its samples look, and how likely the data are."""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from diffusion_lit.denoise import Clipped, Denoiser
from diffusion_lit.likelihood import VariationalBound
from diffusion_lit.metrics.reference import Reference
from diffusion_lit.objectives import Discretised, LearnedVariance
from diffusion_lit.reproduction.results import Results
from diffusion_lit.samplers import DDPM, Learned

__all__ = ["draw_distance_and_bits", "measure_chain"]


def measure_chain(
    denoiser: Denoiser,
    reference: Reference,
    test: Float[Tensor, "m c h w"],
    seed: int,
    *,
    n: int,
    steps: int,
    draws: int,
) -> dict[str, float]:
    """`fd`: Frechet distance of n samples, `steps` of the chain's 1,000 taken; `bits`: the whole chain's bound per
    dimension, from `draws` of its 999 inner terms.

    The variance of a step is the network's, or else beta. Both clip E[x_0 | x_t] to the data's range, as in the papers.

    Args:
        denoiser: of images whose pixels have 17 levels, in [-1, 1].
        reference: the images that samples are compared with.
        test: those that the bound is of.
        seed: of samples and bound.
        n, steps, draws: as above.
    """
    learned = getattr(denoiser, "variance", None) is not None
    sampler = DDPM(steps, variance=Learned() if learned else None)
    bound = VariationalBound(1000, draws, LearnedVariance() if learned else None, Discretised(17))
    denoiser = Clipped(denoiser)
    return {
        "fd": reference.frechet(sampler(denoiser, (n, *test.shape[1:]), seed=seed)),
        "bits": bound(denoiser, test, seed).bits_per_dim(test[0].numel()).mean().item(),
    }


def draw_distance_and_bits(results: Results, path: Path, ticks: Sequence[float] = ()) -> None:
    """Draw the two numbers of each network against each other: low is good to look at, left is likely.

    Args:
        results: with two axes, drawn as colours and as markers.
        path: of the picture.
        ticks: of a logarithmic axis of bits; a linear one unless given.
    """
    import matplotlib.pyplot as plt  # a second to import

    picture, panel = plt.subplots(figsize=(6, 4), layout="constrained")
    for cell in (entry.labels for entry in results.entries):
        colour, marker = (results.axes[axis].index(label) for axis, label in cell.items())
        place = results.mean("bits", **cell), results.mean("fd", **cell)
        panel.scatter(*place, color=f"C{colour}", marker="osD"[marker], label=", ".join(cell.values()))
    panel.set(xlabel="bound, bits/dim", ylabel="Frechet distance")
    if ticks:
        panel.set_xscale("log")
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
    panel.legend(fontsize=7)
    picture.savefig(path, bbox_inches="tight")
    plt.close(picture)

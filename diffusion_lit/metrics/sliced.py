"""Sliced Wasserstein distance between two samples: the mean over directions of the distance in one dimension."""

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.randomness import Randomness

__all__ = ["sliced_wasserstein"]


def sliced_wasserstein(
    x: Float[Tensor, "n *event"], y: Float[Tensor, "m *other"], *, order: int = 2, directions: int = 256, seed: int = 0
) -> float:
    """(E_theta W_p(theta^T x, theta^T y)^p)^(1/p), theta uniform on the sphere (Bonneel et al. 2015).

    Two exact samples of n points have a distance above 0, which falls like 1 / sqrt(n): measure this floor beside it.

    Args:
        x, y: as many points each.
        order: p >= 1.
        directions: number of theta.
        seed: of the directions.

    Raises:
        ValueError: the samples are not of the same shape.
    """
    if x.shape != y.shape:
        raise ValueError(f"x {tuple(x.shape)}, y {tuple(y.shape)}: give as many points of one shape in both")
    x, y = x.double().flatten(1), y.double().flatten(1)
    theta = Randomness(seed, torch.arange(directions)).normal(x.shape[1], dtype=torch.float64).to(x.device)
    theta = theta / theta.norm(dim=1, keepdim=True)
    gaps = (x @ theta.mT).sort(0).values - (y @ theta.mT).sort(0).values
    return gaps.abs().pow(order).mean().pow(1 / order).item()

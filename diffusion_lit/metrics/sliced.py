"""Sliced Wasserstein distances between two samples: of all directions, the mean or the largest in one dimension."""

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.randomness import Randomness

__all__ = ["max_sliced_wasserstein", "sliced_wasserstein"]


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
    x, y = _vectors(x, y)
    return _costs(x, y, _directions(x, directions, seed), order).mean().pow(1 / order).item()


def max_sliced_wasserstein(
    x: Float[Tensor, "n *event"],
    y: Float[Tensor, "m *other"],
    *,
    order: int = 2,
    directions: int = 256,
    ascent: int = 0,
    seed: int = 0,
) -> float:
    """max_theta W_p(theta^T x, theta^T y) (Deshpande et al. 2019), the best of many directions, then uphill from it.

    In many dimensions random directions all lie far from the best one, so that without ascent the number depends on
    how many there are; published ones are often of 100 directions and no ascent.

    Args:
        x, y: as many points each.
        order: p >= 1.
        directions: number of theta that are tried.
        ascent: steps of gradient ascent on the sphere, each kept if it is uphill and else halved.
        seed: of the directions.

    Raises:
        ValueError: the samples are not of the same shape.
    """
    x, y = _vectors(x, y)
    theta = _directions(x, directions, seed)
    costs = _costs(x, y, theta, order)
    best, theta = costs.max(), theta[costs.argmax()][None]
    step = 0.5
    for _ in range(ascent):
        with torch.enable_grad():
            at = theta.clone().requires_grad_()
            slope = torch.autograd.grad(_costs(x, y, at, order).sum(), at)[0]
        slope = slope - (slope * theta).sum() * theta
        if float(slope.norm()) == 0:
            break
        trial = theta + step * slope / slope.norm()
        trial = trial / trial.norm()
        cost = _costs(x, y, trial, order).max()
        if cost > best:
            best, theta, step = cost, trial, min(1.5 * step, 1.0)
        else:
            step = step / 2
    return best.pow(1 / order).item()


def _vectors(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.shape != y.shape:
        raise ValueError(f"x {tuple(x.shape)}, y {tuple(y.shape)}: give as many points of one shape in both")
    return x.double().flatten(1), y.double().flatten(1)


def _directions(x: Tensor, count: int, seed: int) -> Tensor:
    theta = Randomness(seed, torch.arange(count)).normal(x.shape[1], dtype=torch.float64).to(x.device)
    return theta / theta.norm(dim=1, keepdim=True)


def _costs(x: Tensor, y: Tensor, theta: Tensor, order: int) -> Tensor:
    """W_p^p along each direction."""
    gaps = (x @ theta.mT).sort(0).values - (y @ theta.mT).sort(0).values
    return gaps.abs().pow(order).mean(0)

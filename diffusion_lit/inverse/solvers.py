"""Krylov solvers for a batch of systems at once, with scalars of their own for every sample.

A sample's solution does not depend on its neighbours: one that has converged stands still while others go on.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.denoise import expand

__all__ = ["conjugate_gradient", "minimal_residual"]

Vector = Float[Tensor, "batch *event"]


def _dot(a: Vector, b: Vector) -> Float[Tensor, " batch"]:
    return (a * b).flatten(1).sum(1)


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor], b: Vector, iterations: int = 500, tolerance: float = 1e-12
) -> Vector:
    """Solve K x = b for symmetric positive semi-definite K, from x = 0 (Hestenes & Stiefel 1952).

    For a singular K whose range holds b this is the solution of least norm.

    Args:
        apply: (B, *) -> (B, *), K x.
        b: (B, *).
        iterations: at most this many products with K.
        tolerance: a sample stops when |K x - b| <= tolerance |b|.
    """
    x, residual, direction = torch.zeros_like(b), b, b
    norm = _dot(residual, residual)
    goal = tolerance**2 * norm
    for _ in range(iterations):
        active = norm > goal
        if not bool(active.any()):
            break
        image = apply(direction)
        curvature = _dot(direction, image)
        active = active & (curvature > 0)
        step = expand(torch.where(active, norm / curvature.where(active, 1.0), 0.0), b)
        x, residual = x + step * direction, residual - step * image
        before, norm = norm, _dot(residual, residual)
        direction = residual + expand(torch.where(active, norm / before.where(active, 1.0), 0.0), b) * direction
        norm = norm.where(active, 0.0)
    return x


def minimal_residual(
    apply: Callable[[Tensor], tuple[Tensor, Tensor]], b: Vector, iterations: int, tolerance: float = 1e-8
) -> Float[Tensor, "batch *image"]:
    """Return M x for the x of K^n that minimises |K x - b|: generalised conjugate residuals (Eisenstat et al. 1983).

    The same minimiser as GMRES; K need be neither symmetric nor definite. Since the image M p of every direction is
    gathered on the way, M x costs no further product.

    Args:
        apply: p (B, *) -> (K p, M p), two linear maps that share their cost.
        b: (B, *).
        iterations: n, exactly this many products.
        tolerance: a direction of which less than this part is new is rounding, and is left out.
    """
    basis: list[tuple[Tensor, Tensor]] = []
    residual, total = b, None
    for _ in range(iterations):
        image, companion = apply(residual)
        length = _dot(image, image).sqrt()
        for earlier, its_companion in basis:
            share = _dot(image, earlier)
            image, companion = image - expand(share, b) * earlier, companion - expand(share, companion) * its_companion
        new = _dot(image, image).sqrt()
        kept = new > tolerance * length
        scale = torch.where(kept, 1 / new.where(kept, 1.0), 0.0)
        image, companion = expand(scale, b) * image, expand(scale, companion) * companion
        basis.append((image, companion))
        step = _dot(residual, image)
        residual = residual - expand(step, b) * image
        total = expand(step, companion) * companion + (0.0 if total is None else total)
    if total is None:
        raise ValueError(f"iterations: {iterations} < 1; one product with K is the least")
    return total

"""Krylov solvers for a batch of systems at once, with scalars of their own for every sample.

A sample's solution does not depend on its neighbours: one that has converged stands still while others go on.
"""

import math
import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.denoise import expand

__all__ = ["conjugate_gradient", "minimal_residual"]

Vector = Float[Tensor, "batch *event"]

_SMALL = 1e-6  # a part of |b| that nobody sees: float32 rounds to 1e-7


def _dot(a: Vector, b: Vector) -> Float[Tensor, " batch"]:
    return (a * b).flatten(1).sum(1)


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor], b: Vector, iterations: int = 500, tolerance: float = 1e-12
) -> Vector:
    """Solve K x = b for symmetric positive semi-definite K, from x = 0 (Hestenes & Stiefel 1952).

    For a singular K whose range holds b this is the solution of least norm. A b that is not finite has NaN. Where more
    than 1e-6 |b| is left, at the limit of iterations or since K is not what it should be, the solution so far is
    returned, with a RuntimeWarning.

    Args:
        apply: (B, *) -> (B, *), K x.
        b: (B, *).
        iterations: at most this many products with K.
        tolerance: a sample stops when |K x - b| <= tolerance |b|.
    """
    x, residual, direction = torch.zeros_like(b), b, b
    norm = first = _dot(residual, residual)
    goal, broken = tolerance**2 * norm, torch.zeros_like(norm, dtype=torch.bool)
    for _ in range(iterations):
        active = norm > goal
        if not bool(active.any()):
            break
        image = apply(direction)
        curvature = _dot(direction, image)
        broken = broken | (active & ~(curvature > 0))
        active = active & (curvature > 0)
        step = expand(torch.where(active, norm / curvature.where(active, 1.0), 0.0), b)
        x, residual = x + step * direction, residual - step * image
        before, norm = norm, _dot(residual, residual)
        direction = residual + expand(torch.where(active, norm / before.where(active, 1.0), 0.0), b) * direction
        norm = norm.where(active, 0.0)
    left = (_dot(residual, residual) / first.where(first > 0, 1.0)).sqrt()
    rough = left > _SMALL
    if bool((rough & broken).any()):
        _warn(left[rough & broken], "the matrix is not positive: is A^T the transpose of A (check_adjoint)?")
    if bool((rough & ~broken).any()):
        mend = "give the operator an svd() or the noise a larger sigma, or choose a method that solves nothing (dps)"
        _warn(left[rough & ~broken], f"the limit of {iterations} iterations was met: {mend}")
    return x + expand(torch.where(first.isfinite(), 0.0, math.nan), b)


def _warn(left: Float[Tensor, " some"], why: str) -> None:
    """Name the largest part of |b| that is left, up to a power of ten: nearly the same again is shown once."""
    part = 10.0 ** math.ceil(math.log10(float(left.max())))
    words = f"conjugate gradients left a residual of up to {part:.0e} |b|, {why}"
    warnings.warn(words, RuntimeWarning, stacklevel=3)


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

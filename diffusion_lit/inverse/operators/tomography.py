"""Tomography: what is left of an X-ray along parallel lines, seen from many sides."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.inpainting import Shape, image_shape
from diffusion_lit.inverse.operators.sparse import SparseOperator

__all__ = ["radon"]


def radon(
    shape: Shape, angles: int | Sequence[int | float] = 60, detectors: int | None = None, arc: int | float = 180.0
) -> SparseOperator:
    """Project parallel beams: y (C, angles, detectors) are line integrals, averaged over a detector of one pixel.

    Pixels are squares of constant value, so a detector's number is exact: the area in which the strip that it sees
    meets the square. A^T is the transpose of the same numbers.

    Args:
        shape: (C, H, W).
        angles: how many, evenly spaced over the arc from 0 on; or the angles themselves in degrees. The detectors lie
            along the x axis at 0 and are turned anticlockwise.
        detectors: number of detectors, each as wide as a pixel; as many as the diagonal needs unless given.
        arc: in degrees; less than 180 misses a wedge.

    Raises:
        UserError: there is no angle, no detector, or no arc.
    """
    channels, height, width = image_shape(shape)
    detectors = math.ceil(math.hypot(height, width)) if detectors is None else detectors
    if isinstance(angles, int):
        if not (angles >= 1 and 0 < arc <= 360):
            raise UserError(f"radon: {angles} angles over an arc of {arc} degrees; give at least one, over up to 360")
        angles = [arc * i / angles for i in range(angles)]
    degrees = torch.tensor(list(angles), dtype=torch.float64)
    if len(degrees) < 1 or detectors < 1 or not bool(degrees.isfinite().all()):
        raise UserError(f"radon: {len(degrees)} angles, {detectors} detectors; give at least one of each, finite")

    theta = degrees.deg2rad()[:, None]
    y = ((height - 1) / 2 - torch.arange(height, dtype=torch.float64)).repeat_interleave(width)
    x = (torch.arange(width, dtype=torch.float64) - (width - 1) / 2).repeat(height)
    centre = x * theta.cos() + y * theta.sin() + detectors / 2  # (angles, pixels), in detectors from the first's edge
    # a square's shadow is a box of width |cos| convolved with one of width |sin|; it reaches over 3 detectors at most
    a, b = ((f.abs() / 2).clamp_min(1e-6) for f in (theta.cos(), theta.sin()))
    first = (centre - a - b).floor()
    bins = first[..., None] + torch.arange(3)
    values = _shadow(bins + 1 - centre[..., None], a[..., None], b[..., None])
    values = values - _shadow(bins - centre[..., None], a[..., None], b[..., None])
    inside = (bins >= 0) & (bins < detectors)
    rows = (bins + detectors * torch.arange(len(degrees), dtype=torch.float64)[:, None, None])[inside].long()
    columns = torch.arange(height * width)[:, None].expand(inside.shape)[inside]
    return SparseOperator((channels, height, width), (len(degrees), detectors), rows, columns, values[inside])


def _shadow(u: Float64[Tensor, "*shape"], a: Tensor, b: Tensor) -> Float64[Tensor, "*shape"]:
    """Return the part of the shadow left of u: of boxes on [-a, a] and [-b, b], convolved, of area 1."""
    corners = (u + a + b, u + a - b, u - a + b, u - a - b)
    squares = [c.clamp_min(0).square() / 2 for c in corners]
    inside = (squares[0] - squares[1] - squares[2] + squares[3]) / (4 * a * b)
    return torch.where(u >= a + b, 1.0, inside.clamp(0, 1))

"""Gravitational lensing: each pixel of the sky shows the source where its ray ends, behind an elliptical lens."""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.convolution import convolve
from diffusion_lit.inverse.operators.inpainting import Shape, image_shape
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.operators.sparse import SparseOperator

__all__ = ["deflection", "gravitational_lens"]

Grid = Float64[Tensor, "height width"]


def deflection(
    x: Grid, y: Grid, einstein_radius: int | float, axis_ratio: int | float = 1.0, angle: int | float = 0.0
) -> list[Grid]:
    """Return (alpha_x, alpha_y) of a singular isothermal ellipsoid (Kormann et al. 1994; Keeton 2001, eqs. 33-35).

    With psi^2 = q^2 x^2 + y^2, f = sqrt(1 - q^2), x along the major axis of the mass:
    alpha_x = b q / f arctan(f x / psi), alpha_y = b q / f artanh(f y / psi), b = radius / sqrt(q);
    for q = 1, the sphere: alpha = radius (x, y) / r.

    Args:
        x, y: where a ray meets the lens, from its centre.
        einstein_radius: of the ellipse's area, in the units of x and y.
        axis_ratio: q, minor to major axis, in (0, 1].
        angle: of the major axis, in degrees from x to y.
    """
    turn = math.radians(angle)
    u = math.cos(turn) * x + math.sin(turn) * y
    v = -math.sin(turn) * x + math.cos(turn) * y
    q = axis_ratio
    u = torch.where((u == 0) & (v == 0), 1e-9, u)  # the ray through the very centre, as the ray beside it
    psi = (q**2 * u**2 + v**2).sqrt()
    f = math.sqrt(1 - q**2)
    if f < 1e-6:
        along, across = einstein_radius * u / psi, einstein_radius * v / psi
    else:
        scale = einstein_radius * math.sqrt(q) / f
        along, across = scale * torch.arctan(f * u / psi), scale * torch.arctanh(f * v / psi)
    return [math.cos(turn) * along - math.sin(turn) * across, math.sin(turn) * along + math.cos(turn) * across]


def gravitational_lens(
    shape: Shape,
    einstein_radius: int | float | None = None,
    axis_ratio: int | float = 0.8,
    angle: int | float = 30.0,
    centre: tuple[int | float, int | float] = (0.0, 0.0),
    source_scale: int | float = 1.0,
    psf: Float[Tensor, "..."] | None = None,
) -> LinearOperator:
    """See a source plane through a lens (the operator of Adam et al. 2022): linear in the source's brightness.

    The ray of each image pixel ends at beta = theta - alpha(theta), where the source is interpolated bilinearly; what
    ends outside of the source plane is dark.

    Args:
        shape: (C, H, W) of the source plane, and of the image.
        einstein_radius: in image pixels; a quarter of the shorter side unless given.
        axis_ratio: of the lens's mass, minor to major, in (0, 1].
        angle: of its major axis, in degrees.
        centre: (x, y) of the lens, in image pixels from the middle, y downwards.
        source_scale: side of a source pixel in image pixels, > 0: below 1 magnifies the source plane.
        psf: kernel that blurs the image, reflected at the edges; none unless given.

    Raises:
        UserError: radius, axis ratio or scale are not as above, or no ray ends in the source plane.
    """
    channels, height, width = image_shape(shape)
    radius = min(height, width) / 4 if einstein_radius is None else einstein_radius
    if not (0 < radius < math.inf and 0 < axis_ratio <= 1 and 0 < source_scale < math.inf):
        raise UserError(
            f"gravitational_lens: einstein_radius {radius}, axis_ratio {axis_ratio}, source_scale {source_scale}; give "
            f"a radius and a scale > 0 and an axis ratio in (0, 1]"
        )
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) - (height - 1) / 2,
        torch.arange(width, dtype=torch.float64) - (width - 1) / 2,
        indexing="ij",
    )
    alpha_x, alpha_y = deflection(x - centre[0], y - centre[1], radius, axis_ratio, angle)
    column = ((x - alpha_x) / source_scale + (width - 1) / 2).flatten()
    row = ((y - alpha_y) / source_scale + (height - 1) / 2).flatten()

    left, top = column.floor(), row.floor()
    rows, columns, values = [], [], []
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (1 - (row - top - i).abs()) * (1 - (column - left - j).abs())
        inside = (top + i >= 0) & (top + i < height) & (left + j >= 0) & (left + j < width)
        rows.append(inside.nonzero()[:, 0])
        columns.append(((top + i) * width + left + j)[inside].long())
        values.append(weight[inside])
    if not bool(torch.cat(values).any()):
        raise UserError(
            f"gravitational_lens: no ray ends in the source plane with einstein_radius {radius}, centre {centre}, "
            f"source_scale {source_scale}; the image would be dark"
        )
    lens = SparseOperator(
        (channels, height, width), (height, width), torch.cat(rows), torch.cat(columns), torch.cat(values)
    )
    if psf is None:
        return lens
    seen = convolve(shape, psf, boundary="reflect") @ lens
    assert isinstance(seen, LinearOperator)  # both are
    return seen

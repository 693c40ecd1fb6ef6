"""Compressed sensing: fewer numbers than pixels, each a random combination of all of them."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.inpainting import Shape, image_shape
from diffusion_lit.inverse.operators.linear import LinearOperator, MatrixOperator
from diffusion_lit.inverse.operators.svd import SVD
from diffusion_lit.inverse.operators.transforms import hadamard, hartley
from diffusion_lit.randomness import Randomness

__all__ = ["PartialHadamard", "gaussian_sensing", "hadamard_sensing"]

_LIMIT = 2**26  # entries of a matrix that is stored, and decomposed, in half a gigabyte


class PartialHadamard(LinearOperator):
    """y = some rows of H D x: D flips signs at random, H is an orthonormal Walsh-Hadamard transform.

    H needs a power of two. Of d = 2^k n pixels, n odd, it takes the 2^k, and the Hartley transform the n, so that any
    size goes and all rows are orthonormal: every singular value is 1.

    Args:
        shape: (C, H, W).
        rows: (m,) which of the d rows are measured.
        signs: (d,) of D.
    """

    rows: Tensor
    signs: Tensor

    def __init__(self, shape: Shape, rows: Tensor, signs: Float[Tensor, " d"]):
        super().__init__(image_shape(shape), (len(rows),))
        size = len(signs)
        self.power = size & -size  # the largest power of two that divides d
        self.register_buffer("rows", rows)
        self.register_buffer("signs", signs)

    def _mix(self, z: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """Apply H, which is its own inverse."""
        grid = z.reshape(len(z), -1, self.power)
        if grid.shape[1] > 1:
            grid = hartley(grid.to(torch.promote_types(z.dtype, torch.float32)), (-2,)).to(z.dtype)
        return hadamard(grid).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self._mix(x.flatten(1) * self.signs.to(x))[:, self.rows]

    def transpose(self, y: Tensor) -> Tensor:
        whole = y.new_zeros(len(y), len(self.signs))
        whole[:, self.rows] = y
        return (self._mix(whole) * self.signs.to(y)).reshape(len(y), *self.x_shape)

    def pinv(self, y: Tensor) -> Tensor:
        return self.transpose(y)

    def svd(self) -> SVD:
        ones = torch.ones(len(self.rows), dtype=torch.float64, device=self.rows.device)
        return SVD(ones, u=lambda z: z, ut=lambda y: y, v=self.transpose, vt=self.forward)


def _count(name: str, shape: Shape, ratio: float) -> tuple[int, int]:
    size = math.prod(image_shape(shape))
    if not 0 < ratio < 1 or round(ratio * size) in (0, size):
        raise UserError(
            f"{name}: ratio {ratio} of {size} numbers; it is the part that is measured, between 0 and 1, at least one "
            f"number and not all"
        )
    return round(ratio * size), size


def gaussian_sensing(shape: Shape, ratio: float = 0.25, seed: int = 0) -> MatrixOperator:
    """Measure m = round(ratio C H W) combinations of all numbers, with independent weights N(0, 1 / m).

    Args:
        shape: (C, H, W).
        ratio: m / (C H W), inside (0, 1).
        seed: of the weights.

    Raises:
        UserError: the ratio is not inside (0, 1), or the matrix has more than 2^26 entries.
    """
    count, size = _count("gaussian_sensing", shape, ratio)
    if count * size > _LIMIT:
        raise UserError(
            f"gaussian_sensing: a matrix of {count} x {size} entries is too large to be stored and decomposed; use "
            f"hadamard_sensing, which needs no matrix, or smaller images"
        )
    weights = Randomness(seed, torch.arange(count)).normal(size, dtype=torch.float64)
    return MatrixOperator(weights / math.sqrt(count), image_shape(shape))


def hadamard_sensing(shape: Shape, ratio: float = 0.25, seed: int = 0) -> PartialHadamard:
    """Measure round(ratio C H W) rows, chosen by the seed, of a Walsh-Hadamard transform with random signs.

    Args:
        shape: (C, H, W).
        ratio: the part of the rows that is measured, inside (0, 1).
        seed: of the rows and of the signs.

    Raises:
        UserError: the ratio is not inside (0, 1).
    """
    count, size = _count("hadamard_sensing", shape, ratio)
    order, coin = Randomness(seed, torch.arange(2)).uniform(size)
    rows = order.argsort()[:count].sort().values
    return PartialHadamard(shape, rows, torch.where(coin < 0.5, -1.0, 1.0).double())

"""Separable operators y = R x C^T on every channel: pooling, bicubic down-sampling and Gaussian blur.

A = C (x) R (Kronecker), so A^T = R^T y C, and the SVD comes from the two small ones. Beyond an edge the image is
mirrored, the edge pixel twice (... 1 0 | 0 1 ...), as in MATLAB's imresize and imfilter "symmetric".
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.inpainting import Shape, image_shape
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.operators.svd import SVD

__all__ = ["Separable", "average_pool", "bicubic", "gaussian_blur"]

Filter = Float64[Tensor, "n_y n"]


class Separable(LinearOperator):
    """y = R x C^T for x (B, channels, H, W).

    Args:
        channels: number of channels.
        rows: R, (H_y, H).
        columns: C, (W_y, W).
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, channels: int, rows: Float64[Tensor, "h_y h"], columns: Float64[Tensor, "w_y w"]):
        super().__init__((channels, rows.shape[1], columns.shape[1]), (channels, rows.shape[0], columns.shape[0]))
        self.register_buffer("rows", rows.double())
        self.register_buffer("columns", columns.double())
        for name, matrix in (("r", rows), ("c", columns)):
            left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
            self.register_buffer(f"{name}_left", left)
            self.register_buffer(f"{name}_values", values)
            self.register_buffer(f"{name}_right", right.mT.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return self.rows.to(x) @ x @ self.columns.to(x).mT

    def transpose(self, y: Tensor) -> Tensor:
        return self.rows.to(y).mT @ y @ self.columns.to(y)

    def svd(self) -> SVD:
        left = (self.get_buffer("r_left"), self.get_buffer("c_left"))
        right = (self.get_buffer("r_right"), self.get_buffer("c_right"))
        r_values, c_values = self.get_buffer("r_values"), self.get_buffer("c_values")
        core = (self.x_shape[0], len(r_values), len(c_values))

        def up(basis: tuple[Tensor, Tensor], z: Float[Tensor, "batch r"]) -> Tensor:
            return basis[0].to(z) @ z.reshape(-1, *core) @ basis[1].to(z).mT

        def down(basis: tuple[Tensor, Tensor], x: Tensor) -> Float[Tensor, "batch r"]:
            return (basis[0].to(x).mT @ x @ basis[1].to(x)).flatten(1)

        return SVD(
            (r_values[:, None] * c_values).expand(core).flatten(),
            u=lambda z: up(left, z),
            ut=lambda y: down(left, y),
            v=lambda z: up(right, z),
            vt=lambda x: down(right, x),
        )


def _divided(name: str, shape: Shape, factor: int) -> tuple[int, int, int]:
    channels, height, width = image_shape(shape)
    if factor < 1 or height % factor or width % factor:
        raise UserError(
            f"{name}: factor {factor} does not divide images of {height} x {width}; choose a common divisor, or crop"
        )
    return channels, height, width


def average_pool(shape: Shape, factor: int) -> Separable:
    """Average blocks of factor x factor pixels.

    Args:
        shape: (C, H, W), H and W multiples of the factor.
        factor: side of a block.

    Raises:
        UserError: the factor does not divide H and W.
    """
    channels, *sides = _divided("average_pool", shape, factor)

    def pool(n: int) -> Filter:
        return torch.eye(n // factor, dtype=torch.float64).repeat_interleave(factor, dim=1) / factor

    return Separable(channels, *map(pool, sides))


def bicubic(shape: Shape, factor: int) -> Separable:
    """Down-sample by Keys' cubic (a = -1/2) widened by the factor against aliasing, as MATLAB's imresize.

    Args:
        shape: (C, H, W), H and W multiples of the factor.
        factor: of H and W.

    Raises:
        UserError: the factor does not divide H and W.
    """
    channels, *sides = _divided("bicubic", shape, factor)

    def cubic(n: int) -> Filter:
        centre = (torch.arange(n // factor, dtype=torch.float64) + 0.5) * factor - 0.5
        return _filter(n, centre, 2 * factor, lambda distance: _keys(distance / factor))

    return Separable(channels, *map(cubic, sides))


def gaussian_blur(shape: Shape, sigma: float, size: int | None = None) -> Separable:
    """Blur with a Gaussian.

    Args:
        shape: (C, H, W).
        sigma: standard deviation in pixels, > 0.
        size: odd side of the kernel in pixels; 2 ceil(3 sigma) + 1 unless given.

    Raises:
        UserError: sigma or size is not as above.
    """
    channels, *sides = image_shape(shape)
    size = 2 * math.ceil(3 * sigma) + 1 if size is None else size
    if sigma <= 0 or size < 1 or size % 2 == 0:
        raise UserError(f"gaussian_blur: sigma {sigma}, size {size}; expected sigma > 0 and an odd size of at least 1")

    def blur(n: int) -> Filter:
        centre = torch.arange(n, dtype=torch.float64)
        return _filter(n, centre, size // 2, lambda distance: (-((distance / sigma) ** 2) / 2).exp())

    return Separable(channels, *map(blur, sides))


def _keys(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The cubic convolution kernel of Keys (1981), eq. 15."""
    x = x.abs()
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))


def _filter(n: int, centre: Float64[Tensor, " n_y"], reach: int, kernel: Callable[[Tensor], Tensor]) -> Filter:
    """Return (n_y, n): row i weighs pixel j with kernel(j - centre_i) for |j - centre_i| <= reach; rows sum to 1."""
    offset = torch.arange(-reach, reach + 1)
    position = centre.round().long()[:, None] + offset
    distance = position - centre[:, None]
    weight = torch.where(distance.abs() <= reach, kernel(distance), 0.0)
    wrapped = position % (2 * n)  # the mirrored image has period 2n
    mirrored = torch.where(wrapped < n, wrapped, 2 * n - 1 - wrapped)
    matrix = torch.zeros(len(centre), n, dtype=torch.float64).scatter_add_(1, mirrored, weight)
    return matrix / matrix.sum(1, keepdim=True)

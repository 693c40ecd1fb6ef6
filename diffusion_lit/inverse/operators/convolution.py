"""Convolution of every channel with one kernel: any kernel, and motion blur."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.inpainting import Shape, image_shape
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.operators.svd import SVD
from diffusion_lit.inverse.operators.transforms import hartley

__all__ = ["CircularConvolution", "ReflectedConvolution", "convolve", "line_kernel", "motion_blur"]


class CircularConvolution(LinearOperator):
    """y_i = sum_j k_j x_(i - j), indices modulo the size of the image: by FFT, where it is diagonal.

    A = F* diag(e^(i phase) |k|) F = P |K| with a real orthogonal P = F* diag(e^(i phase)) F and a symmetric |K|, which
    the Hartley transform diagonalises since its spectrum is even. So V = Hartley, U = P Hartley, s = |k|.

    Args:
        shape: (C, H, W).
        kernel: k, (h, w), at most as large as the image; its origin is at (h // 2, w // 2).
    """

    kernel: Tensor

    def __init__(self, shape: Shape, kernel: Float[Tensor, "h w"]):
        channels, height, width = image_shape(shape)
        super().__init__((channels, height, width), (channels, height, width))
        whole = kernel.new_zeros(height, width, dtype=torch.float64)
        whole[: kernel.shape[0], : kernel.shape[1]] = kernel
        self.register_buffer("kernel", whole.roll((-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), (0, 1)))

    def _filter(self, x: Tensor, spectrum: Tensor) -> Tensor:
        work = torch.promote_types(x.dtype, torch.float32)  # there is no FFT in half precision on a CPU
        spectrum = spectrum.to(torch.complex128 if work == torch.float64 else torch.complex64)
        return torch.fft.ifft2(torch.fft.fft2(x.to(work)) * spectrum).real.to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self._filter(x, torch.fft.fft2(self.kernel))

    def transpose(self, y: Tensor) -> Tensor:
        return self._filter(y, torch.fft.fft2(self.kernel).conj())

    def svd(self) -> SVD:
        spectrum = torch.fft.fft2(self.kernel)
        size = spectrum.abs()
        phase = torch.where(size > 0, spectrum / size.where(size > 0, 1.0), 1.0)

        def image(z: Tensor) -> Tensor:
            return hartley(z.reshape(len(z), *self.x_shape))

        return SVD(
            size.expand(self.x_shape).flatten(),
            u=lambda z: self._filter(image(z), phase),
            ut=lambda y: hartley(self._filter(y, phase.conj())).flatten(1),
            v=image,
            vt=lambda x: hartley(x).flatten(1),
        )


class ReflectedConvolution(LinearOperator):
    """y_i = sum_j k_j x_(i - j), the image mirrored beyond its edges (... 1 0 | 0 1 ...).

    Args:
        shape: (C, H, W).
        kernel: k, (h, w); its origin is at (h // 2, w // 2).
    """

    kernel: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, shape: Shape, kernel: Float[Tensor, "h w"]):
        channels, height, width = image_shape(shape)
        super().__init__((channels, height, width), (channels, height, width))
        self.register_buffer("kernel", kernel.double())
        self.register_buffer("rows", _mirrored(height, kernel.shape[0]))
        self.register_buffer("columns", _mirrored(width, kernel.shape[1]))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.kernel.to(x).flip(0, 1)  # conv2d correlates
        padded = x[..., self.rows, :][..., self.columns]
        return functional.conv2d(padded.flatten(0, 1)[:, None], weight[None, None]).reshape(x.shape)


def _mirrored(n: int, size: int) -> Tensor:
    """Return the pixels of an axis with what a kernel reaches beyond it: from i - (size - 1 - size // 2) on."""
    position = torch.arange(n + size - 1) - (size - 1 - size // 2)
    wrapped = position % (2 * n)  # the mirrored image has period 2n
    return torch.where(wrapped < n, wrapped, 2 * n - 1 - wrapped)


def convolve(
    shape: Shape, kernel: Float[Tensor, "..."] | list[list[int | float]], boundary: str = "circular"
) -> CircularConvolution | ReflectedConvolution:
    """Convolve every channel with a kernel.

    Args:
        shape: (C, H, W).
        kernel: (h, w), not larger than the image, used as it is; its origin is at (h // 2, w // 2).
        boundary: "circular", which has an SVD at any size, or "reflect", the image mirrored at its edges.

    Raises:
        UserError: the kernel is not such a matrix, is 0, or there is no such boundary.
    """
    _, height, width = image_shape(shape)
    kernel = torch.as_tensor(kernel, dtype=torch.float64)
    if kernel.ndim != 2 or kernel.shape[0] > height or kernel.shape[1] > width or not bool(kernel.isfinite().all()):
        raise UserError(
            f"convolve: a kernel of shape {tuple(kernel.shape)} on images of {height} x {width}; give finite numbers "
            f"(h, w), not larger than the image"
        )
    if not bool(kernel.any()):
        raise UserError("convolve: the kernel is 0 everywhere, so nothing is left of the image")
    kinds = {"circular": CircularConvolution, "reflect": ReflectedConvolution}
    if boundary not in kinds:
        raise UserError(f"convolve: boundary {boundary!r} is not one of {', '.join(kinds)}")
    return kinds[boundary](shape, kernel)


def line_kernel(length: int | float, angle: int | float) -> Float[Tensor, "h w"]:
    """Return the kernel of a camera that moves evenly along a line; it sums to 1.

    Args:
        length: of the path in pixels, > 0.
        angle: in degrees from the x axis, anticlockwise.
    """
    along = torch.linspace(-length / 2, length / 2, 64 * math.ceil(length) + 1, dtype=torch.float64)

    def shares(position: Tensor) -> Tensor:
        """Share out each point of the path between its two neighbours on an axis."""
        reach = math.ceil(float(position.abs().max()) - 1e-9)
        return (1 - (torch.arange(-reach, reach + 1) - position[:, None]).abs()).clamp_min(0)

    rows, columns = shares(-along * math.sin(math.radians(angle))), shares(along * math.cos(math.radians(angle)))
    kernel = rows.mT @ columns
    return kernel / kernel.sum()


def motion_blur(
    shape: Shape, length: int | float = 9.0, angle: int | float = 45.0, boundary: str = "circular"
) -> CircularConvolution | ReflectedConvolution:
    """Blur as a camera does that moves evenly along a line while the shutter is open.

    Args:
        shape: (C, H, W).
        length: of the path in pixels, > 0.
        angle: of the path in degrees from the x axis, anticlockwise.
        boundary: as for `convolve`.

    Raises:
        UserError: the length is not above 0, or the path is longer than the image.
    """
    if not 0 < length < math.inf:
        raise UserError(f"motion_blur: length {length}; give the path's length in pixels, > 0")
    return convolve(shape, line_kernel(length, angle), boundary)

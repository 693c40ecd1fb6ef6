"""Operators that are not linear: blur in linear light, clipping, and the modulus of a Fourier transform."""

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.base import Operator
from diffusion_lit.inverse.operators.convolution import convolve, line_kernel
from diffusion_lit.inverse.operators.inpainting import Shape, image_shape

__all__ = ["HDR", "NonlinearBlur", "PhaseRetrieval", "hdr", "nonlinear_blur", "phase_retrieval"]


class NonlinearBlur(Operator):
    """y = g(k * g^-1(x)): light is blurred before the camera's response g (Nah et al. 2017, eqs. 1-2).

    g is the sRGB curve (IEC 61966-2-1) in place of their v^(1 / 2.2): it is linear near black, so that gradients are
    finite there, and it is continued linearly below black. Edges against dark ground move outwards, which no linear
    blur does.

    Args:
        shape: (C, H, W), images in [-1, 1].
        kernel: k, (h, w), which should sum to 1.
        boundary: as for `convolve`.
    """

    def __init__(self, shape: Shape, kernel: Float[Tensor, "..."], boundary: str = "reflect"):
        blur = convolve(shape, kernel, boundary)
        super().__init__(blur.x_shape, blur.y_shape)
        self.blur = blur

    def forward(self, x: Tensor) -> Tensor:
        return 2 * _encode(self.blur(_decode((x + 1) / 2))) - 1


def _decode(u: Tensor) -> Tensor:
    """Return the light of an sRGB value; `clamp` keeps the branch that is not taken from a gradient of NaN."""
    return torch.where(u <= 0.04045, u / 12.92, ((u.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def _encode(v: Tensor) -> Tensor:
    return torch.where(v <= 0.0031308, 12.92 * v, 1.055 * v.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def nonlinear_blur(
    shape: Shape, length: int | float = 9.0, angle: int | float = 45.0, kernel: Float[Tensor, "..."] | None = None
) -> NonlinearBlur:
    """Blur the light of an sRGB image along a line, or with any kernel; see `NonlinearBlur`.

    Args:
        shape: (C, H, W), images in [-1, 1].
        length, angle: of the path, as for `motion_blur`.
        kernel: (h, w) in place of the path.

    Raises:
        UserError: the length is not above 0, or the kernel does not fit.
    """
    if kernel is None and not length > 0:
        raise UserError(f"nonlinear_blur: length {length}; give the path's length in pixels, > 0")
    return NonlinearBlur(shape, line_kernel(length, angle) if kernel is None else kernel)


class HDR(Operator):
    """y = clip(gain x, -1, 1): what is too bright or too dark saturates.

    Args:
        shape: (C, H, W), images in [-1, 1].
        gain: > 1.
    """

    def __init__(self, shape: Shape, gain: int | float):
        super().__init__(image_shape(shape), image_shape(shape))
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        return (self.gain * x).clamp(-1, 1)


def hdr(shape: Shape, gain: int | float = 2.0) -> HDR:
    """Clip a brightened image (high dynamic range, Mardani et al. 2024, RED-diff, whose gain is 2).

    Args:
        shape: (C, H, W), images in [-1, 1].
        gain: of the contrast before the clip, > 1.

    Raises:
        UserError: the gain clips nothing.
    """
    if not 1 < gain < float("inf"):
        raise UserError(f"hdr: gain {gain} clips nothing of images in [-1, 1]; give one above 1")
    return HDR(shape, float(gain))


class PhaseRetrieval(Operator):
    """y = |F P x| of every channel: P pads with zeros at all sides, F is the unitary Fourier transform.

    x, -x and x turned by 180 degrees give the same y.

    Args:
        shape: (C, H, W).
        padded: (H_y, W_y) of the padded image, at least (H, W).
    """

    def __init__(self, shape: Shape, padded: tuple[int, int]):
        channels, height, width = image_shape(shape)
        super().__init__((channels, height, width), (channels, *padded))
        top, left = (padded[0] - height) // 2, (padded[1] - width) // 2
        self.padding = (left, padded[1] - width - left, top, padded[0] - height - top)

    def forward(self, x: Tensor) -> Tensor:
        work = torch.promote_types(x.dtype, torch.float32)  # there is no FFT in half precision on a CPU
        spectrum = torch.fft.fft2(torch.nn.functional.pad(x.to(work), self.padding), norm="ortho")
        return torch.fft.fftshift(spectrum, dim=(-2, -1)).abs().to(x.dtype)


def phase_retrieval(shape: Shape, oversampling: int | float = 2.0) -> PhaseRetrieval:
    """Show the modulus of the Fourier transform only, as detectors do in crystallography and diffraction imaging.

    Args:
        shape: (C, H, W).
        oversampling: the padded sides, as multiples of the image's, >= 1. Below 2 the modulus has fewer numbers than
            its own autocorrelation; Chung et al. (2023, DPS) take 1.5.

    Raises:
        UserError: the oversampling is below 1.
    """
    _, height, width = image_shape(shape)
    if not 1 <= oversampling < float("inf"):
        raise UserError(f"phase_retrieval: oversampling {oversampling} < 1 would crop the image; give 1 or more")
    return PhaseRetrieval(shape, (round(oversampling * height), round(oversampling * width)))

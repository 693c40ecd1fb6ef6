"""Magnetic resonance: some of the Fourier coefficients of a complex image, as one coil sees it or as many do.

Complex numbers are pairs of channels, the real part and the imaginary one. The transform is unitary, and the zero
frequency is in the middle, at (H // 2, W // 2). y is exactly 0 where nothing is measured.
"""

import math

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.frequencies import observed_frequencies
from diffusion_lit.inverse.operators.inpainting import Shape, image_shape
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.operators.svd import SVD
from diffusion_lit.inverse.operators.transforms import as_complex, as_pair, centred_fft, centred_ifft

__all__ = ["MRI", "MultiCoilMRI", "coil_sensitivities", "mri"]


class MRI(LinearOperator):
    """y = the measured Fourier coefficients of a complex image, by one coil that sees all of it alike.

    Args:
        shape: (2, H, W), real and imaginary part.
        observed: (H, W) True where a frequency is measured; y is (1, 2, H, W).
    """

    observed: Tensor

    def __init__(self, shape: Shape, observed: Bool[Tensor, "height width"]):
        _, height, width = image_shape(shape)
        whole = (1, 2, height, width)
        super().__init__((2, height, width), whole, observed.expand(whole).clone())

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.observed.to(x.device), as_pair(centred_fft(as_complex(x[:, None]))).to(x.dtype), 0.0)

    def transpose(self, y: Tensor) -> Tensor:
        seen = torch.where(self.observed.to(y.device), y, 0.0)
        return as_pair(centred_ifft(as_complex(seen)))[:, 0].to(y.dtype)

    def pinv(self, y: Tensor) -> Tensor:
        return self.transpose(y)

    def svd(self) -> SVD:
        """V is the transform and U places the coefficients; every singular value is 1."""
        ones = torch.ones(self.y_size, dtype=torch.float64, device=self.observed.device)
        return SVD(
            ones,
            u=self.place,
            ut=self.observe,
            v=lambda z: self.transpose(self.place(z)),
            vt=lambda x: self.observe(self(x)),
        )


class MultiCoilMRI(LinearOperator):
    """y_k = the measured Fourier coefficients of S_k x, a complex image as each of the coils sees it.

    Args:
        sensitivities: S, (coils, 2, H, W), real and imaginary part.
        observed: (H, W) True where a frequency is measured, by all coils; y is (coils, 2, H, W).
    """

    observed: Tensor
    sensitivities: Tensor

    def __init__(self, sensitivities: Float[Tensor, "coils 2 height width"], observed: Bool[Tensor, "height width"]):
        whole = tuple(sensitivities.shape)
        super().__init__(whole[1:], whole, observed.expand(whole).clone())
        self.register_buffer("sensitivities", sensitivities.double())

    def forward(self, x: Tensor) -> Tensor:
        coils = as_complex(self.sensitivities.to(x.device, torch.promote_types(x.dtype, torch.float32)))
        spectra = as_pair(centred_fft(coils * as_complex(x[:, None])))
        return torch.where(self.observed.to(x.device), spectra.to(x.dtype), 0.0)

    def transpose(self, y: Tensor) -> Tensor:
        coils = as_complex(self.sensitivities.to(y.device, torch.promote_types(y.dtype, torch.float32)))
        seen = torch.where(self.observed.to(y.device), y, 0.0)
        images = coils.conj() * centred_ifft(as_complex(seen))
        return as_pair(images.sum(1, keepdim=True))[:, 0].to(y.dtype)


def mri(
    shape: Shape,
    coils: int = 1,
    acceleration: int | float = 4.0,
    centre: int | float = 0.08,
    pattern: str = "equispaced",
    seed: int = 0,
    mask: Shaped[Tensor, "..."] | None = None,
    sensitivities: Float[Tensor, "..."] | None = None,
) -> MRI | MultiCoilMRI:
    """Measure some lines of k-space of a complex image, by one coil or by several.

    Args:
        shape: (2, H, W), real and imaginary part.
        coils: how many; for more than one without `sensitivities` those of `coil_sensitivities`.
        acceleration, centre, pattern, seed, mask: as for `fourier_mask`.
        sensitivities: (coils, 2, H, W), such as ESPIRiT gives; `coils` is then left out.

    Raises:
        UserError: the shape is not that of a complex image, or numbers, pattern, mask or sensitivities do not fit.
    """
    channels, height, width = image_shape(shape)
    if channels != 2 or coils < 1:
        raise UserError(
            f"mri: shape {tuple(shape)}, {coils} coils; give (2, H, W), the real and the imaginary part, and at least "
            f"one coil (for real images there is fourier_mask)"
        )
    observed = observed_frequencies("mri", (height, width), pattern, acceleration, centre, seed, mask)
    if sensitivities is None:
        if coils == 1:
            return MRI(shape, observed)
        return MultiCoilMRI(coil_sensitivities(coils, height, width), observed)
    if sensitivities.ndim != 4 or tuple(sensitivities.shape[1:]) != (2, height, width):
        raise UserError(
            f"mri: sensitivities of shape {tuple(sensitivities.shape)}; give (coils, 2, {height}, {width}), the real "
            f"and the imaginary part"
        )
    return MultiCoilMRI(sensitivities, observed)


def coil_sensitivities(coils: int, height: int, width: int) -> Float[Tensor, "coils 2 height width"]:
    """Return smooth maps of coils on a circle around the image: a Gaussian about each with a phase of its own.

    The sum of |S_k|^2 is 1 at every pixel. Synthetic: measured maps differ.
    """
    y = torch.linspace(-1, 1, height, dtype=torch.float64)[:, None]
    x = torch.linspace(-1, 1, width, dtype=torch.float64)
    angle = 2 * math.pi * torch.arange(coils, dtype=torch.float64)[:, None, None] / coils
    towards = x * angle.cos() + y * angle.sin()
    size = (-((x - 1.2 * angle.cos()) ** 2 + (y - 1.2 * angle.sin()) ** 2) / 2).exp()
    maps = torch.polar(size, angle + math.pi / 2 * towards)
    maps = maps / maps.abs().square().sum(0).sqrt()
    return torch.view_as_real(maps).movedim(-1, 1)

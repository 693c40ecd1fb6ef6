"""Some of the Fourier coefficients of a real image.

Complex numbers are pairs of channels, the real part and the imaginary one. The transform is unitary, and the zero
frequency is in the middle, at (H // 2, W // 2). y is exactly 0 where nothing is measured.
"""

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from diffusion_lit.inverse.operators.frequencies import observed_frequencies
from diffusion_lit.inverse.operators.inpainting import Shape, image_shape
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.operators.svd import SVD
from diffusion_lit.inverse.operators.transforms import as_complex, as_pair, centred_fft, centred_ifft, negated

__all__ = ["FourierMask", "fourier_mask"]


class FourierMask(LinearOperator):
    """y = the measured Fourier coefficients of each channel of a real image.

    A frequency and its negative hold the same two numbers, Re and Im; so the singular values are 1 where both are
    measured, and sqrt(1/2) where one is; the coefficients that are their own negatives hold one number, with value 1.

    Args:
        shape: (C, H, W).
        observed: (H, W) True where a frequency is measured; y is (C, 2, H, W).
    """

    observed: Tensor

    def __init__(self, shape: Shape, observed: Bool[Tensor, "height width"]):
        channels, height, width = image_shape(shape)
        whole = (channels, 2, height, width)
        super().__init__((channels, height, width), whole, observed.expand(whole).clone())

    def _mask(self, y: Tensor) -> Tensor:
        return torch.where(self.observed.to(y.device), y, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        work = torch.promote_types(x.dtype, torch.float32)
        return self._mask(as_pair(centred_fft(x.to(work))).to(x.dtype))

    def transpose(self, y: Tensor) -> Tensor:
        return centred_ifft(as_complex(self._mask(y))).real.to(y.dtype)

    def svd(self) -> SVD:
        seen = self.observed[0, 0]
        height, width = seen.shape
        index = torch.arange(height * width, device=seen.device).reshape(height, width)
        opposite = negated(index)
        alone, times = index == opposite, seen.int() + negated(seen).int()
        known = times > 0
        # of each pair the first: its real and its imaginary part; of one that is its own negative the real part
        first = torch.stack((known & (index <= opposite), known & (index < opposite)))
        half, root = torch.tensor(0.5).to(times.device, torch.float64), 0.5**0.5
        in_x = torch.where(alone, half, root)  # X(f) and X(-f) of one coordinate, and the coordinate of both
        in_y = torch.where(alone, half, times.clamp_min(1).double().rsqrt())
        s = torch.where(alone, 1.0, (times.double() / 2).sqrt()).expand(2, -1, -1)[first]
        channels = self.x_shape[0]

        def spread(z: Tensor, weight: Tensor) -> Tensor:
            pair = z.new_zeros(len(z), channels, 2, height, width)
            pair[..., first] = z.reshape(len(z), channels, -1)
            one = as_complex(pair)
            return (one + negated(one).conj()) * weight.to(one.real)

        def gather(spectrum: Tensor, weight: Tensor) -> Tensor:
            both = (spectrum + negated(spectrum).conj()) * weight.to(spectrum.real)
            return as_pair(both)[..., first].flatten(1)

        return SVD(
            s.expand(channels, -1).flatten(),
            u=lambda z: self._mask(as_pair(spread(z, in_y)).to(z.dtype)),
            ut=lambda y: gather(as_complex(self._mask(y)), in_y).to(y.dtype),
            v=lambda z: centred_ifft(spread(z, in_x)).real.to(z.dtype),
            vt=lambda x: gather(centred_fft(x.to(torch.promote_types(x.dtype, torch.float32))), in_x).to(x.dtype),
        )


def fourier_mask(
    shape: Shape,
    acceleration: int | float = 4.0,
    centre: int | float = 0.08,
    pattern: str = "equispaced",
    seed: int = 0,
    mask: Shaped[Tensor, "..."] | None = None,
) -> FourierMask:
    """Measure some columns of the Fourier transform of a real image.

    Args:
        shape: (C, H, W).
        acceleration: 1 / acceleration of the columns are measured.
        centre: the part of all columns, in the middle, that is measured in any case.
        pattern: "equispaced" or "gaussian", of the other columns.
        seed: of the gaussian pattern.
        mask: in place of a pattern, (H, W) or (W,), True where it is measured, the zero frequency at (H // 2, W // 2).

    Raises:
        UserError: numbers, pattern or mask do not fit.
    """
    _, *size = image_shape(shape)
    observed = observed_frequencies("fourier_mask", (size[0], size[1]), pattern, acceleration, centre, seed, mask)
    return FourierMask(shape, observed)

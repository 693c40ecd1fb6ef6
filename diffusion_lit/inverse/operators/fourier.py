"""Some of the Fourier coefficients of an image: of real images, and as MRI sees complex ones, with one coil or many.

Complex numbers are pairs of channels, the real part and the imaginary one. The transform is unitary, and the zero
frequency is in the middle, at (H // 2, W // 2). y is exactly 0 where nothing is measured.
"""

import math

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.inpainting import Shape, image_shape
from diffusion_lit.inverse.operators.linear import SVD, LinearOperator
from diffusion_lit.inverse.operators.transforms import centred_fft, centred_ifft, negated
from diffusion_lit.randomness import Randomness

__all__ = [
    "MRI",
    "FourierMask",
    "MultiCoilMRI",
    "coil_sensitivities",
    "equispaced_lines",
    "fourier_mask",
    "gaussian_lines",
    "mri",
]


def equispaced_lines(n: int, acceleration: int | float = 4.0, centre: int | float = 0.08) -> Bool[Tensor, " n"]:
    """Return which of n lines are measured: the middle ones, and evenly spaced ones, n / acceleration in all.

    Args:
        n: number of lines.
        acceleration: > 1.
        centre: the part of all lines, in the middle, that is measured in any case (fastMRI: .08 for 4, .04 for 8).
    """
    lines, budget = _centre_lines(n, acceleration, centre)
    rest = (~lines).nonzero()[:, 0]
    chosen = ((torch.arange(budget, dtype=torch.float64) + 0.5) * len(rest) / max(budget, 1)).long()
    lines[rest[chosen]] = True
    return lines


def gaussian_lines(
    n: int, acceleration: int | float = 4.0, centre: int | float = 0.08, seed: int = 0
) -> Bool[Tensor, " n"]:
    """Return which of n lines are measured: the middle ones, and random ones that are denser near the middle.

    Lines are drawn without replacement with weights exp(-d^2 / (2 (n / 4)^2)), d the distance from the middle (the
    variable-density pattern of Jalal et al. 2021 and Chung & Ye 2022).

    Args:
        n: number of lines.
        acceleration: > 1; n / acceleration lines are measured in all.
        centre: the part of all lines, in the middle, that is measured in any case.
        seed: of the choice.
    """
    lines, budget = _centre_lines(n, acceleration, centre)
    distance = torch.arange(n, dtype=torch.float64) - n // 2
    # the largest of log weight + Gumbel noise are a draw without replacement
    uniform = Randomness(seed, torch.zeros(1, dtype=torch.int64)).uniform(n)[0]
    key = -(distance**2) / (2 * (n / 4) ** 2) - (-uniform.log()).log()
    key[lines] = -math.inf
    lines[key.topk(budget).indices] = True
    return lines


def _centre_lines(n: int, acceleration: int | float, centre: int | float) -> tuple[Bool[Tensor, " n"], int]:
    """Return the lines in the middle, and how many more are to be measured."""
    if not (1 < acceleration <= n and 0 <= centre <= 1 / acceleration):
        raise UserError(
            f"acceleration {acceleration}, centre {centre}, {n} lines: of these 1 / acceleration are measured, the "
            f"centre among them; give 1 < acceleration <= {n} and 0 <= centre <= 1 / acceleration"
        )
    total, middle = max(1, round(n / acceleration)), max(1, round(centre * n)) if centre > 0 else 0
    middle = min(middle, total)
    lines = torch.zeros(n, dtype=torch.bool)
    start = n // 2 - middle // 2
    lines[start : start + middle] = True
    return lines, total - middle


def _observed(
    name: str,
    size: tuple[int, int],
    pattern: str,
    acceleration: int | float,
    centre: int | float,
    seed: int,
    mask: Tensor | None,
) -> Bool[Tensor, "height width"]:
    """Return the measured frequencies; lines are columns, constant along the read-out of every row."""
    if mask is None:
        patterns = {
            "equispaced": lambda n: equispaced_lines(n, acceleration, centre),
            "gaussian": lambda n: gaussian_lines(n, acceleration, centre, seed),
        }
        if pattern not in patterns:
            raise UserError(f"{name}: pattern {pattern!r} is not one of {', '.join(patterns)}")
        return patterns[pattern](size[1]).expand(size).clone()
    if tuple(mask.shape) not in (size, size[1:]):
        raise UserError(f"{name}: a mask of {tuple(mask.shape)}; give one of {size}, or of {size[1:]} for columns")
    observed = (mask.bool() if mask.dtype == torch.bool else mask >= 0.5).expand(size).clone()
    count = int(observed.sum())
    if count in (0, observed.numel()):
        raise UserError(
            f"{name}: the mask measures {count} of {observed.numel()} frequencies, so there is nothing to "
            f"{'start from' if count == 0 else 'restore'}; measure some (True) and leave some"
        )
    return observed


def _pair(z: Tensor) -> Tensor:
    """Turn complex (B, n, H, W) into real (B, n, 2, H, W)."""
    return torch.view_as_real(z).movedim(-1, -3)


def _complex(x: Tensor) -> Tensor:
    """Turn real (B, n, 2, H, W) into complex (B, n, H, W)."""
    work = torch.promote_types(x.dtype, torch.float32)  # there is no complex half on a CPU
    return torch.view_as_complex(x.to(work).movedim(-3, -1).contiguous())


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
        return self._mask(_pair(centred_fft(x.to(work))).to(x.dtype))

    def transpose(self, y: Tensor) -> Tensor:
        return centred_ifft(_complex(self._mask(y))).real.to(y.dtype)

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
            one = _complex(pair)
            return (one + negated(one).conj()) * weight.to(one.real)

        def gather(spectrum: Tensor, weight: Tensor) -> Tensor:
            both = (spectrum + negated(spectrum).conj()) * weight.to(spectrum.real)
            return _pair(both)[..., first].flatten(1)

        return SVD(
            s.expand(channels, -1).flatten(),
            u=lambda z: self._mask(_pair(spread(z, in_y)).to(z.dtype)),
            ut=lambda y: gather(_complex(self._mask(y)), in_y).to(y.dtype),
            v=lambda z: centred_ifft(spread(z, in_x)).real.to(z.dtype),
            vt=lambda x: gather(centred_fft(x.to(torch.promote_types(x.dtype, torch.float32))), in_x).to(x.dtype),
        )


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
        return torch.where(self.observed.to(x.device), _pair(centred_fft(_complex(x[:, None]))).to(x.dtype), 0.0)

    def transpose(self, y: Tensor) -> Tensor:
        seen = torch.where(self.observed.to(y.device), y, 0.0)
        return _pair(centred_ifft(_complex(seen)))[:, 0].to(y.dtype)

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
        coils = _complex(self.sensitivities.to(x.device, torch.promote_types(x.dtype, torch.float32)))
        spectra = _pair(centred_fft(coils * _complex(x[:, None])))
        return torch.where(self.observed.to(x.device), spectra.to(x.dtype), 0.0)

    def transpose(self, y: Tensor) -> Tensor:
        coils = _complex(self.sensitivities.to(y.device, torch.promote_types(y.dtype, torch.float32)))
        seen = torch.where(self.observed.to(y.device), y, 0.0)
        images = coils.conj() * centred_ifft(_complex(seen))
        return _pair(images.sum(1, keepdim=True))[:, 0].to(y.dtype)


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
    observed = _observed("fourier_mask", (size[0], size[1]), pattern, acceleration, centre, seed, mask)
    return FourierMask(shape, observed)


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
    observed = _observed("mri", (height, width), pattern, acceleration, centre, seed, mask)
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

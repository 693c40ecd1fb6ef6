"""Fast orthonormal transforms that operators are built from, and complex numbers as pairs of channels."""

import torch
from torch import Tensor

__all__ = ["as_complex", "as_pair", "centred_fft", "centred_ifft", "hadamard", "hartley", "negated"]


def hartley(x: Tensor, dimensions: tuple[int, ...] = (-2, -1)) -> Tensor:
    """Return Re F x - Im F x, F the unitary Fourier transform: real, symmetric, its own inverse (Hartley 1942).

    A convolution that is even and circular is diagonal in it.
    """
    spectrum = torch.fft.fftn(x, dim=dimensions, norm="ortho")
    return spectrum.real - spectrum.imag


def hadamard(x: Tensor) -> Tensor:
    """Apply the orthonormal Walsh-Hadamard matrix of Sylvester's order to the last axis; n must be a power of two."""
    shape, n = x.shape, x.shape[-1]
    half = 1
    while half < n:
        pair = x.reshape(-1, n // (2 * half), 2, half)
        x = torch.stack((pair[:, :, 0] + pair[:, :, 1], pair[:, :, 0] - pair[:, :, 1]), dim=2)
        half *= 2
    return x.reshape(shape) / n**0.5


def centred_fft(x: Tensor) -> Tensor:
    """Apply the unitary Fourier transform to the last two axes; the origin and the zero frequency are at n // 2."""
    x = torch.fft.ifftshift(x, dim=(-2, -1))
    return torch.fft.fftshift(torch.fft.fft2(x, norm="ortho"), dim=(-2, -1))


def centred_ifft(x: Tensor) -> Tensor:
    """Undo `centred_fft`, which is also its adjoint."""
    x = torch.fft.ifftshift(x, dim=(-2, -1))
    return torch.fft.fftshift(torch.fft.ifft2(x, norm="ortho"), dim=(-2, -1))


def negated(x: Tensor) -> Tensor:
    """Return the values at -f for the last two axes, the zero frequency at n // 2."""
    for axis in (-2, -1):
        n = x.shape[axis]
        x = x.index_select(axis, (2 * (n // 2) - torch.arange(n, device=x.device)) % n)
    return x


def as_pair(z: Tensor) -> Tensor:
    """Turn complex (B, n, H, W) into real (B, n, 2, H, W)."""
    return torch.view_as_real(z).movedim(-1, -3)


def as_complex(x: Tensor) -> Tensor:
    """Turn real (B, n, 2, H, W) into complex (B, n, H, W)."""
    work = torch.promote_types(x.dtype, torch.float32)  # there is no complex half on a CPU
    return torch.view_as_complex(x.to(work).movedim(-3, -1).contiguous())

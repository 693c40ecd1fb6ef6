"""Fast orthonormal transforms that operators are built from."""

import torch
from torch import Tensor

__all__ = ["centred_fft", "centred_ifft", "hadamard", "hartley", "negated"]


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

"""Random images, a mask, and numpy's centred transform as pairs of channels."""

import numpy as np
import torch

X = torch.randn(2, 2, 7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MASK = torch.rand(7, 6, generator=torch.Generator().manual_seed(1)) < 0.5


def numpys(x: np.ndarray) -> torch.Tensor:
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))
    return torch.from_numpy(np.stack((spectrum.real, spectrum.imag), axis=-3))

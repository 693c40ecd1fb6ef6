"""Orthonormal Haar folding: trade resolution for channels without changing any distance."""

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.errors import UserError

__all__ = ["check_foldable", "fold", "unfold"]


def check_foldable(height: int, width: int, times: int) -> None:
    """Raise a UserError unless 2^times divides the height and the width."""
    if height % 2**times or width % 2**times:
        raise UserError(
            f"size: {height} x {width} cannot be folded {times} times, since {2**times} does not divide both sides; "
            f"use a smaller fold (fold=0 takes any size) or pad the images."
        )


def _butterfly(x: Tensor) -> Tensor:
    # Sums and differences of the rows, then of the columns, of each 2 x 2 patch; half of a 4 x 4 Hadamard matrix,
    # hence orthonormal, symmetric and its own inverse.
    a, b, c, d = x.unbind(dim=1)
    ab, ab_, cd, cd_ = a + b, a - b, c + d, c - d
    return torch.stack([ab + cd, ab_ + cd_, ab - cd, ab_ - cd_], dim=1) / 2


def fold(x: Float[Tensor, "batch channels height width"], times: int = 1) -> Float[Tensor, "batch c h w"]:
    """Fold (B, C, H, W) to (B, 4^times C, H / 2^times, W / 2^times) by an orthonormal map.

    Each 2x2 patch becomes its mean (times 2) and three differences: the Haar wavelet transform. Since the map is
    orthonormal, white noise stays white and squared errors keep their value.

    Raises:
        UserError: 2^times does not divide H and W.
    """
    check_foldable(x.shape[-2], x.shape[-1], times)
    for _ in range(times):
        batch, channels, height, width = x.shape
        patches = x.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 3, 5, 1, 2, 4)
        x = _butterfly(patches.flatten(1, 2)).flatten(1, 2)
    return x


def unfold(x: Float[Tensor, "batch channels height width"], times: int = 1) -> Float[Tensor, "batch c h w"]:
    """Undo `fold`: (B, C, H, W) to (B, C / 4^times, 2^times H, 2^times W)."""
    for _ in range(times):
        batch, channels, height, width = x.shape
        patches = _butterfly(x.reshape(batch, 4, channels // 4, height, width))
        patches = patches.unflatten(1, (2, 2)).permute(0, 3, 4, 1, 5, 2)
        x = patches.reshape(batch, channels // 4, 2 * height, 2 * width)
    return x

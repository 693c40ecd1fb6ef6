"""Every pixel by itself, its channels mixed: the image as it is, and the grey of a colour image."""

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.inpainting import Shape, image_shape
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.operators.svd import SVD

__all__ = ["ChannelMix", "colourise", "identity"]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class ChannelMix(LinearOperator):
    """y_k = sum_c M_kc x_c at every pixel.

    Args:
        shape: (C, H, W).
        mix: M, (K, C).
    """

    mix: Tensor

    def __init__(self, shape: Shape, mix: Float[Tensor, "k c"]):
        channels, height, width = image_shape(shape)
        super().__init__((channels, height, width), (len(mix), height, width))
        self.register_buffer("mix", mix.double())

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("kc,bchw->bkhw", self.mix.to(x), x)

    def transpose(self, y: Tensor) -> Tensor:
        return torch.einsum("kc,bkhw->bchw", self.mix.to(y), y)

    def svd(self) -> SVD:
        left, values, right = torch.linalg.svd(self.mix, full_matrices=False)
        pixels = self.x_shape[1:]

        def up(basis: Tensor, z: Tensor) -> Tensor:
            return torch.einsum("cr,brhw->bchw", basis.to(z), z.reshape(len(z), len(values), *pixels))

        def down(basis: Tensor, x: Tensor) -> Tensor:
            return torch.einsum("cr,bchw->brhw", basis.to(x), x).flatten(1)

        return SVD(
            values[:, None].expand(-1, pixels[0] * pixels[1]).flatten(),
            u=lambda z: up(left, z),
            ut=lambda y: down(left, y),
            v=lambda z: up(right.mT, z),
            vt=lambda x: down(right.mT, x),
        )


def identity(shape: Shape) -> ChannelMix:
    """Show the image as it is, for denoising.

    Args:
        shape: (C, H, W).
    """
    return ChannelMix(shape, torch.eye(image_shape(shape)[0], dtype=torch.float64))


def colourise(shape: Shape, grey: str = "mean") -> ChannelMix:
    """Show the grey of a colour image, (1, H, W).

    Args:
        shape: (C, H, W), C of at least 2.
        grey: "mean" of the channels, or "luma" of red, green and blue (.299, .587, .114).

    Raises:
        UserError: there is one channel only, or luma is asked of other than three.
    """
    channels, _, _ = image_shape(shape)
    if grey not in ("mean", "luma") or channels < 2 or (grey == "luma" and channels != 3):
        raise UserError(
            f"colourise: grey {grey!r} of {channels} channel(s); choose mean of 2 or more channels, or luma of 3"
        )
    weights = _LUMA if grey == "luma" else (1 / channels,) * channels
    return ChannelMix(shape, torch.tensor([weights], dtype=torch.float64))

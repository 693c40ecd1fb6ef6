"""The convolutional trunks of AlexNet and VGG16 with the five taps that LPIPS compares."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffusion_lit.errors import UserError
from diffusion_lit.metrics.weights import Convolution, read_trunk

__all__ = ["SMALLEST", "Net", "Trunk", "as_rgb"]

Net = Literal["alex", "vgg"]

# Below 64 pixels the trunks (and EfficientNet) pool an image to a single pixel or to nothing.
SMALLEST = 64

# The first block of VGG16's five is not pooled first; AlexNet has one convolution a block, and pools thrice fewer.
BLOCKS = {"alex": (1, 1, 1, 1, 1), "vgg": (2, 2, 3, 3, 3)}
STRIDES = {"alex": (4, 1, 1, 1, 1), "vgg": (1, 1, 1, 1, 1)}
POOLS = {"alex": (0, 3, 3, 0, 0), "vgg": (0, 2, 2, 2, 2)}


class Trunk(nn.Module):
    """Pretrained trunk that returns the activations of its five blocks; frozen, always in eval mode.

    AlexNet (arXiv:1404.5997) taps relu1..relu5, VGG16 (arXiv:1409.1556) taps relu1_2, 2_2, 3_3, 4_3, 5_3.

    Args:
        net: "alex" or "vgg".
        convolutions: The trunk's weights, in order; None reads the installed ones.

    Raises:
        UserError: The weights are not installed.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: Net = "alex", convolutions: Sequence[Convolution] | None = None) -> None:
        super().__init__()
        remaining = iter(read_trunk(net) if convolutions is None else convolutions)
        self.blocks = nn.ModuleList()
        for count, stride, pool in zip(BLOCKS[net], STRIDES[net], POOLS[net]):
            layers: list[nn.Module] = [nn.MaxPool2d(pool, stride=2)] if pool else []
            for _ in range(count):
                weight, bias = next(remaining)
                outputs, inputs, kernel, _ = weight.shape
                padding = 2 if kernel > 3 else 1
                convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding)
                convolution.load_state_dict({"weight": weight, "bias": bias})
                layers += [convolution, nn.ReLU()]
            self.blocks.append(nn.Sequential(*layers))
        # ImageNet's mean and standard deviation for images in [-1, 1]
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None])
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[:, None, None])
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Trunk":
        return super().train(False)

    def forward(self, images: Float[Tensor, "batch 3 h w"]) -> list[Tensor]:
        """Return five activations (B, C_i, H_i, W_i) of RGB images (B, 3, H, W) in [-1, 1], H, W >= 64."""
        hidden, taps = (images - self.shift) / self.scale, []
        for block in self.blocks:
            hidden = block(hidden)
            taps.append(hidden)
        return taps


def as_rgb(images: Float[Tensor, "batch c h w"], smallest: int = SMALLEST) -> Float[Tensor, "batch 3 height width"]:
    """Repeat grey to RGB and enlarge bilinearly until both sides have `smallest` pixels.

    Args:
        images: (B, C, H, W) in [-1, 1] with C = 1 or 3.
        smallest: Least side, in pixels; larger images are left alone.

    Raises:
        UserError: C is neither 1 nor 3.
    """
    channels, height, width = images.shape[1:]
    if channels not in (1, 3):
        raise UserError(
            f"images: pretrained networks see 1 (grey) or 3 (RGB) channels, not {channels}; select channels."
        )
    if channels == 1:
        images = images.expand(-1, 3, -1, -1)
    if min(height, width) < smallest:
        factor = smallest / min(height, width)
        size = (round(height * factor), round(width * factor))
        images = nn.functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
    return images

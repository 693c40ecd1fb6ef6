"""Between uint8 pixels, PNG bytes and tensors in [-1, 1]."""

import io

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from diffusion_lit.data.sources.item import Array

__all__ = ["decode_png", "encode_png", "to_unit"]


def encode_png(image: Array) -> bytes:
    """Encode a uint8 image (H, W) or (H, W, 3) as PNG, without loss."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="png")
    return buffer.getvalue()


def decode_png(data: bytes, channels: int) -> Array:
    """Decode PNG bytes to uint8, (H, W) for one channel and (H, W, 3) for three; raises what Pillow raises."""
    # PNG only: what else Pillow can open has no business in a shard, and a damaged image is not tried as all of it.
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.asarray(image.convert("L" if channels == 1 else "RGB"))


def to_unit(images: UInt8[np.ndarray, "batch height width *channels"]) -> Float32[Tensor, "batch channel height width"]:
    """Turn uint8 images, channels last, into float32 in [-1, 1], channels first: x / 127.5 - 1."""
    pixels = torch.from_numpy(images)
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    return pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)

"""Inpainting: some pixels are measured, the others are hidden.

y keeps the shape of the image and is exactly 0 where nothing is measured, so that it can be looked at;
`observed` says where.
"""

from pathlib import Path

import torch
from jaxtyping import Bool, Shaped
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.operators.svd import SVD
from diffusion_lit.randomness import Randomness

__all__ = [
    "Inpainting",
    "image_shape",
    "inpaint_box",
    "inpaint_half",
    "inpaint_lines",
    "inpaint_mask",
    "inpaint_random",
]

Shape = tuple[int, ...] | list[int]


class Inpainting(LinearOperator):
    """y = x where `observed`, 0 elsewhere.

    Args:
        observed: (*x_shape) True where a pixel is measured.

    Raises:
        UserError: it hides everything or nothing.
    """

    observed: Tensor

    def __init__(self, observed: Bool[Tensor, "*x_shape"]):
        count, size = int(observed.sum()), observed.numel()
        if count in (0, size):
            raise UserError(
                f"mask: it hides {size - count} of {size} pixels, so there is nothing to "
                f"{'start from' if count == 0 else 'restore'}; hide some and show some"
            )
        super().__init__(tuple(observed.shape), tuple(observed.shape), observed.clone())

    @property
    def hidden(self) -> Bool[Tensor, "*x_shape"]:
        return ~self.observed

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.observed.to(x.device), x, 0.0)

    def transpose(self, y: Tensor) -> Tensor:
        return self.forward(y)

    def pinv(self, y: Tensor) -> Tensor:
        return self.forward(y)

    def svd(self) -> SVD:
        """U and V place the measured pixels; every singular value is 1."""
        ones = torch.ones(self.y_size, dtype=torch.float64, device=self.observed.device)
        return SVD(ones, u=self.place, ut=self.observe, v=self.place, vt=self.observe)


def image_shape(shape: Shape) -> tuple[int, int, int]:
    """Check and return (C, H, W)."""
    if len(shape) != 3 or min(shape) < 1:
        raise UserError(f"shape: {tuple(shape)}; expected (channels, height, width), each at least 1")
    channels, height, width = shape
    return channels, height, width


def _hide(shape: Shape, hidden: Bool[Tensor, "height width"]) -> Inpainting:
    return Inpainting(~hidden.expand(image_shape(shape)))


def inpaint_box(
    shape: Shape, size: int | tuple[int, int] | list[int], top: int | None = None, left: int | None = None
) -> Inpainting:
    """Hide a box.

    Args:
        shape: (C, H, W).
        size: of the box, one number or (height, width).
        top, left: its corner; centred unless given.

    Raises:
        UserError: the box leaves the image.
    """
    _, height, width = image_shape(shape)
    h, w = (size, size) if isinstance(size, int) else size
    top = (height - h) // 2 if top is None else top
    left = (width - w) // 2 if left is None else left
    if min(h, w) < 1 or top < 0 or left < 0 or top + h > height or left + w > width:
        raise UserError(
            f"inpaint_box: a box of {h} x {w} at top {top}, left {left} does not fit in {height} x {width} pixels; "
            f"choose a smaller size or another corner"
        )
    hidden = torch.zeros(height, width, dtype=torch.bool)
    hidden[top : top + h, left : left + w] = True
    return _hide(shape, hidden)


def inpaint_half(shape: Shape, side: str = "right") -> Inpainting:
    """Hide one half: left, right, top or bottom; of an odd number of lines the smaller part.

    Raises:
        UserError: no such side.
    """
    _, height, width = image_shape(shape)
    h, w = height // 2, width // 2
    sides = {
        "left": (slice(None), slice(0, w)),
        "right": (slice(None), slice(width - w, None)),
        "top": (slice(0, h), slice(None)),
        "bottom": (slice(height - h, None), slice(None)),
    }
    if side not in sides:
        raise UserError(f"inpaint_half: side {side!r} is not one of {', '.join(sides)}")
    hidden = torch.zeros(height, width, dtype=torch.bool)
    hidden[sides[side]] = True
    return _hide(shape, hidden)


def inpaint_random(shape: Shape, fraction: float = 0.5, seed: int = 0) -> Inpainting:
    """Hide round(fraction H W) pixels, in all channels, chosen by the seed.

    Raises:
        UserError: the fraction is not inside (0, 1).
    """
    _, height, width = image_shape(shape)
    if not 0 < fraction < 1:
        raise UserError(f"inpaint_random: fraction {fraction} is the part that is hidden; it lies between 0 and 1")
    order = Randomness(seed, torch.zeros(1, dtype=torch.int64)).uniform(height * width)[0].argsort()
    hidden = torch.zeros(height * width, dtype=torch.bool)
    hidden[order[: round(fraction * height * width)]] = True
    return _hide(shape, hidden.reshape(height, width))


def inpaint_lines(
    shape: Shape, every: int | None = None, fraction: float = 0.5, axis: str = "rows", seed: int = 0
) -> Inpainting:
    """Show some whole rows or columns and hide the others.

    Args:
        shape: (C, H, W).
        every: show lines 0, every, 2 every, ...
        fraction: without `every`: hide round(fraction n) of the n lines, chosen by the seed.
        axis: "rows" or "columns".
        seed: of the choice.

    Raises:
        UserError: `every` is below 2, the fraction is not inside (0, 1), or there is no such axis.
    """
    _, height, width = image_shape(shape)
    if axis not in ("rows", "columns"):
        raise UserError(f"inpaint_lines: axis {axis!r} is not one of rows, columns")
    count = height if axis == "rows" else width
    if every is not None and every < 2:
        raise UserError(f"inpaint_lines: every {every} hides nothing; show every 2nd line or fewer")
    if not 0 < fraction < 1:
        raise UserError(f"inpaint_lines: fraction {fraction} is the part that is hidden; it lies between 0 and 1")
    lines = torch.ones(count, dtype=torch.bool)
    if every is not None:
        lines[::every] = False
    else:
        order = Randomness(seed, torch.zeros(1, dtype=torch.int64)).uniform(count)[0].argsort()
        lines[order[round(fraction * count) :]] = False
    return _hide(shape, (lines[:, None] if axis == "rows" else lines).expand(height, width))


def inpaint_mask(shape: Shape, mask: str | Path | Shaped[Tensor, "..."]) -> Inpainting:
    """Hide what a mask marks, as OpenCV and scikit-image do: bright pixels of an image file, or True, are hidden.

    Args:
        shape: (C, H, W).
        mask: path of an image, or a tensor of (H, W), (1, H, W) or (C, H, W): bool, uint8 up to 255, or float up to 1.

    Raises:
        UserError: the file is not an image, or the mask's size is not the images'.
    """
    channels, height, width = image_shape(shape)
    name = "a tensor" if isinstance(mask, Tensor) else f"{mask}"
    values = mask if isinstance(mask, Tensor) else _read(Path(mask))
    if values.dtype == torch.bool:
        hidden = values
    else:
        hidden = values >= (128 if values.dtype == torch.uint8 else 0.5)
    if hidden.shape not in {(height, width), (1, height, width), (channels, height, width)}:
        raise UserError(
            f"inpaint_mask: the mask ({name}) has shape {tuple(hidden.shape)} and does not fit images of "
            f"{height} x {width} with {channels} channel(s); crop or resize the mask to {height} x {width}"
        )
    return Inpainting(~hidden.expand(channels, height, width))


def _read(path: Path) -> Shaped[Tensor, "height width"]:
    try:
        with Image.open(path) as image:
            grey = image.convert("L")
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(f"inpaint_mask: {path} cannot be read as an image ({error}); give a PNG of the mask") from error
    pixels = torch.frombuffer(bytearray(grey.tobytes()), dtype=torch.uint8)
    return pixels.reshape(grey.height, grey.width)

"""One image to restore: its y, and the operator that fits it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import Operator
from diffusion_lit.restoration.inputs import Input, Shape, load_measured, own_shape
from diffusion_lit.restoration.recipes import Recipe

__all__ = ["Case", "match"]


@dataclass
class Case:
    """One image to restore; `how` says where sigma is from if it was estimated."""

    entry: Input
    digest: str
    operator: Operator
    y: Tensor
    sigma: float
    truth: Tensor | None = None
    how: str = ""


def match(
    entry: Input, recipe: Recipe, trained: tuple[int, int, int], size: tuple[int, int] | None
) -> tuple[Operator, Tensor]:
    """The operator whose y has the size of the file: of an x as large as y, larger in proportion, or as trained.

    Args:
        entry: a measurement.
        recipe: makes the operators.
        trained: (C, H, W) of the images that the prior was trained on.
        size: (H, W) of x, if it is known.

    Returns:
        The operator, and y (*y_shape), 0 where nothing is measured.

    Raises:
        UserError: no size fits; it names those that were tried.
    """
    channels, own = trained[0], own_shape(entry)
    tried: dict[Shape, str] = {}
    for side in [size] if size else [own, _in_proportion(entry, recipe, trained, own), trained[1:]]:
        if side is None or (channels, *side) in tried:
            continue
        shape = (channels, *side)
        try:
            operator = recipe(shape, entry)
        except UserError as error:
            tried[shape] = str(error)
            continue
        y = load_measured(entry, operator.y_shape, channels)
        if y is not None:
            mask = operator.observed
            return operator, y if mask is None else torch.where(mask, y, 0.0)
        tried[shape] = f"y of {operator.y_shape}"
    found = "; ".join(f"an image of {shape} has {what}" for shape, what in tried.items())
    seen = f"a {own[0]} x {own[1]} image" if own else "no image"
    raise UserError(f"y is {seen}, which fits no size of x ({found}); give size=H,W of the restored image")


def _in_proportion(
    entry: Input, recipe: Recipe, trained: tuple[int, int, int], own: tuple[int, int] | None
) -> tuple[int, int] | None:
    try:
        y_shape = recipe(trained, entry).y_shape
    except UserError:
        return None
    if own is None or len(y_shape) != 3:
        return None
    height, width = (round(side * x / y) for side, x, y in zip(own, trained[1:], y_shape[1:]))
    return height, width

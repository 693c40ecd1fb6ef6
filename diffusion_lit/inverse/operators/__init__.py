"""Operators, one family a file, and their names."""

from collections.abc import Callable

from diffusion_lit.inverse.operators.base import Operator
from diffusion_lit.inverse.operators.inpainting import (
    Inpainting,
    inpaint_box,
    inpaint_half,
    inpaint_mask,
    inpaint_random,
)
from diffusion_lit.inverse.operators.linear import SVD, LinearOperator, MatrixOperator
from diffusion_lit.inverse.operators.separable import Separable, average_pool, bicubic, gaussian_blur

__all__ = ["SVD", "Inpainting", "LinearOperator", "MatrixOperator", "Operator", "Separable", "operators"]

#: name -> (shape=(C, H, W), ...) -> operator
operators: dict[str, Callable[..., Operator]] = {
    "inpaint_box": inpaint_box,
    "inpaint_half": inpaint_half,
    "inpaint_random": inpaint_random,
    "inpaint_mask": inpaint_mask,
    "average_pool": average_pool,
    "bicubic": bicubic,
    "gaussian_blur": gaussian_blur,
}

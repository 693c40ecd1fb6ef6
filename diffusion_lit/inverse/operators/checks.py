"""What functions and maps promise, tried on random signals."""

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.randomness import Randomness

__all__ = ["LinearMap", "Map", "check_adjoint", "check_linear", "name_of", "probe"]

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}  # relative, far above rounding and far below a mistake


@runtime_checkable
class Map(Protocol):
    """x (B, *x_shape) -> y (B, *y_shape), as `Operator` has it."""

    x_shape: tuple[int, ...]
    y_shape: tuple[int, ...]

    @property
    def name(self) -> str: ...

    def __call__(self, x: Tensor) -> Tensor: ...


@runtime_checkable
class LinearMap(Map, Protocol):
    """A map with a transpose, as `LinearOperator` has it."""

    def transpose(self, y: Tensor) -> Tensor: ...


def check_linear(operator: Map, dtype: torch.dtype = torch.float64) -> None:
    """Compare A(2 u - 3 v) with 2 A(u) - 3 A(v) for random u and v.

    Raises:
        UserError: they differ by more than rounding, with the numbers.
    """
    u, v = _draw(operator.x_shape, 0, dtype), _draw(operator.x_shape, 1, dtype)
    with torch.no_grad():
        parts = 2 * operator(u), 3 * operator(v)
        error = float((operator(2 * u - 3 * v) - parts[0] + parts[1]).norm())
    size = float(parts[0].norm() + parts[1].norm())
    if not error <= _TOLERANCE[dtype] * size:
        raise UserError(
            f"{operator.name} is not linear: A(2 u - 3 v) and 2 A(u) - 3 A(v) differ by {error:.3g}, where their parts "
            f"have norm {size:.3g}; an added constant, a clip or noise does that. "
            f"Describe a non-linear one by Operator.from_function"
        )


def check_adjoint(operator: LinearMap, dtype: torch.dtype = torch.float64) -> None:
    """Compare <A x, y> with <x, A^T y> for random x and y.

    Raises:
        UserError: they differ by more than rounding, or A^T y has another shape than x, with the numbers.
    """
    x, y = _draw(operator.x_shape, 2, dtype), _draw(operator.y_shape, 3, dtype)
    with torch.no_grad():
        image, back = operator(x), operator.transpose(y)
    if back.shape != x.shape:
        raise UserError(
            f"{operator.name}: A^T y has shape {tuple(back.shape)}, expected {tuple(x.shape)}; "
            f"mend its transpose, or leave it out: it can be derived from A"
        )
    left, right = (image * y).flatten(1).sum(1), (x * back).flatten(1).sum(1)
    size = image.flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1) + x.flatten(1).norm(dim=1) * back.flatten(1).norm(
        dim=1
    )
    worst = int(((left - right).abs() / size.where(size > 0, 1.0)).nan_to_num(math.inf).argmax())
    gap = float((left - right)[worst].abs())
    if not gap <= _TOLERANCE[dtype] * float(size[worst]):
        raise UserError(
            f"{operator.name}: its A^T is not the transpose of its A: <A x, y> = {float(left[worst]):.6g}, but "
            f"<x, A^T y> = {float(right[worst]):.6g} for random x and y; mend its transpose, or leave it out: it can "
            f"be derived from A"
        )


def _draw(shape: tuple[int, ...], seed: int, dtype: torch.dtype) -> Tensor:
    return Randomness(seed, torch.arange(3)).normal(*shape, dtype=dtype)


def name_of(f: Callable) -> str:
    """What error messages call a function."""
    return getattr(f, "__name__", type(f).__name__)


def probe(f: Callable[[Tensor], Tensor], x_shape: tuple[int, ...]) -> tuple[list[torch.dtype], tuple[int, ...]]:
    """Call f on three random images, in float64 and in float32: what it takes, and the shape it returns.

    Raises:
        UserError: f raises, or does not return a tensor with the batch first.
    """
    dtypes: list[torch.dtype] = []
    y, failure = None, None
    for dtype in (torch.float64, torch.float32):
        try:
            with torch.no_grad():
                y = f(_draw(x_shape, 0, dtype))
            dtypes.append(dtype)
        except Exception as error:
            failure = error
    if not dtypes:
        raise UserError(
            f"operator {name_of(f)!r} raised {type(failure).__name__} for x of shape {(3, *x_shape)}, torch.float32: "
            f"{failure}"
        ) from failure
    if not isinstance(y, Tensor) or not y.is_floating_point() or y.ndim < 2 or len(y) != 3:
        got = f"shape {tuple(y.shape)}, {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
        raise UserError(
            f"operator {name_of(f)!r} returned {got} for x of shape {(3, *x_shape)}; expected real numbers of shape "
            f"(3, *y_shape), the batch first"
        )
    return dtypes, tuple(y.shape[1:])

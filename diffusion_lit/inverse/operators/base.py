"""The contract of operators, y = A(x), and how others become one: functions, A after B, a multiple of A."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.checks import name_of, probe

__all__ = ["Composition", "Data", "FunctionOperator", "Operator", "Scaled", "Signal"]

Signal = Float[Tensor, "batch *x_shape"]
Data = Float[Tensor, "batch *y_shape"]


class Operator(nn.Module):
    """A deterministic map x (B, *x_shape) -> y (B, *y_shape), differentiable; a subclass writes `forward`.

    `A @ B` is A after B, `2 * A` a multiple, `stack(A, B)` both of the same x; they are linear if their parts are.

    Args:
        x_shape: shape of a signal, without the batch; (C, H, W) for images.
        y_shape: shape of a measurement, without the batch.
        observed: (*y_shape) True where y is measured, elsewhere y is exactly 0; None when all of it is.

    Attributes:
        hidden: (*x_shape) True where A shows nothing of x; None when there is no such mask.
    """

    observed: Tensor | None

    def __init__(
        self, x_shape: tuple[int, ...], y_shape: tuple[int, ...], observed: Bool[Tensor, "*y_shape"] | None = None
    ):
        super().__init__()
        self.x_shape, self.y_shape = tuple(x_shape), tuple(y_shape)
        self.register_buffer("observed", observed)

    @staticmethod
    def from_function(f: Callable[[Tensor], Tensor], x_shape: tuple[int, ...]) -> "Operator":
        """Return the operator of a differentiable f, (B, *x_shape) -> (B, *y_shape); y_shape is found by a call.

        Raises:
            UserError: f raises, or does not return such a tensor.
        """
        return FunctionOperator(f, x_shape)

    def __call__(self, x: Signal) -> Data:
        """Return A(x).

        Raises:
            UserError: x is not of shape (B, *x_shape), or `forward` raises or returns another shape than (B, *y_shape).
        """
        if tuple(x.shape[1:]) != self.x_shape:
            raise UserError(
                f"{self.name}: x has shape {tuple(x.shape)}, expected (B, *{self.x_shape}); "
                f"build the operator for the shape of your images"
            )
        try:
            y = super().__call__(x)
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise UserError(
                f"{self.name} raised {type(error).__name__} for x of shape {tuple(x.shape)}, {x.dtype}: {error}"
            ) from error
        if tuple(y.shape) != (len(x), *self.y_shape):
            raise UserError(
                f"{self.name} returned shape {tuple(y.shape)} for x of shape {tuple(x.shape)}, "
                f"expected {(len(x), *self.y_shape)}; mend its forward or its y_shape"
            )
        return y

    def __matmul__(self, inner: "Operator") -> "Operator":
        return Composition(self, inner) if isinstance(inner, Operator) else NotImplemented

    def __mul__(self, factor: int | float) -> "Operator":
        return Scaled(factor, self) if isinstance(factor, int | float) else NotImplemented

    __rmul__ = __mul__

    @property
    def name(self) -> str:
        """What error messages call it."""
        return type(self).__name__

    @property
    def hidden(self) -> Bool[Tensor, "*x_shape"] | None:
        return None

    @property
    def y_size(self) -> int:
        """The number of measured entries of y."""
        return math.prod(self.y_shape) if self.observed is None else int(self.observed.sum())

    def observe(self, y: Data) -> Float[Tensor, "batch y_size"]:
        """Return the measured entries of y (B, *y_shape) as flat vectors."""
        return y.flatten(1) if self.observed is None else y.flatten(1)[:, self.observed.flatten().to(y.device)]

    def place(self, values: Float[Tensor, "batch y_size"]) -> Data:
        """Return y (B, *y_shape) with the measured entries set to `values` and 0 elsewhere: undo `observe`."""
        if self.observed is None:
            return values.reshape(len(values), *self.y_shape)
        y = values.new_zeros(len(values), *self.y_shape)
        y[:, self.observed.to(y.device)] = values
        return y


class FunctionOperator(Operator):
    """y = f(x).

    Args:
        f: (B, *x_shape) -> (B, *y_shape), differentiable by autograd, each image by itself.
        x_shape: shape of a signal, without the batch.

    Attributes:
        dtypes: what f takes of float64 and float32; others are cast, there and back.

    Raises:
        UserError: f raises, or does not return a tensor with the batch first.
    """

    def __init__(self, f: Callable[[Tensor], Tensor], x_shape: tuple[int, ...]):
        self.dtypes, y_shape = probe(f, tuple(x_shape))
        super().__init__(tuple(x_shape), y_shape)
        self.f = f

    @property
    def name(self) -> str:
        return f"operator {name_of(self.f)!r}"

    def forward(self, x: Tensor) -> Tensor:
        return self.f(self._cast(x)).to(x)

    def _cast(self, x: Tensor) -> Tensor:
        return x if x.dtype in self.dtypes else x.to(self.dtypes[0])


class Composition(Operator):
    """y = A(B(x)); what A measures is measured.

    Raises:
        UserError: B does not give what A takes.
    """

    def __init__(self, outer: Operator, inner: Operator):
        if outer.x_shape != inner.y_shape:
            raise UserError(
                f"{outer.name} @ {inner.name}: {inner.name} gives {inner.y_shape}, but {outer.name} takes "
                f"{outer.x_shape}; build both for one shape (the right one acts first)"
            )
        super().__init__(inner.x_shape, outer.y_shape, outer.observed)
        self.outer, self.inner = outer, inner

    @property
    def name(self) -> str:
        return f"{self.outer.name} @ {self.inner.name}"

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x))


class Scaled(Operator):
    """y = c A(x).

    Raises:
        UserError: c is 0 or not finite.
    """

    def __init__(self, factor: int | float, operator: Operator):
        if not math.isfinite(factor) or factor == 0:
            raise UserError(f"{factor} * {operator.name}: the factor is a finite number other than 0")
        super().__init__(operator.x_shape, operator.y_shape, operator.observed)
        self.factor, self.operator = float(factor), operator

    @property
    def name(self) -> str:
        return f"{self.factor:g} * {self.operator.name}"

    @property
    def hidden(self) -> Bool[Tensor, "*x_shape"] | None:
        return self.operator.hidden

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.operator(x)

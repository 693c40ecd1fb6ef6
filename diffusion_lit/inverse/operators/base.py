"""The contract of operators: y = A(x)."""

import math

from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffusion_lit.errors import UserError

__all__ = ["Data", "Operator", "Signal"]

Signal = Float[Tensor, "batch *x_shape"]
Data = Float[Tensor, "batch *y_shape"]


class Operator(nn.Module):
    """A deterministic map x (B, *x_shape) -> y (B, *y_shape), differentiable; a subclass writes `forward`.

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

    def __call__(self, x: Signal) -> Data:
        """Return A(x).

        Raises:
            UserError: x is not of shape (B, *x_shape).
        """
        if tuple(x.shape[1:]) != self.x_shape:
            raise UserError(
                f"{type(self).__name__}: x has shape {tuple(x.shape)}, expected (B, *{self.x_shape}); "
                f"build the operator for the shape of your images"
            )
        return super().__call__(x)

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

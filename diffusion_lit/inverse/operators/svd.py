"""Singular value decompositions as functions, since U and V are often structured."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

__all__ = ["SVD"]


@dataclass(frozen=True)
class SVD:
    """A = U diag(s) V^T with orthonormal columns in U and V, as functions.

    Attributes:
        s: (r,) singular values >= 0 in float64, in no particular order.
        u: (B, r) -> (B, *y_shape), U z.
        ut: (B, *y_shape) -> (B, r), U^T y.
        v: (B, r) -> (B, *x_shape), V z.
        vt: (B, *x_shape) -> (B, r), V^T x.
    """

    s: Float64[Tensor, " r"]
    u: Callable[[Tensor], Tensor]
    ut: Callable[[Tensor], Tensor]
    v: Callable[[Tensor], Tensor]
    vt: Callable[[Tensor], Tensor]

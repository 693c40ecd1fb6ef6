"""Linear operators: what is derived when a subclass only knows A, and those of a matrix, a function or others."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from diffusion_lit.denoise import expand
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.base import Composition, Data, FunctionOperator, Operator, Scaled, Signal
from diffusion_lit.inverse.operators.checks import check_adjoint, check_linear
from diffusion_lit.inverse.operators.svd import SVD
from diffusion_lit.inverse.solvers import conjugate_gradient

__all__ = ["LinearFunctionOperator", "LinearOperator", "MatrixOperator"]

_RCOND = 1e-10  # singular values below this part of the largest are zero
_MATRIX_LIMIT = 2**28  # entries of a matrix that fits in 2 GiB
_SVD_LIMIT = 2**20  # entries of a matrix that is decomposed in a second


class LinearOperator(Operator):
    """A linear map: `forward` is enough; A^T, A^+ and the Gram solve are derived, exactly where there is an SVD.

    A small one (d_y d up to 2^20) has an SVD by its matrix, larger ones if the subclass knows it.
    """

    @staticmethod
    def from_matrix(matrix: Float[Tensor, "..."]) -> "LinearOperator":
        """Return x (B, d) -> y (B, d_y) = A x for a matrix (d_y, d)."""
        return MatrixOperator(matrix)

    @staticmethod
    def from_function(
        f: Callable[[Tensor], Tensor],
        x_shape: tuple[int, ...],
        transpose: Callable[[Tensor], Tensor] | None = None,
    ) -> "LinearOperator":
        """Return the operator of a linear f, (B, *x_shape) -> (B, *y_shape); y_shape is found by a call.

        Args:
            f: differentiable by autograd, each image by itself.
            x_shape: shape of a signal, without the batch.
            transpose: (B, *y_shape) -> (B, *x_shape), A^T y; the vector-Jacobian product of f unless given.

        Raises:
            UserError: f raises or is not linear, or transpose is not its A^T.
        """
        return LinearFunctionOperator(f, x_shape, transpose)

    def __matmul__(self, inner: Operator) -> Operator:
        return _LinearComposition(self, inner) if isinstance(inner, LinearOperator) else super().__matmul__(inner)

    def __mul__(self, factor: int | float) -> Operator:
        return _LinearScaled(factor, self) if isinstance(factor, int | float) else NotImplemented

    __rmul__ = __mul__

    def transpose(self, y: Data) -> Signal:
        """A^T y: the vector-Jacobian product of `forward`, unless a subclass knows better."""
        return torch.func.vjp(self.forward, y.new_zeros(len(y), *self.x_shape))[1](y)[0]

    def svd(self) -> SVD | None:
        """Return the singular value decomposition, or None where it is not known and A is not small."""
        if math.prod(self.x_shape) * self.y_size > _SVD_LIMIT:
            return None
        return self._by_factors(*self._factors)

    def _by_factors(self, left: Tensor, values: Tensor, right: Tensor) -> SVD:
        """The SVD of U (y_size, r), s (r,) and V^T (r, d)."""
        return SVD(
            values,
            u=lambda z: self.place(z @ left.to(z).mT),
            ut=lambda y: self.observe(y) @ left.to(y),
            v=lambda z: (z @ right.to(z)).reshape(len(z), *self.x_shape),
            vt=lambda x: x.flatten(1) @ right.to(x).mT,
        )

    @cached_property
    def _factors(self) -> tuple[Tensor, Tensor, Tensor]:
        return torch.linalg.svd(self.matrix(), full_matrices=False)

    def pinv(self, y: Data) -> Signal:
        """A^+ y, the least-squares solution of least norm; by conjugate gradients where there is no SVD.

        They warn if they do not get there.
        """
        svd = self.svd()
        if svd is None:
            normal = self.transpose(y.double())
            return conjugate_gradient(lambda x: self.transpose(self(x)), normal).to(y)
        keep = svd.s > _RCOND * svd.s.max()
        return svd.v(torch.where(keep, 1 / svd.s, 0.0) * svd.ut(y.double())).to(y)

    def gram_solve(
        self, y: Data, scale: Float[Tensor, "*scales"], shift: Float[Tensor, "*shifts"]
    ) -> Float64[Tensor, "batch *y_shape"]:
        """Solve (scale A A^T + shift I) z = y, the covariance of y under isotropic x and noise, in float64.

        Args:
            y: (B, *y_shape).
            scale, shift: () or (B,), scale > 0 and shift >= 0. Where shift = 0 the pseudo-inverse is applied.
        """
        y = y.double()
        svd = self.svd()
        if svd is None:
            a, b = expand(scale, y), expand(shift, y)
            return conjugate_gradient(lambda z: a * self(self.transpose(z)) + b * z, y)
        along = svd.ut(y)
        variance = expand(scale, along) * torch.where(svd.s > _RCOND * svd.s.max(), svd.s, 0.0) ** 2
        inside = svd.u(_divide(along, variance + expand(shift, along)))
        # what U does not reach has only the noise
        return inside + _divide(y - svd.u(along), expand(shift, y))

    def matrix(self) -> Float64[Tensor, "y_size d"]:
        """Return the matrix of x -> observe(A x), for small problems: the rows are the measured entries only.

        Raises:
            UserError: it would not fit in 2 GiB.
        """
        size = math.prod(self.x_shape)
        if size * math.prod(self.y_shape) > _MATRIX_LIMIT:
            raise UserError(
                f"{self.name}.matrix(): {math.prod(self.y_shape)} x {size} entries need more than 2 GiB; "
                f"use a smaller image, or the operator's functions, which need no matrix"
            )
        device = next((b.device for b in self.buffers()), None)
        basis = torch.eye(size, dtype=torch.float64, device=device).reshape(size, *self.x_shape)
        return self.observe(self(basis)).mT


class MatrixOperator(LinearOperator):
    """x (B, *x_shape) -> A x (B, d_y), x flattened.

    Args:
        matrix: (d_y, d), finite.
        x_shape: shape of a signal of d entries; (d,) unless given.

    Raises:
        UserError: not a matrix of finite numbers, or not one for signals of that shape.
    """

    entries: Tensor
    left: Tensor
    values: Tensor
    right: Tensor

    def __init__(self, matrix: Float[Tensor, "..."], x_shape: tuple[int, ...] | None = None):
        if matrix.ndim != 2 or not bool(matrix.isfinite().all()):
            raise UserError(f"matrix: shape {tuple(matrix.shape)}; expected finite numbers of shape (d_y, d)")
        x_shape = (matrix.shape[1],) if x_shape is None else tuple(x_shape)
        if math.prod(x_shape) != matrix.shape[1]:
            raise UserError(f"matrix: shape {tuple(matrix.shape)} does not fit x of {x_shape}; expected (d_y, d)")
        super().__init__(x_shape, (matrix.shape[0],))
        left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
        self.register_buffer("entries", matrix.double())
        self.register_buffer("left", left)
        self.register_buffer("values", values)
        self.register_buffer("right", right)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.entries.to(x).mT

    def transpose(self, y: Tensor) -> Tensor:
        return (y @ self.entries.to(y)).reshape(len(y), *self.x_shape)

    def svd(self) -> SVD:
        return self._by_factors(self.left, self.values, self.right)


class LinearFunctionOperator(FunctionOperator, LinearOperator):
    """y = f(x) for linear f; A^T is its vector-Jacobian product unless it is given.

    Args:
        f: as for FunctionOperator, linear.
        x_shape: shape of a signal, without the batch.
        transpose: (B, *y_shape) -> (B, *x_shape), A^T y.

    Raises:
        UserError: as for FunctionOperator; f is not linear, or transpose is not its A^T.
    """

    def __init__(
        self,
        f: Callable[[Tensor], Tensor],
        x_shape: tuple[int, ...],
        transpose: Callable[[Tensor], Tensor] | None = None,
    ):
        super().__init__(f, x_shape)
        self._transpose = transpose
        check_linear(self, self.dtypes[0])
        check_adjoint(self, self.dtypes[0])

    def transpose(self, y: Tensor) -> Tensor:
        return super().transpose(y) if self._transpose is None else self._transpose(self._cast(y)).to(y)


class _LinearComposition(Composition, LinearOperator):
    outer: LinearOperator
    inner: LinearOperator

    def transpose(self, y: Tensor) -> Tensor:
        return self.inner.transpose(self.outer.transpose(y))


class _LinearScaled(Scaled, LinearOperator):
    operator: LinearOperator

    def transpose(self, y: Tensor) -> Tensor:
        return self.factor * self.operator.transpose(y)

    def svd(self) -> SVD | None:
        svd, sign = self.operator.svd(), math.copysign(1.0, self.factor)
        if svd is None:
            return None
        return replace(svd, s=abs(self.factor) * svd.s, u=lambda z: sign * svd.u(z), ut=lambda y: sign * svd.ut(y))


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide, and give 0 where the denominator is 0."""
    return torch.where(denominator > 0, numerator / denominator.where(denominator > 0, 1.0), 0.0)

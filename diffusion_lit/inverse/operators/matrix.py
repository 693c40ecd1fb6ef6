"""A linear operator given by its matrix."""

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.base import SVD, LinearOperator

__all__ = ["MatrixOperator"]


class MatrixOperator(LinearOperator):
    """x (B, d) -> A x (B, d_y).

    Args:
        matrix: (d_y, d), finite.

    Raises:
        UserError: not a matrix of finite numbers.
    """

    entries: Tensor
    left: Tensor
    values: Tensor
    right: Tensor

    def __init__(self, matrix: Float[Tensor, "..."]):
        if matrix.ndim != 2 or not bool(matrix.isfinite().all()):
            raise UserError(f"matrix: shape {tuple(matrix.shape)}; expected finite numbers of shape (d_y, d)")
        super().__init__((matrix.shape[1],), (matrix.shape[0],))
        left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
        self.register_buffer("entries", matrix.double())
        self.register_buffer("left", left)
        self.register_buffer("values", values)
        self.register_buffer("right", right)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.entries.to(x).mT

    def transpose(self, y: Tensor) -> Tensor:
        return y @ self.entries.to(y)

    def svd(self) -> SVD:
        return SVD(
            self.values,
            u=lambda z: z @ self.left.to(z).mT,
            ut=lambda y: y @ self.left.to(y),
            v=lambda z: z @ self.right.to(z),
            vt=lambda x: x @ self.right.to(x).mT,
        )

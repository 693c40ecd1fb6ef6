"""Linear operators whose matrix has few entries in a row, the same for every channel."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.inverse.operators.linear import LinearOperator

__all__ = ["SparseOperator"]


class SparseOperator(LinearOperator):
    """y = M x on every channel, M sparse; A^T is the transpose of the same numbers.

    Args:
        x_shape: (C, H, W).
        pixels: shape of a channel of y, without C.
        rows, columns: (n,) places of the entries of M; where a place occurs twice its entries add up.
        values: (n,) the entries.
    """

    indices: Tensor
    values: Tensor

    def __init__(
        self,
        x_shape: tuple[int, int, int],
        pixels: tuple[int, ...],
        rows: Int64[Tensor, " n"],
        columns: Int64[Tensor, " n"],
        values: Float[Tensor, " n"],
    ):
        super().__init__(x_shape, (x_shape[0], *pixels))
        self._size = (math.prod(pixels), math.prod(x_shape[1:]))
        kept = values != 0
        matrix = torch.sparse_coo_tensor(
            torch.stack((rows, columns))[:, kept], values[kept].double(), self._size, check_invariants=True
        ).coalesce()
        self.register_buffer("indices", matrix.indices())
        self.register_buffer("values", matrix.values())

    def _matrix(self, like: Tensor) -> Tensor:
        values = self.values.to(like)
        return torch.sparse_coo_tensor(self.indices, values, self._size, is_coalesced=True, check_invariants=False)

    def _product(self, matrix: Tensor, x: Tensor, pixels: tuple[int, ...]) -> Tensor:
        flat = x.reshape(-1, matrix.shape[1])
        return torch.sparse.mm(matrix, flat.mT).mT.reshape(len(x), -1, *pixels)

    def forward(self, x: Tensor) -> Tensor:
        return self._product(self._matrix(x), x, self.y_shape[1:])

    def transpose(self, y: Tensor) -> Tensor:
        return self._product(self._matrix(y).mT, y, self.x_shape[1:])

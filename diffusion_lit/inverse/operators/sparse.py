"""Linear operators whose matrix has few entries in a row, the same for every channel."""

import math
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.inverse.operators.linear import LinearOperator

__all__ = ["SparseOperator"]


class _Product(torch.autograd.Function):
    """M x for x (n, B), with the derivatives of a linear map: torch's own product has none forwards."""

    @staticmethod
    def forward(x: Tensor, matrix: Tensor) -> Tensor:
        return torch.sparse.mm(matrix, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.matrix = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Product.apply(gradients[0], ctx.matrix.mT), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return _Product.apply(tangents[0], ctx.matrix)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, None], x: Tensor, matrix: Tensor) -> tuple[Tensor, int]:
        x = x.movedim(in_dims[0], -1)
        return _Product.apply(x.flatten(1), matrix).unflatten(1, x.shape[1:]), 2


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
        values = self.values.to(like.device, torch.promote_types(like.dtype, torch.float32))
        return torch.sparse_coo_tensor(self.indices, values, self._size, is_coalesced=True, check_invariants=False)

    def _product(self, matrix: Tensor, x: Tensor, pixels: tuple[int, ...]) -> Tensor:
        flat = x.reshape(-1, matrix.shape[1]).to(matrix.dtype)
        return _Product.apply(flat.mT, matrix).mT.reshape(len(x), -1, *pixels).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self._product(self._matrix(x), x, self.y_shape[1:])

    def transpose(self, y: Tensor) -> Tensor:
        return self._product(self._matrix(y).mT, y, self.x_shape[1:])

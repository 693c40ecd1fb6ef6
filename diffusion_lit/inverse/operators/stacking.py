"""Several operators of the same x as one."""

import math
from itertools import accumulate, pairwise

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.base import Operator
from diffusion_lit.inverse.operators.linear import LinearOperator

__all__ = ["Stack", "stack"]


class Stack(Operator):
    """y = (A_1(x), A_2(x), ...), each flattened, in one flat vector; `split` takes it apart."""

    parts: nn.ModuleList

    def __init__(self, *parts: Operator):
        shapes = {part.x_shape for part in parts}
        if len(shapes) != 1:
            raise UserError(
                f"stack({', '.join(part.name for part in parts)}): x_shapes {sorted(shapes)}; "
                f"stack at least one operator, all of the same x"
            )
        self.sizes = [math.prod(part.y_shape) for part in parts]
        masks = None
        if any(part.observed is not None for part in parts):
            masks = torch.cat(
                [
                    torch.ones(size, dtype=torch.bool) if part.observed is None else part.observed.flatten().cpu()
                    for size, part in zip(self.sizes, parts)
                ]
            )
        super().__init__(shapes.pop(), (sum(self.sizes),), masks)
        self.parts = nn.ModuleList(parts)

    @property
    def name(self) -> str:
        return f"stack({', '.join(part.name for part in self._operators)})"

    @property
    def _operators(self) -> list[Operator]:
        return [part for part in self.parts if isinstance(part, Operator)]

    @property
    def hidden(self) -> Bool[Tensor, "*x_shape"] | None:
        """What all the parts hide."""
        masks = [part.hidden for part in self._operators]
        known = [mask for mask in masks if mask is not None]
        return torch.stack(known).all(0) if len(known) == len(masks) else None

    def split(self, y: Tensor) -> list[Tensor]:
        """Take y (B, d_y) apart into the y_i (B, *y_shape_i)."""
        ends = [0, *accumulate(self.sizes)]
        return [
            y[:, start:end].reshape(len(y), *part.y_shape)
            for part, (start, end) in zip(self._operators, pairwise(ends))
        ]

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x).flatten(1) for part in self._operators], dim=1)


class _LinearStack(Stack, LinearOperator):
    def transpose(self, y: Tensor) -> Tensor:
        back = [part.transpose(own) for part, own in zip(self.parts, self.split(y)) if isinstance(part, LinearOperator)]
        return torch.stack(back).sum(0)


def stack(*operators: Operator) -> Stack:
    """Measure the same x by each operator; y is one flat vector, see `Stack`.

    Raises:
        UserError: they take different shapes, or there are none.
    """
    return (_LinearStack if all(isinstance(o, LinearOperator) for o in operators) else Stack)(*operators)

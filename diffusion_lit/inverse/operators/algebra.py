"""Operators from operators: A after B, a multiple of A, several of the same x. Linear ones stay linear."""

import math
from dataclasses import replace
from itertools import accumulate, pairwise

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.base import Operator
from diffusion_lit.inverse.operators.linear import SVD, LinearOperator

__all__ = ["Composition", "Scaled", "Stack", "compose", "scale", "stack"]


class Composition(Operator):
    """y = A(B(x)); what A measures is measured."""

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


class _LinearComposition(Composition, LinearOperator):
    outer: LinearOperator
    inner: LinearOperator

    def transpose(self, y: Tensor) -> Tensor:
        return self.inner.transpose(self.outer.transpose(y))


class Scaled(Operator):
    """y = c A(x)."""

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


class _LinearScaled(Scaled, LinearOperator):
    operator: LinearOperator

    def transpose(self, y: Tensor) -> Tensor:
        return self.factor * self.operator.transpose(y)

    def svd(self) -> SVD | None:
        svd, sign = self.operator.svd(), math.copysign(1.0, self.factor)
        if svd is None:
            return None
        return replace(svd, s=abs(self.factor) * svd.s, u=lambda z: sign * svd.u(z), ut=lambda y: sign * svd.ut(y))


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


def compose(outer: Operator, inner: Operator) -> Composition:
    """Return x -> outer(inner(x)), which is also `outer @ inner`.

    Raises:
        UserError: the inner one does not give what the outer one takes.
    """
    linear = isinstance(outer, LinearOperator) and isinstance(inner, LinearOperator)
    return (_LinearComposition if linear else Composition)(outer, inner)


def scale(factor: int | float, operator: Operator) -> Scaled:
    """Return x -> factor * operator(x), which is also `factor * operator`.

    Raises:
        UserError: the factor is 0 or not finite.
    """
    return (_LinearScaled if isinstance(operator, LinearOperator) else Scaled)(factor, operator)


def stack(*operators: Operator) -> Stack:
    """Measure the same x by each operator; y is one flat vector, see `Stack`.

    Raises:
        UserError: they take different shapes, or there are none.
    """
    return (_LinearStack if all(isinstance(o, LinearOperator) for o in operators) else Stack)(*operators)

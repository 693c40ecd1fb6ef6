"""The divergence of a field: the trace of its Jacobian, sample by sample, exact or by random projections.

tr J = sum_i e_i^T J e_i exactly, in d vector-Jacobian products;
tr J = E v^T J v for any law of v with E v v^T = I (Hutchinson 1990), in one product a draw.

Both are called as `divergence(field, x, noise) -> (field(x), div field(x))`. Where gradients are enabled both results
can be differentiated again, in the parameters of the field and in x; under `torch.no_grad` they are plain numbers.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from diffusion_lit.randomness import Randomness

__all__ = ["Divergence", "Exact", "GaussianProbe", "Hutchinson", "ProbeLaw", "Rademacher", "Sphere"]

Batch = Float[Tensor, "batch *event"]
Field = Callable[[Tensor], Tensor]
Result = tuple[Float[Tensor, "batch *event"], Float[Tensor, " batch"]]


@runtime_checkable
class Divergence(Protocol):
    """What users of a divergence need: field (B, *) -> (B, *), sample by sample, and x (B, *) give (value, trace)."""

    def __call__(self, field: Field, x: Batch, noise: Randomness | None = None) -> Result: ...


@runtime_checkable
class ProbeLaw(Protocol):
    """A law of directions v with E v v^T = I: `count` of them a sample, (B, count, *event)."""

    def __call__(self, noise: Randomness, count: int, like: Batch) -> Float[Tensor, "batch count *event"]: ...


@dataclass(frozen=True)
class Rademacher:
    """Signs, +1 or -1 with equal chances: the least variance of v^T J v among laws of independent entries."""

    def __call__(self, noise: Randomness, count: int, like: Batch) -> Float[Tensor, "batch count *event"]:
        return (noise.uniform(count, *like.shape[1:]) - 0.5).sign().to(like)


@dataclass(frozen=True)
class GaussianProbe:
    """v ~ N(0, I)."""

    def __call__(self, noise: Randomness, count: int, like: Batch) -> Float[Tensor, "batch count *event"]:
        return noise.normal(count, *like.shape[1:], dtype=like.dtype).to(like.device)


@dataclass(frozen=True)
class Sphere:
    """v uniform on the sphere of radius sqrt(d)."""

    def __call__(self, noise: Randomness, count: int, like: Batch) -> Float[Tensor, "batch count *event"]:
        v = GaussianProbe()(noise, count, like)
        flat = v.flatten(2)
        return (flat * (flat.shape[2] ** 0.5 / flat.norm(dim=2, keepdim=True))).reshape(v.shape)


@dataclass(frozen=True)
class Exact:
    """tr J by one vector-Jacobian product for each of the d dimensions.

    Args:
        chunk: how many products are taken at once, by torch's vmap, each at the memory of one backward pass; None: all
            d. More than one is faster for small networks, and needs layers whose gradients vmap knows: linear ones and
            pointwise functions; not a U-Net's convolutions and group norms.
    """

    chunk: int | None = 1

    def __call__(self, field: Field, x: Batch, noise: Randomness | None = None) -> Result:
        """Return field(x) (B, *) and its divergence (B,); `noise` is not used."""
        with _Graph(x) as graph:
            value = field(graph.x)
            size = x[0].numel()
            basis = torch.eye(size).to(x).reshape(size, 1, *x.shape[1:]).expand(-1, *x.shape)
            trace = torch.zeros(len(x)).to(value)
            for rows in basis.split(self.chunk or size):
                trace = trace + _inner(rows, graph.vjp(value, rows)).sum(0)
        return graph.result(value, trace)


@dataclass(frozen=True)
class Hutchinson:
    """tr J by the mean of v^T J v over random directions (Hutchinson 1990; in FFJORD, Grathwohl et al. 2019).

    Args:
        law: the law of v.
        projections: how many directions a sample.
    """

    law: ProbeLaw = field(default_factory=Rademacher)
    projections: int = 1

    def __call__(self, field: Field, x: Batch, noise: Randomness | None = None) -> Result:
        """Return field(x) (B, *) and the estimate of its divergence (B,), unbiased over `noise`."""
        value, _, forms = self.forms(field, x, noise)
        return value, forms.mean(1)

    def forms(
        self, field: Field, x: Batch, noise: Randomness | None
    ) -> tuple[Batch, Float[Tensor, "batch count *event"], Float[Tensor, "batch count"]]:
        """Return field(x) (B, *), the directions v (B, count, *) and the forms v^T J v (B, count).

        Raises:
            ValueError: no `noise` to draw v from.
        """
        if noise is None:
            raise ValueError("noise: None; random projections are drawn from a Randomness, one stream a sample")
        v = self.law(noise, self.projections, x)
        with _Graph(x) as graph:
            value = field(graph.x)
            forms = _inner(v.transpose(0, 1), graph.vjp(value, v.transpose(0, 1))).mT
        value, forms = graph.result(value, forms)
        return value, v, forms


class _Graph:
    """Gradients in x, whether the caller differentiates or not; kept for him if he does."""

    def __init__(self, x: Tensor):
        self.kept = torch.is_grad_enabled()
        self._given, self._contexts = x, ExitStack()

    def __enter__(self) -> "_Graph":
        # in Lightning's inference mode no gradient can be taken, and its tensors cannot be saved for one
        self._contexts.enter_context(torch.inference_mode(False))
        self._contexts.enter_context(torch.enable_grad())
        self._contexts.enter_context(sdpa_kernel(SDPBackend.MATH))  # the fast ones have no second derivative
        kept_to_x = self.kept and self._given.requires_grad
        self.x = self._given if kept_to_x else self._given.detach().clone().requires_grad_()
        return self

    def __exit__(self, *error) -> None:
        self._contexts.close()

    def vjp(self, value: Tensor, rows: Tensor) -> Tensor:
        """rows^T J for rows (count, B, *)."""

        def pull(cotangent: Tensor, batched: bool) -> Tensor:
            (product,) = torch.autograd.grad(
                value,
                self.x,
                cotangent,
                create_graph=self.kept,
                retain_graph=True,
                is_grads_batched=batched,
                materialize_grads=True,
            )
            return product

        # one row needs no vmap, which some layers do not know
        return pull(rows[0], False)[None] if len(rows) == 1 else pull(rows, True)

    def result(self, value: Tensor, trace: Tensor) -> tuple[Tensor, Tensor]:
        return (value, trace) if self.kept else (value.detach(), trace.detach())


def _inner(a: Tensor, b: Tensor) -> Float[Tensor, "count batch"]:
    return (a * b).flatten(2).sum(2)

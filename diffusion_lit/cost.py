"""What drawing samples costs: calls of the denoiser, and vector-Jacobian products through it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from diffusion_lit.denoise import Denoiser, Posterior

__all__ = ["Cost", "counted"]


@dataclass
class Cost:
    """What a piece of work has cost: calls of the denoiser, and vector-Jacobian products through it, per sample."""

    forwards: int = 0
    vjps: int = 0


@contextmanager
def counted(denoiser: Denoiser) -> Iterator[Cost]:
    """Count the calls of `denoiser`, and the gradients taken through its mean, inside the block."""
    cost = Cost()

    def count_vjp(gradient: Tensor) -> None:
        cost.vjps += 1

    def count_forward(module: nn.Module, args: tuple, result: Posterior) -> None:
        cost.forwards += 1
        if result.mean.requires_grad:
            result.mean.register_hook(count_vjp)

    handle = denoiser.register_forward_hook(count_forward)
    try:
        yield cost
    finally:
        handle.remove()

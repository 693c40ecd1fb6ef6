"""Kernel distance (KID) between populations of images, through their features."""

from typing import Any

from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from diffusion_lit.errors import UserError

__all__ = ["Features", "kernel_distance"]


class Features(Metric):
    """Collect a population's features over batches and processes; `compute` is collective.

    Gathered features come in the order of the processes; the distances do not depend on it.
    """

    full_state_update = False
    features: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("features", [], dist_reduce_fx="cat")

    def update(self, features: Float[Tensor, "batch features"]) -> None:
        """Add features (B, F)."""
        self.features.append(features)

    def compute(self) -> Float[Tensor, "n features"]:
        """Return all features (N, F)."""
        return dim_zero_cat(self.features)


def kernel_distance(x: Float[Tensor, "n features"], y: Float[Tensor, "m features"]) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel (x . y / F + 1)^3.

    All pairs are used, so there are no random subsets; the expectation does not depend on n, and is 0 (with values of
    both signs) for equal populations.

    Args:
        x, y: Features (N, F) and (M, F), N, M >= 2.

    Raises:
        UserError: A population has fewer than two members.

    Source: Binkowski et al., "Demystifying MMD GANs" (arXiv:1801.01401), Sec. 3 and Eq. 4.
    """
    if min(len(x), len(y)) < 2:
        raise UserError(f"kernel distance: {len(x)} and {len(y)} images, but each side needs 2; evaluate on more.")
    x, y = x.double(), y.double()

    def within(a: Tensor) -> Tensor:
        kernel = _kernel(a, a)
        return (kernel.sum() - kernel.trace()) / (len(a) * (len(a) - 1))

    return (within(x) + within(y) - 2 * _kernel(x, y).mean()).item()


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.mT / a.shape[1] + 1) ** 3

"""Kernel distances between samples: KID between images, through their features, and the Gaussian kernel's MMD."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from diffusion_lit.errors import UserError
from diffusion_lit.metrics.estimate import Estimate

__all__ = ["Features", "collect", "kernel_distance", "median_bandwidth", "mmd"]

_PAIRS = 1 << 24  # in memory at a time


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


def collect(features: Float[Tensor, "batch features"]) -> Float[Tensor, "n features"]:
    """Return the features (B, F) of all processes together, in their order; collective, like `Features.compute`."""
    rows = Features().to(features.device)
    rows.update(features)
    return rows.compute()


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
        itself = (a.square().mean(1) + 1).pow(3).sum()
        return (_sum(a, a) - itself) / (len(a) * (len(a) - 1))

    return (within(x) + within(y) - 2 * _sum(x, y) / (len(x) * len(y))).item()


def mmd(x: Float[Tensor, "n *event"], y: Float[Tensor, "m *other"], *, bandwidth: float | None = None) -> Estimate:
    """Unbiased squared maximum mean discrepancy under exp(-|x - y|^2 / (2 b^2)), and its standard error.

    The mean over i != j of h_ij = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i) (Gretton et al. 2012, lemma 6).
    Its error has a part that falls like 1 / sqrt(n) and one like 1 / n, which alone is left where the laws are equal.

    Args:
        x, y: as many independent points each, n >= 3.
        bandwidth: b; the median distance between all points unless given, which then depends on the samples.

    Raises:
        ValueError: the samples are not of the same shape.
    """
    if x.shape != y.shape or len(x) < 3:
        raise ValueError(f"x {tuple(x.shape)}, y {tuple(y.shape)}: give as many points of one shape in both, 3 or more")
    x, y = x.double().flatten(1), y.double().flatten(1)
    b = median_bandwidth(x, y) if bandwidth is None else bandwidth

    def kernel(p: Tensor, q: Tensor) -> Tensor:
        return (-torch.cdist(p, q).square() / (2 * b**2)).exp()

    count, cross = len(x), kernel(x, y)
    h = (kernel(x, x) + kernel(y, y) - cross - cross.mT).fill_diagonal_(0.0)
    value = h.sum() / (count * (count - 1))
    pairs = h.square().sum() / (count * (count - 1)) - value**2
    rows = ((h.sum(1) / (count - 1)).var() - pairs / (count - 1)).clamp_min(0)
    variance = (4 * (count - 2) * rows + 2 * pairs) / (count * (count - 1))
    return Estimate(value.item(), variance.clamp_min(0).sqrt().item())


def median_bandwidth(x: Float[Tensor, "n *event"], y: Float[Tensor, "m *event"]) -> float:
    """The median distance between two points of both samples together (Gretton et al. 2012, section 8)."""
    distances = torch.nn.functional.pdist(torch.cat((x, y)).double().flatten(1))
    return max(distances.median().item(), torch.finfo(torch.float64).tiny)


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """The sum of the kernel over all pairs, some rows at a time: 50,000 x 50,000 would be 20 GB."""
    rows = max(1, _PAIRS // len(b))
    return torch.stack([((part @ b.mT / a.shape[1] + 1) ** 3).sum() for part in a.split(rows)]).sum()

"""Frechet distance between populations of images, through the moments of their features."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

from diffusion_lit.errors import UserError

__all__ = ["Gaussian", "Moments", "floor", "frechet_distance", "gather", "identity"]


class Gaussian(NamedTuple):
    """Mean (F,) and covariance (F, F) of `count` feature vectors, in float64."""

    count: int
    mean: Tensor
    covariance: Tensor

    def distance(self, other: "Gaussian") -> float:
        """Return the Frechet distance to another population; see `frechet_distance`."""
        return frechet_distance(self.mean, self.covariance, other.mean, other.covariance)


class Moments(Metric):
    """Collect the moments of a population's features over batches and processes.

    The states are sums in float64, so the result does not depend on how the population is cut into batches and
    processes, but for rounding. `compute` is collective: every process must call it.

    Args:
        num_features: Size F of a feature vector.
    """

    full_state_update = False
    count: Tensor
    total: Tensor
    outer: Tensor

    def __init__(self, num_features: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        double = torch.float64
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(num_features, dtype=double), dist_reduce_fx="sum")
        self.add_state("outer", torch.zeros(num_features, num_features, dtype=double), dist_reduce_fx="sum")

    def update(self, features: Float[Tensor, "batch features"]) -> None:
        """Add features (B, F)."""
        features = features.to(torch.float64)
        self.count += len(features)
        self.total += features.sum(dim=0)
        self.outer += features.mT @ features

    def compute(self) -> Gaussian:
        """Return the mean and the unbiased covariance.

        Raises:
            UserError: There are fewer than two feature vectors.
        """
        count = int(self.count)
        if count < 2:
            raise UserError(f"moments: a covariance needs 2 or more images, not {count}; evaluate on more.")
        mean = self.total / count
        covariance = (self.outer - count * torch.outer(mean, mean)) / (count - 1)
        return Gaussian(count, mean, covariance)


def gather(features: Float[Tensor, "batch features"], **kwargs: Any) -> Gaussian:
    """Return the moments of the features (B, F) of all processes together; collective, like `Moments.compute`."""
    moments = Moments(features.shape[1], **kwargs).to(features.device)
    moments.update(features)
    return moments.compute()


def frechet_distance(
    mean1: Float[Tensor, " features"],
    cov1: Float[Tensor, "features features"],
    mean2: Float[Tensor, " features"],
    cov2: Float[Tensor, "features features"],
) -> float:
    """Squared 2-Wasserstein distance of two Gaussians: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    With C = R R^T, the trace of the root is the sum of the singular values of R1^T R2: no root of a non-symmetric
    matrix is taken. Rank-deficient covariances are fine.

    Args:
        mean1, mean2: (F,).
        cov1, cov2: (F, F), symmetric and positive semi-definite but for rounding.

    Source: Dowson & Landau, "The Frechet distance between multivariate normal distributions" (1982), Eq. 4; as a
    metric of generators Heusel et al. (arXiv:1706.08500), Eq. 6.
    """
    root = torch.linalg.svdvals(_factor(cov1).mT @ _factor(cov2)).sum()
    distance = (
        (mean1.double() - mean2.double()).square().sum() + cov1.double().trace() + cov2.double().trace() - 2 * root
    )
    return distance.clamp(min=0).item()


def floor(reference: Gaussian, held_out: Float[Tensor, "m features"], n: int) -> float:
    """Frechet distance of the first n held-out images to the reference: what a perfect model would score at n.

    Args:
        reference: Moments of the training images that models are compared with.
        held_out: Features (M, F) of real images that are not in the reference, M >= n.
        n: Number of generated images that the floor is for.

    Raises:
        UserError: There are fewer than n held-out images.
    """
    if len(held_out) < n:
        raise UserError(
            f"floor: {len(held_out)} held-out images < n = {n}, and a Frechet distance depends on n; "
            f"generate {len(held_out)} images or hold out more."
        )
    # every process has all held-out images: summed over processes they would count as more
    return reference.distance(gather(held_out[:n], sync_on_compute=False))


def identity(metric: str, extractor: str, n: int) -> str:
    """Name a distance by all that it depends on: `fd/alex-256@64/n=1000`."""
    return f"{metric}/{extractor}/n={n}"


def _factor(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance.double())
    return vectors * values.clamp(min=0).sqrt()

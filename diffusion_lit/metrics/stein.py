"""Kernel Stein discrepancy: how far a sample is from a law of which only the score is known."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

__all__ = ["SteinDiscrepancy", "stein_discrepancy"]


@dataclass(frozen=True, eq=False)
class SteinDiscrepancy:
    """What the Stein kernel u_p(x_i, x_j) of a sample says.

    Attributes:
        kernel: (N, N) u_p.
        size: d, of a point.
    """

    kernel: Float64[Tensor, "n n"]
    size: int

    @property
    def u_statistic(self) -> float:
        """sum_{i != j} u_p / (N (N - 1)): the squared discrepancy, unbiased, of both signs at 0."""
        count = len(self.kernel)
        return ((self.kernel.sum() - self.kernel.trace()) / (count * (count - 1))).item()

    @property
    def standard_error(self) -> float:
        """Of `u_statistic`, far from 0 and at it: the variances of rows and of pairs (Hoeffding 1948, eq. 5.13)."""
        count = len(self.kernel)
        off = self.kernel - self.kernel.diag().diag()
        pairs = off.square().sum() / (count * (count - 1)) - self.u_statistic**2
        rows = ((off.sum(1) / (count - 1)).var() - pairs / (count - 1)).clamp_min(0)
        return ((4 * (count - 2) * rows + 2 * pairs) / (count * (count - 1))).clamp_min(0).sqrt().item()

    @property
    def v_statistic(self) -> float:
        """sum_{i, j} u_p / N^2 >= 0: the squared discrepancy of the empirical law, above 0 for exact samples."""
        return self.kernel.mean().item()

    @property
    def score_ksd(self) -> float:
        """(1 / N) sqrt(sum_{i, j} u_p / d), the form of arXiv:2602.04189.

        For exact samples it is about sqrt(E u_p(x, x) / (N d)) and so NOT the least possible: N points at the mode,
        whose scores are 0, have a lower one. Never read it alone.
        """
        return max(self.v_statistic / self.size, 0.0) ** 0.5


def stein_discrepancy(
    x: Float[Tensor, "n *event"], score: Float[Tensor, "m *other"], *, c: float = 1.0, beta: float = -0.5
) -> SteinDiscrepancy:
    """The Stein kernel of the inverse multiquadric k = (c^2 + |x - y|^2)^beta (Gorham & Mackey 2017, section 4).

    u_p(x, y) = s(x)^T s(y) k + s(x)^T grad_y k + s(y)^T grad_x k + tr grad_x grad_y k   (Liu et al. 2016, theorem 3.6)

    Its mean is 0 if x is of the law with this score. Heavy enough tails of k keep it from missing points that stray.

    Args:
        x: (N, *event), N >= 2.
        score: (N, *event) grad log p at x, of the law that x should have.
        c: length at which points count as near, > 0.
        beta: in (-1, 0).

    Raises:
        ValueError: the shapes differ, or fewer than two points.
    """
    if x.shape != score.shape or len(x) < 2:
        raise ValueError(f"x {tuple(x.shape)}, score {tuple(score.shape)}: give two or more points, a score for each")
    x, score = x.double().flatten(1), score.double().flatten(1)
    size = x.shape[1]
    square = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
    base = c**2 + square
    along = (score * x).sum(1)
    # (s(y) - s(x))^T (x - y), of grad_x k = 2 beta base^(beta - 1) (x - y) = - grad_y k
    cross = x @ score.mT
    drift = cross + cross.mT - along - along[:, None]
    kernel = (
        base**beta * (score @ score.mT)
        + 2 * beta * base ** (beta - 1) * (drift - size)
        - 4 * beta * (beta - 1) * base ** (beta - 2) * square
    )
    return SteinDiscrepancy(kernel, size)

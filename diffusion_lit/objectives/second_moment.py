"""The loss-second-moment law of steps: draw those whose losses are large (Nichol & Dhariwal 2021, section 3.3)."""

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from diffusion_lit.noise import Schedule

__all__ = ["LossSecondMoment"]

Batch = Float[Tensor, " batch"]
Times = Float[Tensor, "*times"]


class LossSecondMoment(nn.Module):
    """p_i ~ sqrt(E L_i^2) over the last `history` losses of step i, t = i / steps: the least variance of L / p.

    Uniform until every step has its losses. The losses are buffers, so that a checkpoint of the module that holds the
    objective has them and a resumed run goes on as it would have; processes of one group share theirs.

    Args:
        steps: of the chain, T.
        history: losses kept of each step.
        uniform: share of the mass that stays uniform, so that no step is forgotten (0.001 in the published code).
    """

    losses: Tensor
    counts: Tensor

    def __init__(self, steps: int = 1000, history: int = 10, uniform: float = 0.001):
        super().__init__()
        self.steps, self.history, self.uniform = steps, history, uniform
        self.register_buffer("losses", torch.zeros(steps, history, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(steps, dtype=torch.int64))

    @property
    def probabilities(self) -> Float[Tensor, " steps"]:
        """p_i, i = 1..T."""
        moments = self.losses.square().mean(1).sqrt()
        if int(self.counts.min()) < self.history:
            moments = torch.ones_like(moments)
        return (1 - self.uniform) * moments / moments.sum() + self.uniform / self.steps

    def forward(self, u: Batch, schedule: Schedule) -> Batch:
        """The quantile function: u (B,) in (0, 1) -> t (B,) of the chain."""
        edges = self.probabilities.cumsum(0)
        index = torch.searchsorted(edges, u.to(edges)).clamp(max=self.steps - 1)
        return ((index + 1) / self.steps).to(u)

    def density(self, t: Times, schedule: Schedule) -> Times:
        """T p_i: relative to equal chances."""
        return (self.steps * self.probabilities[self._index(t)]).to(t)

    @torch.no_grad()
    def record(self, t: Batch, losses: Batch) -> None:
        """Take in the losses (B,) of the steps t (B,), of all processes of the group, which have B each."""
        seen = torch.stack((self._index(t).double(), losses.double()), dim=1)
        if dist.is_available() and dist.is_initialized():
            shares = [torch.empty_like(seen) for _ in range(dist.get_world_size())]
            dist.all_gather(shares, seen)
            seen = torch.cat(shares)
        for index, loss in seen.tolist():
            step = int(index)
            self.losses[step, int(self.counts[step]) % self.history] = loss  # the oldest goes
            self.counts[step] += 1

    def _index(self, t: Tensor) -> Tensor:
        return (t * self.steps).round().long() - 1

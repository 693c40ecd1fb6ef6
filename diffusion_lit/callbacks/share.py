"""Every process does an equal share, by sample id; numbers meet once, at the end."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

from diffusion_lit.callbacks.heartbeat import Heartbeat, Interrupted

__all__ = ["Columns", "Share"]


class Columns(Metric):
    """Rows of named numbers from all processes; `compute` is collective and returns the mean of each column.

    The sums are in float64, so that the number of processes shows in the rounding only.
    """

    full_state_update = False
    total: Tensor
    rows: Tensor

    def __init__(self, names: list[str]):
        super().__init__()
        self.names = names
        self.add_state("total", torch.zeros(len(names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("rows", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, columns: dict[str, Tensor]) -> None:
        """Add one row a sample: each column is (B,)."""
        values = torch.stack([columns[name].double().to(self.total.device) for name in self.names])
        self.total += values.sum(1)
        self.rows += values.shape[1]

    def compute(self) -> dict[str, float]:
        return dict(zip(self.names, (self.total / self.rows).tolist()))


@dataclass(frozen=True)
class Share:
    """One process of several.

    Args:
        rank: of this process.
        world_size: number of processes.
        heartbeat: by which they wait for each other; None waits for nobody.
        signal: tells the number of the signal that asked this process to stop, 0 if none did.
    """

    rank: int = 0
    world_size: int = 1
    heartbeat: Heartbeat | None = None
    signal: Callable[[], int] = lambda: 0

    def of(self, n: int) -> range:
        """This process's part of 0..n-1: neighbouring numbers, so that the first ones are all on the first process."""
        return range(n * self.rank // self.world_size, n * (self.rank + 1) // self.world_size)

    def meet(self) -> None:
        """Wait until all processes have done their part, before a collective that would not wait as long."""
        if self.heartbeat is not None:
            self.heartbeat.meet()

    def check(self) -> None:
        """To be called between two batches: leave the evaluation if a process shall stop, all processes together.

        Raises:
            Interrupted: one shall.
        """
        number = self.signal()
        if self.heartbeat is not None:
            self.heartbeat.check(number)
        elif number:
            raise Interrupted(number)

    def mean(self, scores: dict[str, Tensor], device: torch.device) -> dict[str, float]:
        """The mean of each column (B,) over the samples of all processes, which meet on `device`; collective."""
        self.meet()
        columns = Columns(list(scores)).to(device)
        columns.update(scores)
        return columns.compute()

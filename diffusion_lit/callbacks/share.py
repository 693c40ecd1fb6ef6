"""Every process does an equal share, by sample id; numbers meet once, at the end."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor
from torchmetrics import Metric

from diffusion_lit.callbacks.heartbeat import Heartbeat, Interrupted
from diffusion_lit.data.loader import part_of
from diffusion_lit.metrics.kernel import collect

__all__ = ["Columns", "Part", "Share"]


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
        return part_of(n, self.rank, self.world_size)

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

    def part(self, n: int) -> "Part":
        """This process's part of n samples, to be put together with those of the others."""
        return Part(torch.tensor(self.of(n) or range(1)), len(self.of(n)), self)


@dataclass(frozen=True)
class Part:
    """What a process does of several samples; where there are more processes than samples, the first one once more.

    So every process computes the same things, and all take part in what is collective; what is done twice counts once.

    Args:
        samples: numbers of those that it does, at least one.
        count: how many of them count, the first ones: all or none.
        share: of the process.
    """

    samples: Int64[Tensor, " samples"]
    count: int
    share: Share

    def mean(self, scores: dict[str, Tensor], device: torch.device) -> dict[str, float]:
        """The mean of each column (samples,) over the samples of all processes, which meet on `device`; collective."""
        self.share.meet()
        columns = Columns(list(scores)).to(device)
        columns.update({name: score[: self.count] for name, score in scores.items()})
        return columns.compute()

    def gather(self, rows: Tensor, device: torch.device, first: int) -> Tensor:
        """The rows (samples, *) of all processes in the order of the samples, the first ones; collective."""
        self.share.meet()
        wanted = rows[: self.count][(self.samples[: self.count] < first).to(rows.device)]
        return collect(wanted.flatten(1).to(device)).reshape(-1, *rows.shape[1:]).to(rows)

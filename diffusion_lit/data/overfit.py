"""The same few images again and again: what debug=overfit learns by heart."""

from collections.abc import Iterator
from itertools import count, islice
from typing import Any

from torch import Tensor

from diffusion_lit.data.datamodule import ShardsDataModule
from diffusion_lit.data.loader import StreamLoader

__all__ = ["OneBatchDataModule"]


class OneBatchDataModule(ShardsDataModule):
    """Train on the first batch of the stream only; its positions go on, so that it gets new noise each time."""

    def train_dataloader(self) -> Any:
        return _Again(super().train_dataloader(), self.batch_size, self._progress)


class _Again:
    def __init__(self, loader: StreamLoader, batch_size: int, images_seen: Any):
        self.loader, self.batch_size, self.images_seen = loader, batch_size, images_seen

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        loader = self.loader
        stream = loader.stream
        batch = list(islice(stream.pieces(0, stream.seek(0, loader.lanes), loader.parts), loader.parts))
        for step in count(self.images_seen() // self.batch_size):
            for part in batch:
                yield part | {"position": part["position"] + step * self.batch_size}

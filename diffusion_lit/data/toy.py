"""The DataModule of a toy distribution: an endless stream of exact samples, and held-out ones."""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float32, Int64
from lightning.pytorch import LightningDataModule
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.randomness import Randomness
from diffusion_lit.toys import Source

__all__ = ["ToyDataModule"]

_SPLITS = {"train": 0, "validation": 1, "test": 2}
_HELD_OUT = 10_000


class ToyDataModule(LightningDataModule):
    """Serve fresh samples of a toy; sample p of the stream depends on (seed, p) only.

    Args:
        toy: the distribution.
        batch_size: samples in a GLOBAL batch, over all ranks.
        seed: of the stream; the held-out samples do not depend on it.
        scale: factor of the samples, so that the network sees about unit variance.
        images_seen: where the stream starts.
    """

    classes = None
    splits = tuple(_SPLITS)

    def __init__(self, toy: Source, batch_size: int, seed: int = 0, scale: float = 1.0, images_seen: int = 0):
        super().__init__()
        self.toy, self.batch_size, self.seed, self.scale, self.images_seen = toy, batch_size, seed, scale, images_seen

    @property
    def shape(self) -> tuple[int]:
        """(d,) of a sample."""
        return (self.toy.size,)

    @property
    def description(self) -> dict[str, Any]:
        """What the run record keeps of the data; `identity` is of the first held-out samples."""
        bits = self.images("test")[:100].numpy().tobytes()
        return {
            "toy": type(self.toy).__name__,
            "shape": list(self.shape),
            "scale": self.scale,
            "identity": hashlib.sha256(bits).hexdigest()[:10],
        }

    def train_dataloader(self) -> "_Fresh":
        """Build the endless training stream of this rank; raises UserError if the ranks do not divide the batch."""
        return _Fresh(self)

    def held_out(self, split: str, n: int | None = None) -> dict[str, Tensor]:
        """The first n samples of a split (10,000 without n): "image" (n, d), "id" and "position" 0..n-1.

        Raises:
            UserError: no such split.
        """
        if split not in _SPLITS:
            raise UserError(f"{split}: a toy has the splits {', '.join(_SPLITS)}")
        positions = torch.arange(_HELD_OUT if n is None else n)
        return {"image": self._draw(0, positions, split), "id": positions, "position": positions}

    def test_dataloader(self) -> list[dict[str, Tensor]]:
        """2,000 test samples, in batches of this process's share."""
        rank, ranks = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        mine = {key: value[rank::ranks] for key, value in self.held_out("test", 2_000).items()}
        batches = [value.split(max(1, self.batch_size // ranks)) for value in mine.values()]
        return [dict(zip(mine, parts)) for parts in zip(*batches)]

    def images(self, split: str) -> Float32[Tensor, "n d"]:
        """10,000 samples of a split."""
        return self.held_out(split)["image"]

    def state_dict(self) -> dict[str, Any]:
        """Say where the stream stands."""
        return {"images_seen": self._progress()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a run stood."""
        self.images_seen = state_dict["images_seen"]

    def _draw(self, seed: int, positions: Int64[Tensor, " n"], split: str) -> Float32[Tensor, "n d"]:
        # two integers name a sample: the objective's noise is named by (seed, position) alone, and must not be the same
        names = torch.stack((positions, torch.full_like(positions, _SPLITS[split])), 1)
        return (self.scale * self.toy.draw(Randomness(seed, names))).float()

    def _progress(self) -> int:
        if self.trainer is None:
            return self.images_seen
        return max(self.images_seen, int(getattr(self.trainer.lightning_module, "images_seen", 0)))


class _Fresh:
    def __init__(self, data: ToyDataModule):
        self.data = data
        trainer = data.trainer
        self.rank, ranks = (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)
        parts = 1 if trainer is None else trainer.accumulate_grad_batches
        if data.batch_size % (ranks * parts):
            raise UserError(
                f"batch_size: {data.batch_size} is not a multiple of {ranks} processes x {parts} accumulated batches; "
                "choose one"
            )
        self.share = data.batch_size // ranks
        self.part = self.share // parts

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        start = self.data._progress()
        while True:
            for positions in (start + self.rank * self.share + torch.arange(self.share)).split(self.part):
                yield {"image": self.data._draw(self.data.seed, positions, "train"), "position": positions}
            start += self.data.batch_size

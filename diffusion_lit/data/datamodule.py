"""The LightningDataModule of a pack: training stream, validation, test and the held-out images."""

from typing import Any

import torch
from jaxtyping import Float32, Int64
from lightning.pytorch import LightningDataModule
from torch import Tensor

from diffusion_lit.data.cache import Cache
from diffusion_lit.data.loader import HeldOutLoader, StreamLoader
from diffusion_lit.data.manifest import Manifest
from diffusion_lit.data.shards import Sample, collate, read_shard
from diffusion_lit.errors import UserError

__all__ = ["ShardsDataModule"]


class ShardsDataModule(LightningDataModule):
    """Serve the shards of one pack, with or without a Trainer.

    Args:
        root: folder or URL of the pack.
        batch_size: images in a GLOBAL batch, over all ranks; a multiple of `lanes`.
        num_workers: reading processes of each rank.
        lanes: virtual lanes of the stream; a multiple of ranks x max(1, num_workers), at most the training shards.
        block: shards that a lane mixes at a time; a rank holds lanes / ranks x block shards in memory, with workers
            twice as many, for they read ahead.
        seed: of the order of the stream.
        images_seen: where the stream starts.
        cache: folder of this machine's disk that keeps shards that come by a URL; None keeps none.
        cache_gib: what may lie in it, in GiB, for all processes of the machine together.
        start_method: of the reading processes: "fork", "forkserver" or "spawn"; None takes Python's default.
    """

    def __init__(
        self,
        root: str,
        batch_size: int,
        num_workers: int = 0,
        lanes: int = 8,
        block: int = 2,
        seed: int = 0,
        images_seen: int = 0,
        cache: str | None = None,
        cache_gib: float = 20.0,
        start_method: str | None = None,
    ):
        super().__init__()
        self.root = root
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.lanes = lanes
        self.block = block
        self.seed = seed
        self.images_seen = images_seen
        self.cache = None if cache is None else Cache(cache, cache_gib)
        self.start_method = start_method
        self._compared = False
        self._manifest: Manifest | None = None

    @property
    def manifest(self) -> Manifest:
        """The pack's manifest, read and checked when first asked for; raises UserError as `Manifest.read` does."""
        if self._manifest is None:
            self._manifest = Manifest.read(self.root, self.cache)
        return self._manifest

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return list(self.manifest.splits)

    @property
    def description(self) -> dict[str, Any]:
        """What run.json says of the data."""
        return self.manifest.summary

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return self.manifest.shape

    @property
    def classes(self) -> int | None:
        """Number of classes, None without labels."""
        return self.manifest.classes

    @property
    def moments(self) -> dict[str, list[float]]:
        """Mean and standard deviation of each channel of the training split, in [-1, 1] units."""
        return self.manifest.moments

    def setup(self, stage: str | None = None) -> None:
        """Check the manifest and that lanes, batch size, ranks and workers divide; raises UserError if not."""
        self._compared = False
        self.train_dataloader()

    def train_dataloader(self) -> StreamLoader:
        """Build the endless training stream of this rank, starting at the images seen when iteration starts."""
        rank, world_size = self._place()
        return StreamLoader(
            self.manifest,
            self.batch_size,
            seed=self.seed,
            images_seen=self._progress,
            lanes=self.lanes,
            rank=rank,
            world_size=world_size,
            num_workers=self.num_workers,
            block=self.block,
            start_method=self.start_method,
            parts=1 if self.trainer is None else self.trainer.accumulate_grad_batches,
        )

    def transfer_batch_to_device(
        self, batch: dict[str, Tensor], device: torch.device, dataloader_idx: int
    ) -> dict[str, Tensor]:
        """Copy by way of pinned memory, from which a GPU takes it in its turn; else we would wait for that."""
        if device.type == "cuda":
            batch = {key: value.pin_memory() for key, value in batch.items()}
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        """Compare the first training batch of all processes, once; raises UserError if two of them read one image."""
        trainer = self.trainer
        if trainer is not None and trainer.training and trainer.world_size > 1 and not self._compared:
            self._compared = True
            _refuse_duplicates(trainer.strategy.all_gather(batch["position"]))
        return batch

    def val_dataloader(self) -> HeldOutLoader | list[HeldOutLoader]:
        """Build the finite loader of this rank's share of the validation split; an empty list without such a split."""
        return self._held_out_loader("validation")

    def test_dataloader(self) -> HeldOutLoader | list[HeldOutLoader]:
        """Build the finite loader of this rank's share of the test split; an empty list without such a split."""
        return self._held_out_loader("test")

    def held_out(self, split: str, n: int | None = None) -> dict[str, Tensor]:
        """Read the first n samples of a split by ascending id, all without n: the same on every rank.

        Returns:
            "image" (n, C, H, W) in [-1, 1], "label" (if any), "id", "position" (0..n-1), each with n rows.

        Raises:
            UserError: no such split, or it has fewer than n images.
        """
        shards, count = self.manifest.shards(split), self.manifest.count(split)
        if n is not None and not 0 < n <= count:
            raise UserError(
                f"{split}: {n} images asked for, {count} in {self.root}. Ask for between 1 and {count}, or pack a "
                "larger source."
            )
        samples: list[Sample] = []
        for shard in shards:
            samples += read_shard(self.manifest, shard)
            if n is not None and len(samples) >= n and split != "train":  # the others are packed by ascending id
                break
        samples = sorted(samples, key=lambda sample: sample.id)[:n]
        return collate(samples, self.shape, range(len(samples)))

    def share(self, split: str, batch_size: int = 256) -> HeldOutLoader:
        """Read this rank's share of a split, a batch at a time; raises UserError if there is no such split."""
        return HeldOutLoader(self.manifest, split, batch_size, *self._place())

    def images(self, split: str) -> Float32[Tensor, "n channel height width"]:
        """Read all images of a split by ascending id, in [-1, 1]; they must fit into memory."""
        return self.held_out(split)["image"]

    def state_dict(self) -> dict[str, Any]:
        """Say where the stream stands: images seen, and what must stay equal for it to go on."""
        return {"images_seen": self._progress(), **self._fixed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a run stood; raises UserError if lanes, block, seed or pack differ from its own."""
        for name, here in self._fixed().items():
            there = state_dict[name]
            if here != there:
                mend = (
                    f"set data.root to the pack of that run (here {self.root})"
                    if name == "manifest"
                    else f"set {name}={there}"
                )
                raise UserError(
                    f"{name}: {here} here, {there} in the checkpoint; the order of the images would change in mid-run. "
                    f"To continue it, {mend}; or start a new run."
                )
        self.images_seen = state_dict["images_seen"]

    def _fixed(self) -> dict[str, Any]:
        return {"lanes": self.lanes, "block": self.block, "seed": self.seed, "manifest": self.manifest.identity}

    def _place(self) -> tuple[int, int]:
        """Rank and world size, asked of the trainer in the main process (a worker would not know them)."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _progress(self) -> int:
        """Images seen: what the module counted since, if it trains; else where the stream was told to start.

        Lightning iterates the loader anew in every epoch, so the loader asks when iteration starts.
        """
        if self.trainer is None:
            return self.images_seen
        return max(self.images_seen, int(getattr(self.trainer.lightning_module, "images_seen", 0)))

    def _held_out_loader(self, split: str) -> HeldOutLoader | list[HeldOutLoader]:
        if split not in self.manifest.splits:
            return []
        return self.share(split, max(1, self.batch_size // self._place()[1]))


def _refuse_duplicates(positions: Int64[Tensor, "ranks n"]) -> None:
    found, times = positions.unique(return_counts=True)
    if int(times.max()) > 1:
        place = int(found[times.argmax()])
        ranks = (positions == place).any(1).nonzero().flatten().tolist()
        raise UserError(
            f"place {place} of the stream was read by ranks {', '.join(map(str, ranks))}: they do not know their rank, "
            "and train on the same images. Start all of them by one launcher (srun, torchrun, or Lightning's own)."
        )

"""The DataModule serves a pack with and without a Trainer, and continues a run."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from diffusion_lit.data import Manifest, Shard, ShardsDataModule, StreamLoader, datamodule, pack
from diffusion_lit.data.shards import Sample, read_shard
from diffusion_lit.errors import UserError


class _Recorder(LightningModule):
    """Learn nothing; write down which images came."""

    def __init__(self) -> None:
        super().__init__()
        self.images_seen = 0
        self.positions: list[int] = []
        self.validated: list[int] = []
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        self.positions += batch["position"].tolist()
        return self.weight * batch["image"].mean()

    def on_train_batch_end(self, outputs: object, batch: dict[str, Tensor], index: int) -> None:
        self.images_seen += len(batch["image"])

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        self.validated += batch["position"].tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["images_seen"] = self.images_seen

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.images_seen = checkpoint["images_seen"]


def _trainer(folder: Path, **given: object) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=folder, **quiet, **given)  # pyright: ignore[reportArgumentType]


def test_plain_use(digits: Manifest) -> None:
    data = ShardsDataModule(digits.root, 16, images_seen=32)
    data.setup()
    assert (data.shape, data.classes, data.moments) == ((1, 8, 8), 10, digits.moments)
    assert next(iter(data.train_dataloader()))["position"][0] == 32
    assert sum(len(batch["id"]) for batch in data.val_dataloader()) == 177
    assert sum(len(batch["id"]) for batch in data.test_dataloader()) == 176
    held = data.held_out("test", 40)
    assert held["image"].shape == (40, 1, 8, 8)
    assert held["id"].tolist() == sorted(data.held_out("test")["id"].tolist())[:40]
    assert data.images("validation").shape == (177, 1, 8, 8)


def test_few_held_out_images_are_read_from_few_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Shard] = []

    def spy(manifest: Manifest, shard: Shard) -> list[Sample]:
        read.append(shard)
        return read_shard(manifest, shard)

    small = pack("digits", tmp_path / "small", shards=40, progress=False)
    assert len(small.shards("test")) == 5
    data = ShardsDataModule(small.root, 40)
    whole = data.held_out("test")
    assert whole["id"].equal(whole["id"].sort().values)
    monkeypatch.setattr(datamodule, "read_shard", spy)
    assert data.held_out("test", 40)["id"].equal(whole["id"][:40])
    assert read == small.shards("test")[:2]


def test_too_few_images_and_missing_splits_are_explained(digits: Manifest, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="test: 999 images asked for, 176"):
        ShardsDataModule(digits.root, 16).held_out("test", 999)
    with pytest.raises(UserError, match="no split 'future'"):
        ShardsDataModule(digits.root, 16).held_out("future")


def test_setup_explains_numbers_that_do_not_divide(digits: Manifest) -> None:
    with pytest.raises(UserError, match="batch_size: 12"):
        ShardsDataModule(digits.root, 12).setup()
    with pytest.raises(UserError, match="= 1 ranks x 3 workers"):
        ShardsDataModule(digits.root, 16, num_workers=3).setup()


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:.*does not have many workers:UserWarning")
def test_lightning_trains_validates_and_continues_without_a_gap(digits: Manifest, tmp_path: Path) -> None:
    module, data = _Recorder(), ShardsDataModule(digits.root, 16)
    trainer = _trainer(tmp_path, max_steps=7, limit_train_batches=4, enable_checkpointing=False, num_sanity_val_steps=0)
    trainer.fit(module, datamodule=data)
    assert module.positions == list(range(7 * 16))  # a new epoch goes on after the 4th batch
    assert module.validated[:177] == list(range(177))
    trainer.save_checkpoint(tmp_path / "last.ckpt")

    again, data = _Recorder(), ShardsDataModule(digits.root, 16)
    _trainer(tmp_path, max_steps=10, enable_checkpointing=False, limit_val_batches=0).fit(
        again, datamodule=data, ckpt_path=tmp_path / "last.ckpt"
    )
    assert again.positions == list(range(7 * 16, 10 * 16))


def test_another_order_or_pack_is_not_continued(digits: Manifest, tmp_path: Path) -> None:
    state = ShardsDataModule(digits.root, 16, images_seen=160).state_dict()
    same = ShardsDataModule(digits.root, 16)
    same.load_state_dict(state)
    assert same.images_seen == 160
    for change, message in [({"lanes": 4}, "lanes: 4 here, 8 in"), ({"seed": 1}, "seed: 1 here, 0 in")]:
        with pytest.raises(UserError, match=message):
            ShardsDataModule(digits.root, 16, **change).load_state_dict(state)
    pack("digits", tmp_path / "other", seed=1, progress=False)
    with pytest.raises(UserError, match=r"manifest: .*set data\.root to the pack of that run"):
        ShardsDataModule(str(tmp_path / "other"), 16).load_state_dict(state)


def test_processes_that_read_the_same_images_are_stopped(digits: Manifest) -> None:
    def first_batch(ranks: list[int]) -> dict[str, Tensor]:
        loaders = [iter(StreamLoader(digits, 16, images_seen=32, rank=rank, world_size=2)) for rank in ranks]
        batches = [next(loader) for loader in loaders]
        together = SimpleNamespace(all_gather=lambda positions: torch.stack([b["position"] for b in batches]))
        data = ShardsDataModule(digits.root, 16)
        data.trainer = SimpleNamespace(training=True, world_size=2, strategy=together)
        return data.on_after_batch_transfer(batches[0], 0)

    assert len(first_batch([0, 1])["id"]) == 8
    with pytest.raises(UserError, match=r"place 32 of the stream was read by ranks 0, 1: .*by one launcher"):
        first_batch([0, 0])

"""A training step queues its work on the device and asks it for no number, which would wait for all before it."""

import traceback

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule
from torch.utils._python_dispatch import TorchDispatchMode

from diffusion_lit.callbacks import EMA, FiniteLoss, GracefulStop, TrainingLog
from diffusion_lit.data import ShardsDataModule
from tests.callbacks.stage import LIGHTNING, fit, make_module

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)
QUESTIONS = ("_local_scalar_dense", "nonzero", "masked_select", "aten.equal", "unique")


class Ear(TorchDispatchMode):
    """Note the operators whose result the host waits for, and who calls them."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(name in str(func) for name in QUESTIONS):
            ours = [frame for frame in traceback.extract_stack() if "diffusion_lit/" in frame.filename]
            self.heard.append(f"{ours[-1].filename.rpartition('/')[2]}: {ours[-1].name}" if ours else str(func))
        return func(*args, **(kwargs or {}))


class Listen(Callback):
    """From the start of the third step to the end of the fourth."""

    def __init__(self):
        self.ear = Ear()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 2:
            self.ear.__enter__()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 3:
            self.ear.__exit__(None, None, None)


def test_a_step_asks_for_no_number_but_whether_the_loss_is_finite(root, tmp_path):
    listen = Listen()
    callbacks = [GracefulStop(), EMA((0.05,)), FiniteLoss(str(tmp_path)), TrainingLog(every=10_000), listen]
    fit(tmp_path, root, make_module(), callbacks, 6)
    # the range of times is looked at on the CPU only; `value` waits for the forward pass, with the backward one queued
    assert set(listen.ear.heard) == {"noise.py: __call__", "finite.py: value"}
    assert listen.ear.heard.count("finite.py: value") == 2


def test_a_batch_goes_to_a_gpu_by_way_of_pinned_memory(monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    monkeypatch.setattr(LightningDataModule, "transfer_batch_to_device", lambda self, batch, device, index: batch)
    data = ShardsDataModule("nowhere", 4)
    batch = {"image": torch.zeros(4, 1, 2, 2), "id": torch.arange(4)}
    assert data.transfer_batch_to_device(batch, torch.device("cpu"), 0) is batch
    assert not pinned
    data.transfer_batch_to_device(batch, torch.device("cuda", 0), 0)
    assert [len(tensor) for tensor in pinned] == [4, 4]

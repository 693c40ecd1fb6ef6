"""A signal in an evaluation: it is left at once, training saves, and the evaluation is run when training goes on."""

import os
import signal
import threading

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch import Callback
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

from diffusion_lit.callbacks import Checkpoints, GracefulStop, Periodic
from diffusion_lit.callbacks.evaluation import Evaluation
from diffusion_lit.callbacks.heartbeat import Heartbeat, Interrupted
from diffusion_lit.callbacks.share import Share
from diffusion_lit.tracking.jsonl import JsonlLogger
from diffusion_lit.tracking.record import RunRecord
from tests.callbacks.stage import LIGHTNING, fit, make_module

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)
METRIC = "restoration/box/dps/raw/psnr"


class Slow:
    """An evaluator of three batches whose number is the weights' sum; a signal comes in the middle of some calls."""

    def __init__(self, interrupted: tuple[int, ...] = ()):
        self.calls, self.batches, self.interrupted = 0, 0, interrupted

    def __call__(self, denoiser, data, share, weights):
        self.calls += 1
        for batch in range(3):
            share.check()
            self.batches += 1
            if self.calls in self.interrupted and batch == 1:
                os.kill(os.getpid(), signal.SIGUSR1)
        return Evaluation({METRIC: float(sum(p.double().sum() for p in denoiser.parameters()))})


def run(folder, root, evaluator, steps, **more):
    """Train with two evaluations every two steps, which a resume tells apart."""
    stop = GracefulStop()
    evaluations = [Periodic(Slow(), str(folder), every=32), Periodic(evaluator, str(folder), every=32)]
    callbacks = [stop, *evaluations, Checkpoints(str(folder / "checkpoints"), every=10_000, best=METRIC)]
    fit(folder, root, make_module(), callbacks, steps, logger=JsonlLogger(folder, 16), **more)
    return stop, evaluations


def values(folder):
    return [(line["images_seen"], line[METRIC]) for line in RunRecord(folder).read_metrics() if METRIC in line]


def test_it_is_left_at_once_and_made_up_for(root, tmp_path):
    left, alone = tmp_path / "left", tmp_path / "alone"
    run(alone, root, Slow(), 6)
    interrupted = Slow(interrupted=(2,))
    stop, _ = run(left, root, interrupted, 6)
    assert (stop.stopped, stop.exit_code, interrupted.batches) == ("SIGUSR1", 75, 3 + 2)
    last = left / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["diffusion_lit"]["images_seen"] == 64, "of the very step"
    assert values(left) == values(alone)[:3], "the first of the two at this step was whole"
    _, (first, second) = run(left, root, Slow(), 6, ckpt_path=last)
    assert (first.evaluator.calls, second.evaluator.calls) == (1, 2)
    assert values(left) == values(alone)
    bests = [torch.load(f / "checkpoints" / "best.ckpt", weights_only=True) for f in (left, alone)]
    assert bests[0]["diffusion_lit"]["images_seen"] == bests[1]["diffusion_lit"]["images_seen"]


def test_one_that_is_due_when_training_was_told_to_stop_is_not_begun(root, tmp_path):
    evaluator = Slow(interrupted=(1,))
    stop = GracefulStop()
    evaluations = [Periodic(evaluator, str(tmp_path), every=32), Periodic(late := Slow(), str(tmp_path), every=32)]
    checkpoints = Checkpoints(str(tmp_path / "checkpoints"), every=10_000)
    fit(tmp_path, root, make_module(), [stop, *evaluations, checkpoints], 4)
    assert (evaluator.calls, late.calls) == (1, 0)
    assert [one.evaluated_at for one in evaluations] == [-1, -1]


def test_a_checkpoint_that_does_not_tell_of_evaluations_owes_none(root, tmp_path):
    run(tmp_path, root, Slow(), 2)
    last = tmp_path / "checkpoints" / "last.ckpt"
    older = torch.load(last, weights_only=True)
    del older["evaluated_at"]
    torch.save(older, last)
    _, (first, _) = run(tmp_path, root, Slow(), 4, ckpt_path=last)
    assert first.evaluator.calls == 1


def test_all_processes_leave_together_wherever_they_are():
    """Three of them: one hears the signal, one is between two batches, one waits already."""
    store, left = dist.HashStore(), {}
    shares = [
        Share(rank, 3, Heartbeat(store, rank, 3, interval=0.01), lambda rank=rank: 10 if rank == 0 else 0)
        for rank in range(3)
    ]

    def evaluate(share: Share) -> None:
        try:
            if share.rank < 2:
                for _ in range(1_000_000):
                    share.check()
            share.meet()
        except Interrupted as interrupted:
            left[share.rank] = interrupted.number

    threads = [threading.Thread(target=evaluate, args=(share,), daemon=True) for share in reversed(shares)]
    for share, thread in zip(reversed(shares), threads, strict=True):
        share.heartbeat.start()
        thread.start()
    for share, thread in zip(reversed(shares), threads, strict=True):
        thread.join(20)
        share.heartbeat.stop()
    assert left == {0: 10, 1: 10, 2: 10}


def test_no_step_waits_for_lightnings_own_word_of_sigterm(root, tmp_path, monkeypatch):
    assert hasattr(_TrainingEpochLoop, "_broadcast_sigterm_tensor"), "gone from Lightning: remove its cure"
    monkeypatch.setattr(dist, "broadcast", lambda *_, **__: pytest.fail("a GPU would be waited for"))

    class AsWithSeveralProcesses(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor()

    fit(tmp_path, root, make_module(), [GracefulStop(), AsWithSeveralProcesses()], 1)

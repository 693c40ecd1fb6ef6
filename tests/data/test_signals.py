"""What a terminal or SLURM sends to all processes of a job does not end those that read; they end when told to."""

import multiprocessing
import os
import signal

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from diffusion_lit.data import StreamLoader, loader


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_outlive_the_signals_that_training_answers(digits, method):
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    before = multiprocessing.active_children()
    stream = iter(StreamLoader(digits.root, 16, num_workers=2, start_method=method))
    alone = iter(StreamLoader(digits.root, 16))
    assert torch.equal(next(stream)["id"], next(alone)["id"])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask, "this process still hears them"
    workers = [child for child in multiprocessing.active_children() if child not in before]
    assert len(workers) == 2
    for worker in workers:
        for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM):
            assert worker.pid is not None
            os.kill(worker.pid, number)
    for _ in range(12):  # more than was read ahead
        assert torch.equal(next(stream)["id"], next(alone)["id"])
    stream.close()
    for worker in workers:
        worker.join(10)
        assert worker.exitcode == 0


class Large(IterableDataset):
    """Batches of 100 MB, so that a process which is told to end is just sending one."""

    def __iter__(self):
        while True:
            yield torch.ones(25_000_000)


def test_a_spawned_worker_that_is_sending_ends_cleanly():
    workers = iter(DataLoader(
        Large(), batch_size=None, num_workers=1, multiprocessing_context="spawn", worker_init_fn=loader._begin
    ))  # fmt: skip
    before = multiprocessing.active_children()
    next(workers)
    del workers
    for worker in before:
        worker.join(10)
        assert worker.exitcode == 0

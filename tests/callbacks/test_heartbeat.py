"""Processes that wait for each other: as long as they live, and no longer."""

import threading
import time

import pytest
import torch.distributed as dist

from diffusion_lit.callbacks.heartbeat import Heartbeat
from diffusion_lit.callbacks.share import Share


def beats(count: int, **more: float) -> list[Heartbeat]:
    """Several processes, played by threads that share a store."""
    store = dist.HashStore()
    return [Heartbeat(store, rank, count, interval=0.01, **more) for rank in range(count)]


def test_a_slow_process_is_waited_for():
    fast, slow = beats(2, patience=0.2)
    met = []
    for heartbeat in (fast, slow):
        heartbeat.start()

    def arrive_late() -> None:
        time.sleep(0.6)  # three times the patience, but it lives
        met.append("slow")
        slow.meet()

    thread = threading.Thread(target=arrive_late)
    thread.start()
    Share(0, 2, fast).meet()
    met.append("fast")
    thread.join()
    assert met == ["slow", "fast"]
    for heartbeat in (fast, slow):
        heartbeat.stop()


def test_a_lost_process_is_named():
    mine, lost = beats(2, patience=0.2)
    mine.start()
    lost.start()
    lost.stop()  # as if it had been killed
    with pytest.raises(RuntimeError, match=r"process 1 on \S+ has been silent for 0 s .*resume=auto"):
        mine.meet()
    mine.stop()


def test_one_that_never_came_is_named_too():
    mine, _ = beats(2, patience=0.1)
    mine.start()
    with pytest.raises(RuntimeError, match="process 1 on a host that never answered"):
        mine.meet()
    mine.stop()


def test_meetings_are_told_apart():
    one, two = beats(2)
    for heartbeat in (one, two):
        heartbeat.start()
    thread = threading.Thread(target=lambda: [two.meet() for _ in range(3)])
    thread.start()
    for _ in range(3):
        one.meet()
    thread.join(timeout=5)
    assert not thread.is_alive()
    for heartbeat in (one, two):
        heartbeat.stop()

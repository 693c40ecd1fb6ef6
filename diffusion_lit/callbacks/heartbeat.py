"""Waiting for each other in an evaluation, however long it takes, but not for a lost process; leaving it together."""

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store, _get_default_store

__all__ = ["Heartbeat", "Interrupted", "beating"]

_evaluations = itertools.count()  # all processes count the same ones
_LEAVES = 1 << 32  # added to the number of those who have arrived


class Interrupted(Exception):
    """A process got a signal, and all leave the evaluation.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


class Heartbeat:
    """One process of several that meet now and then and otherwise go their own ways.

    A collective of NCCL ends the job after its timeout, whether a process has died or only has the larger share. So the
    processes wait here before it: each tells in the store of the process group that it lives, by a thread, and one that
    has told nothing for `patience` seconds is named.

    Args:
        store: of the process group.
        rank, world_size: of this process.
        interval: seconds between two beats.
        patience: seconds of silence after which a process counts as lost.
    """

    def __init__(self, store: Store, rank: int, world_size: int, interval: float = 5.0, patience: float = 300.0):
        self.store, self.rank, self.world_size = store, rank, world_size
        self.interval, self.patience = interval, patience
        self._meetings = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self.store.set(f"host/{self.rank}", socket.gethostname())
        self.store.add(f"beats/{self.rank}", 1)
        self._thread.start()

    def stop(self) -> None:
        """End to beat."""
        self._over.set()
        self._thread.join()

    def meet(self) -> None:
        """Wait until all processes are here.

        Raises:
            Interrupted: one of them came to leave; then all of them raise it, and no collective follows.
            RuntimeError: a process has been silent for too long; it names its rank and host.
        """
        self._arrive(1)

    def check(self, number: int) -> None:
        """Go to the next meeting to leave, if this process got a signal or another one is there to leave.

        To be called where `meet` comes before the next collective.

        Args:
            number: of the signal, 0 if there was none.

        Raises:
            Interrupted, RuntimeError: as `meet`.
        """
        if number:
            self.store.set("signal", str(number))
        if number or self.store.add(f"arrived/{self._meetings + 1}", 0) >= _LEAVES:
            self._arrive(1 + _LEAVES)

    def _arrive(self, count: int) -> None:
        self._meetings += 1
        arrived = f"arrived/{self._meetings}"
        self.store.add(arrived, count)
        heard = {rank: (0, time.monotonic()) for rank in range(self.world_size)}
        pause = 0.005
        while (there := self.store.add(arrived, 0)) % _LEAVES < self.world_size:
            for rank, (beats, since) in heard.items():
                now = self.store.add(f"beats/{rank}", 0)
                if now != beats:
                    heard[rank] = now, time.monotonic()
                elif time.monotonic() - since > self.patience:
                    host = self.store.get(f"host/{rank}").decode() if now else "a host that never answered"
                    raise RuntimeError(
                        f"process {rank} on {host} has been silent for {self.patience:.0f} s in an evaluation; it or "
                        "its node is lost. Go on with resume=auto"
                    )
            time.sleep(pause)
            pause = min(2 * pause, 0.5)
        if there >= _LEAVES:
            raise Interrupted(int(self.store.get("signal")))

    def _beat(self) -> None:
        while not self._over.wait(self.interval):
            self.store.add(f"beats/{self.rank}", 1)


@contextmanager
def beating() -> Iterator[Heartbeat | None]:
    """The heartbeat of this process while a block runs; None if it is the only one."""
    number = next(_evaluations)
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        yield None
        return
    store = PrefixStore(f"evaluation/{number}", _get_default_store())
    heartbeat = Heartbeat(store, dist.get_rank(), dist.get_world_size())
    heartbeat.start()
    try:
        yield heartbeat
    finally:
        heartbeat.stop()

"""Ctrl-C and the signals of a scheduler: finish the step, save, say how to go on."""

import os
import signal
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["GracefulStop"]


class GracefulStop(Callback):
    """Note a signal in its handler and act on it only between two steps, on all processes together.

    Saving inside a handler deadlocks when one process is in a collective and another is not. A second Ctrl-C stops at
    once.

    Args:
        signals: names such as "SIGINT".

    Attributes:
        received: the first signal's name, or None.
    """

    def __init__(self, signals: tuple[str, ...] = ("SIGINT", "SIGTERM", "SIGUSR1")):
        self.signals = [signal.Signals[name] for name in signals]
        self.received: str | None = None
        self.stopped = False
        self._previous: dict[signal.Signals, Any] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
        os.write(2, f"\n{self.received}: finishing the step, then saving.\n".encode())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._previous = {s: signal.signal(s, self._note) for s in self.signals}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.strategy.reduce_boolean_decision(self.received is not None, all=False):
            self.stopped = trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.on_train_end(trainer, pl_module)

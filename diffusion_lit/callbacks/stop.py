"""Ctrl-C and the signals of a scheduler: finish the step, save, say how to go on."""

import os
import signal
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from diffusion_lit.callbacks.vote import Vote

__all__ = ["GracefulStop"]

PREEMPTION = "SIGUSR1"  # what `sbatch --signal=USR1@120` sends before the time is over


class GracefulStop(Callback):
    """Note a signal in its handler and act on it only between two steps, on all processes together.

    Saving inside a handler deadlocks when one process is in a collective and another is not. A signal to any process
    stops all of them after the step that it came in, or after the next one if there are several; an evaluation is left
    between two batches. A second Ctrl-C stops at once.

    Args:
        signals: names such as "SIGINT".

    Attributes:
        received: the first signal that this process got, by name, or None.
        stopped: the signal that stopped all processes, or None.
    """

    def __init__(self, signals: tuple[str, ...] = ("SIGINT", "SIGTERM", PREEMPTION)):
        self.signals = [signal.Signals[name] for name in signals]
        self.received: str | None = None
        self.stopped: str | None = None
        self._vote = Vote()
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def exit_code(self) -> int:
        """What the process ends with: EX_TEMPFAIL (75) if it shall be run again, else 128 + the signal as in shells."""
        assert self.stopped is not None
        return os.EX_TEMPFAIL if self.stopped == PREEMPTION else 128 + signal.Signals[self.stopped]

    @property
    def number(self) -> int:
        """Of the first signal that this process got, 0 if none."""
        return signal.Signals[self.received] if self.received else 0

    def stop(self, trainer: Trainer, number: int) -> None:
        """Stop after this step because of a signal; all processes call it at the same step."""
        self.stopped = signal.Signals(number).name
        trainer.should_stop = True

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt
        self.received = self.received or signal.Signals(number).name
        os.write(2, f"\n{signal.Signals(number).name}: finishing the step, then saving.\n".encode())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # in place of Lightning's own; a signal before this ends the process, which has nothing to save yet
        self._previous = {s: signal.signal(s, self._note) for s in self.signals}
        self._vote.open()
        if signal.SIGTERM in self.signals:
            # Lightning broadcasts before each batch whether its own handler got a SIGTERM, and so waits for the GPU in
            # each step (its issue 21487); that handler is replaced, so there is nothing to tell
            loop: Any = trainer.fit_loop.epoch_loop
            loop._broadcast_sigterm_tensor = lambda: None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        heard = self._vote.cast(self.number)
        if heard and not self.stopped:
            self.stop(trainer, heard)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._vote.close()
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

"""A clock that all processes agree on, and that they seldom ask."""

import time
from collections.abc import Callable
from typing import Any

__all__ = ["Minutes"]


class Minutes:
    """Tell all processes at the same step that so many minutes have passed, by the first process's clock.

    The first process's clock is broadcast, but only at steps that all can compute: after an answer the next one is
    asked for when, at the pace so far, half of what is left will have passed. So an hour costs some twenty broadcasts,
    however many steps it has.

    Args:
        minutes: positive; None never tells.
    """

    def __init__(self, minutes: float | None):
        self.minutes = minutes
        self.restart()

    def restart(self) -> None:
        """Begin to count now."""
        self._since, self._steps, self._ask_at = time.monotonic(), 0, 1

    def passed(self, broadcast: Callable[[Any], Any]) -> bool:
        """Whether the time has passed, to be called once a step; collective at some steps.

        Args:
            broadcast: gives all processes what the first one gives it.
        """
        self._steps += 1
        if self.minutes is None or self._steps < self._ask_at:
            return False
        elapsed = broadcast(time.monotonic() - self._since)
        left = 60 * self.minutes - elapsed
        self._ask_at = self._steps + max(1, int(left / 2 / (elapsed / self._steps + 1e-9)))
        return left <= 0

"""Reading the next block while the one before it is given."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Thread
from typing import Generic, TypeVar

__all__ = ["Ahead"]

T = TypeVar("T")


class Ahead(Generic[T]):
    """What a call returns, made in a thread.

    The thread is a daemon: a process that ends does not wait for a server that does not answer.

    Args:
        call: without arguments.
        one: a lock that is held during the call, so that calls that share it are made one at a time.
    """

    def __init__(self, call: Callable[[], T], one: AbstractContextManager):
        self._call, self._one = call, one
        self._value: T | None = None
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._one:
                self._value = self._call()
        except BaseException as error:  # for who asks for the value
            self._error = error

    def value(self) -> T:
        """Wait for it; raises what the call raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        value, self._value = self._value, None
        return value  # type: ignore[return-value]

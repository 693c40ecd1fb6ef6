"""Writing files so that no reader ever sees half of one: write aside, then rename."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from diffusion_lit.errors import UserError

__all__ = ["write_text", "writing"]


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it becomes `path` if the block succeeds and is removed if it fails.

    Args:
        path: where the file shall stand; its folder is made if it is missing.

    Raises:
        UserError: the disk is full or the folder cannot be written; what stood at `path` is untouched.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        os.replace(aside, path)
    except OSError as error:
        raise UserError(
            f"{path}: could not be written ({error.strerror or error}). Nothing was left half-written there; free some "
            f"space or choose a folder that you may write to, then run the same command again."
        ) from error
    finally:
        with suppress(OSError):  # it was renamed, or its folder is none
            aside.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` whole or not at all; raises UserError as `writing` does."""
    with writing(path) as aside:
        aside.write_text(text, encoding="utf-8")

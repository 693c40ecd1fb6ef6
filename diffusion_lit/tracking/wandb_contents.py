"""What a run folder holds for W&B: lines of metrics and pictures, under keys that a replay gives them again."""

import hashlib
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion_lit.errors import UserError
from diffusion_lit.tracking.lines import decode

__all__ = ["Contents", "Item"]


@dataclass(frozen=True)
class Item:
    """One row for W&B.

    Args:
        key: names it: a run that goes on from a checkpoint logs what comes after it again, under the same keys.
        images_seen: where on the x-axis.
        values: the numbers of a line.
        time: unix seconds at which it was logged; None if that is not known.
        picture: a PNG instead of numbers.
    """

    key: str
    images_seen: int
    values: Mapping[str, Any]
    time: float | None = None
    picture: Path | None = None


class Contents:
    """Read a run folder bit by bit, while it is written or afterwards.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # a follower measures beside training what training may log under the same names
        self._logs = (_Log(folder / "metrics.jsonl"), _Log(folder / "followed.jsonl", "followed/"))
        self._pictures: dict[Path, int] = {}

    def new(self) -> list[Item]:
        """Return what was added since the last call: lines in their order, then pictures.

        Raises:
            UserError: a line that is no line of metrics.
        """
        return [*(item for log in self._logs for item in log.new()), *self._new_pictures()]

    def _new_pictures(self) -> list[Item]:
        items = []
        for about in [*self.folder.glob("samples/*.json"), *self.folder.glob("restorations/*/*.json")]:
            path = about.with_suffix(".png")  # the JSON beside it is written last
            told = path.stem if about.parent.name == "samples" else about.parent.name
            if not told.isdigit() or not path.exists():
                continue
            changed = path.stat().st_mtime_ns
            if self._pictures.get(path) == changed:
                continue
            self._pictures[path] = changed
            place = path.relative_to(self.folder).with_suffix("")
            key = f"{place}/{zlib.crc32(path.read_bytes()):08x}"  # a replay draws the same picture
            items.append(Item(key, int(told), {"images_seen": int(told)}, about.stat().st_mtime, path))
        return sorted(items, key=lambda item: (item.images_seen, item.key))


class _Log:
    """Read a file of lines bit by bit, while it is written or afterwards.

    Args:
        path: the file, which need not exist.
        prefix: of the keys of its lines.
    """

    def __init__(self, path: Path, prefix: str = "") -> None:
        self.path, self.prefix = path, prefix
        self._file, self._offset = 0, 0  # inode of what was read, and how much of it
        self._repeated: Counter[str] = Counter()

    def new(self) -> list[Item]:
        """Return what was added since the last call; raises UserError for a line that is no line of metrics."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            inode = self.path.stat().st_ino
            if inode != self._file:  # a cut replaces the file
                self._file, self._offset = inode, 0
                self._repeated.clear()
            file.seek(self._offset)
            text, _, _ = file.read().rpartition(b"\n")  # the last line may still be being written
        if not text:
            return []
        self._offset += len(text) + 1
        return [self._line(line) for line in text.decode(errors="replace").split("\n")]

    def _line(self, text: str) -> Item:
        try:
            values = decode(text)
            images_seen, time = int(values["images_seen"]), values.pop("time", None)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.path}: {text[:60]!r} is no line of metrics; resume=auto or an editor removes it"
            ) from error
        # an attempt is no replay of the one before
        names = sorted(f"{name}={values[name]}" if name == "attempt" else name for name in values)
        key = f"{self.prefix}{images_seen}/{hashlib.sha256(' '.join(names).encode()).hexdigest()[:8]}"
        self._repeated[key] += 1
        return Item(f"{key}/{self._repeated[key]}", images_seen, values, time)

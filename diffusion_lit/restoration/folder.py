"""The folder of the results: what is finished in it, who works on what, and which settings it is of."""

import fcntl
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from diffusion_lit.errors import UserError
from diffusion_lit.files import write_text
from diffusion_lit.restoration.inputs import Input
from diffusion_lit.tracking.identity import canonical, differences

__all__ = ["Folder"]


class Folder:
    """Results by kind, each file written aside and renamed, the record of an image last: with it the image is finished.

        measured/ truth/ sample/ mean/ deviation/ NAME.png     arrays/NAME.npz     records/NAME.json

    Processes share it by locks on files, which the system takes back when a process dies.

    Args:
        path: the folder.
        settings: all that changes a result.

    Raises:
        UserError: it holds finished images of other settings.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]):
        self.path, self.settings, self.began = Path(path), dict(settings), time.time()
        text = json.dumps(canonical(settings), sort_keys=True)
        self.identity = hashlib.sha256(text.encode()).hexdigest()[:10]
        file = self.path / "settings.json"
        with self.locked("settings"):
            if file.is_file() and (there := _read(file)) != (own := json.loads(json.dumps(self.settings))):
                self._refuse(there, own)
            write_text(file, json.dumps(self.settings, indent=2) + "\n")

    def _refuse(self, there: dict[str, Any], own: dict[str, Any]) -> None:
        records = (self.path / "records").rglob("*.json")
        finished = sum("row" in _read(record) for record in records)
        if finished:
            key, (before, now) = next(iter(differences(there, own).items()))
            raise UserError(
                f"{self.path}: holds {finished} images restored with other settings ({key} was {before} and is now "
                f"{now}); give another out=FOLDER, or remove this one"
            )

    def place(self, kind: str, entry: Input, ending: str) -> Path:
        """Where a file of an image stands."""
        return self.path / kind / f"{entry.stem}{ending}"

    def record(self, entry: Input) -> dict[str, Any]:
        """The record of an image; empty if there is none."""
        file = self.place("records", entry, ".json")
        return _read(file) if file.is_file() else {}

    def finished(self, entry: Input, digest: str) -> bool:
        """Whether this image, of this content, is restored with these settings."""
        record = self.record(entry)
        return "row" in record and (record["settings"], record["input"]) == (self.identity, digest)

    def tried(self, entry: Input) -> bool:
        """Whether the image failed since this job began, here or in another process."""
        record = self.record(entry)
        return "error" in record and record["at"] >= self.began

    def finish(self, entry: Input, digest: str, row: Mapping[str, Any]) -> None:
        """Write the record of a restored image, the last of its files."""
        self._write(entry, {"settings": self.identity, "input": digest, "row": dict(row)})

    def fail(self, entry: Input, error: str) -> None:
        """Write the record of an image that could not be restored."""
        self._write(entry, {"error": error})

    def _write(self, entry: Input, record: Mapping[str, Any]) -> None:
        text = json.dumps({"image": entry.name, **record, "at": time.time()}, indent=2)
        write_text(self.place("records", entry, ".json"), text + "\n")

    def rows(self, inputs: Sequence[Input]) -> list[dict[str, Any]]:
        """One row an image that was restored or failed, in the order of the inputs."""
        records = [(entry, self.record(entry)) for entry in inputs]
        return [
            {"image": entry.name, **record.get("row", {})} | ({"error": record["error"]} if "error" in record else {})
            for entry, record in records
            if record.get("settings", self.identity) == self.identity and record
        ]

    @contextmanager
    def locked(self, name: str, wait: bool = True) -> Iterator[bool]:
        """Hold a lock by its name while the block runs.

        Args:
            name: of the lock, such as an image's.
            wait: until it is free; else the block is told whether it has it.

        Raises:
            UserError: the folder cannot be written.
        """
        file = self.path / ".locks" / f"{name}.lock"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            opened = open(file, "w")  # noqa: SIM115
        except OSError as error:
            raise UserError(f"{file}: could not be written ({error.strerror or error}); choose another out=") from error
        with opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                # Whoever waits on this file has its lock then, and whoever comes later makes another: both look first
                # whether the work is done.
                with suppress(OSError):
                    file.unlink()


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: is damaged ({error}); remove it") from error

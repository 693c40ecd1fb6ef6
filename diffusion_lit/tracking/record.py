"""The run folder: what stands in it, written and read in one place."""

import json
import os
import platform
import socket
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import yaml

from diffusion_lit import __version__
from diffusion_lit.errors import UserError
from diffusion_lit.files import hold, write_text
from diffusion_lit.tracking import lines
from diffusion_lit.tracking.identity import differences, run_identity
from diffusion_lit.tracking.machine import git_state, hardware
from diffusion_lit.tracking.words import Number

__all__ = ["RunRecord"]

_SHOWN_DIFFERENCES = 5


class RunRecord:
    """One run folder: run.json, config.yaml, manifest.json, metrics.jsonl, summary.json, samples/, restorations/.

    Args:
        folder: runs/<name>; need not exist before `start`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return (self.folder / "run.json").exists()

    @property
    def run(self) -> dict[str, Any]:
        """Return run.json; raises UserError if there is none or it does not parse."""
        return self._read_json("run.json", f"{self.folder}: no run was started here (run.json is missing)")

    @property
    def summary(self) -> dict[str, Number]:
        """Return summary.json, the final table; empty while there is none."""
        summary = self._read_json("summary.json") if (self.folder / "summary.json").exists() else {}
        return {key: float(value) if value in ("nan", "inf", "-inf") else value for key, value in summary.items()}

    @property
    def config(self) -> dict[str, Any]:
        """Return config.yaml, the resolved config; empty if there is none."""
        path = self.folder / "config.yaml"
        return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}

    @property
    def manifest(self) -> dict[str, Any]:
        """Return manifest.json, all that is known of the data; what run.json says of them if there is none."""
        there = (self.folder / "manifest.json").exists()
        return self._read_json("manifest.json") if there else self.run.get("data") or {}

    def start(
        self,
        config: Mapping[str, Any],
        *,
        from_images_seen: int = 0,
        network: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        manifest: Mapping[str, Any] | None = None,
    ) -> str:
        """Begin an attempt: create the record or check that it is this config's, and cut the metrics logged past it.

        Args:
            config: the resolved config as plain containers.
            from_images_seen: where the checkpoint that training goes on from stands; 0 starts anew.
            network: {"parameters", "flops", "memory_bytes", "text"}.
            data: what run.json shall say of the data.
            manifest: of the data; it may list thousands of shards, and has a file of its own.

        Returns:
            The run identity.

        Raises:
            UserError: the folder holds a run of another identity; it is left as it is.
        """
        identity = run_identity(config)
        run = self._checked(config, identity) if self.exists else {"attempts": [], "train_seconds": 0.0}
        run |= {
            "identity": identity,
            "task_name": config.get("task_name", self.folder.name),
            "tags": list(config.get("tags") or []),
            "seed": config.get("seed"),
            "version": __version__,
            "git": git_state(Path(__file__).parent),
            "hardware": hardware(),
            "python": platform.python_version(),
            "torch": version("torch"),
            "network": dict(network) if network is not None else run.get("network"),
            "data": dict(data) if data is not None else run.get("data"),
            "finished": None,
        }
        run["attempts"].append(
            {
                "started": _now(),
                "from_images_seen": from_images_seen,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "job": os.environ.get("SLURM_JOB_ID"),
                "seconds": 0.0,
                "images_seen": from_images_seen,
                "ended": None,
            }
        )
        lines.cut(self.folder / "metrics.jsonl", from_images_seen)
        self.cut_followed(from_images_seen)
        write_text(self.folder / "config.yaml", yaml.safe_dump(json.loads(json.dumps(config, default=str))))
        if manifest is not None:
            self._write_json("manifest.json", manifest)
        self._write_json("run.json", run)
        return identity

    def progress(self, seconds: Number, images_seen: int) -> None:
        """Note a checkpoint after `seconds` of this attempt; train_seconds is the sum over the attempts."""
        self._attempt(seconds=round(float(seconds), 3), images_seen=images_seen)

    def finish(self, seconds: Number, images_seen: int) -> None:
        """Note that training reached its end after `seconds` of this attempt."""
        self._attempt(seconds=round(float(seconds), 3), images_seen=images_seen, ended="finished")
        self._write_json("run.json", self.run | {"finished": _now()})

    def end(self, how: str) -> None:
        """Note why this attempt ended before training did: a signal's name, or an error."""
        self._attempt(ended=how)

    def crashed(self, rank: int, error: BaseException) -> None:
        """Add a line to crashes.jsonl: when, on which process and host, what was raised and where."""
        where = "".join(traceback.format_tb(error.__traceback__)[-3:])
        line = {"time": _now(), "rank": rank, "host": socket.gethostname(), "job": os.environ.get("SLURM_JOB_ID")}
        line |= {"error": f"{type(error).__name__}: {error}", "where": where}
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "crashes.jsonl").open("a", encoding="utf-8") as file:  # one write: processes share the file
            file.write(json.dumps(line) + "\n")

    def hold(self) -> IO[str]:
        """Keep the folder for this process; the kernel gives it back when the process ends, however it ends.

        Raises:
            UserError: another process trains in it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if (lock := hold(self.folder / ".lock")) is not None:
            return lock
        last = self.run["attempts"][-1] if self.exists else {}
        raise UserError(
            f"{self.folder}: another process trains this run (pid {last.get('pid')} on {last.get('host')}, job "
            f"{last.get('job')}); wait for it or stop it, then go on with resume=auto"
        )

    def write_summary(self, summary: Mapping[str, Number]) -> None:
        """Write summary.json: flat keys to numbers, whole or not at all."""
        plain = json.loads(lines.encode(summary))
        self._write_json("summary.json", plain)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of training and of a follower, by images seen; see `lines.read`.

        Of what the follower measured only what training never logs: under one name the two may have measured
        differently, such as with other images.
        """
        own, followed = lines.read(self.folder / "metrics.jsonl"), self.read_followed()
        known = {name for line in own for name in line} - {"images_seen", "time"}
        rest = [{name: value for name, value in line.items() if name not in known} for line in followed]
        return lines.merged(own, [line for line in rest if line.keys() - {"images_seen", "time"}])[0]

    def read_followed(self) -> list[dict[str, Any]]:
        """Return the lines of followed.jsonl, which `evaluate --follow` writes beside training; see `lines.read`."""
        return lines.read(self.folder / "followed.jsonl")

    def log_followed(self, line: Mapping[str, Number]) -> None:
        """Add a line to followed.jsonl, in one write, after what a kill may have left of the one before."""
        self.cut_followed()
        with (self.folder / "followed.jsonl").open("a", encoding="utf-8") as file:
            file.write(lines.encode(line) + "\n")

    def cut_followed(self, images_seen: int | None = None) -> None:
        """Remove from followed.jsonl what is past a checkpoint; see `lines.cut`."""
        lines.cut(self.folder / "followed.jsonl", images_seen)

    def series(self, name: str) -> tuple[list[int], list[Number]]:
        """Return the images seen and the values of one metric."""
        return lines.series(self.read_metrics(), name)

    def _checked(self, config: Mapping[str, Any], identity: str) -> dict[str, Any]:
        run = self.run
        if run.get("identity") == identity:
            return run
        differing = differences(self.config, config)
        shown = [f"{key}: {old} there, {new} now" for key, (old, new) in list(differing.items())[:_SHOWN_DIFFERENCES]]
        more = f" and {len(differing) - _SHOWN_DIFFERENCES} more" if len(differing) > _SHOWN_DIFFERENCES else ""
        raise UserError(
            f"{self.folder}: holds the run {run.get('identity')}, but this config is {identity}; they differ in "
            f"{'; '.join(shown) or 'nothing that config.yaml still tells'}{more}. Give the new run another name "
            f"(task_name=...) or folder, put the old values back to go on with it, or remove the folder."
        )

    def _attempt(self, **changes: Any) -> None:
        run = self.run
        run["attempts"][-1] |= changes
        run["train_seconds"] = round(sum(attempt.get("seconds", 0.0) for attempt in run["attempts"]), 3)
        self._write_json("run.json", run)

    def _read_json(self, name: str, missing: str = "") -> dict[str, Any]:
        path = self.folder / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UserError(f"{missing}. Give the folder of a run, such as runs/demo.") from error
        except ValueError as error:
            raise UserError(f"{path}: is not valid JSON ({error}). Restore it, or remove it and run again.") from error

    def _write_json(self, name: str, content: Any) -> None:
        write_text(self.folder / name, json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""Whether a job whose training ended early goes back into the queue, and why; kept in the run folder."""

import json
import os
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_lit.errors import UserError
from diffusion_lit.tracking.record import RunRecord

__all__ = ["Verdict", "requeue", "verdict"]

# saved after the scheduler's warning, or warned before there was anything to save
_ASKED = (os.EX_TEMPFAIL, 128 + signal.SIGUSR1)
_BY_HAND = (128 + signal.SIGINT, 128 + signal.SIGTERM)
_MISTAKE = 2
_SECONDS = 60.0


class Verdict(NamedTuple):
    """Whether a job is requeued, why or why not, and whether it ended by a crash."""

    again: bool
    why: str
    crash: bool = False


def verdict(code: int, crashes: int, limit: int, stopped: bool = True) -> Verdict:
    """Judge how training ended.

    Args:
        code: what srun returned: the highest of the processes' exit codes, 128 + the signal that killed one.
        crashes: how often it has crashed before without a new checkpoint in between.
        limit: of those.
        stopped: training saw the signal that `code` names, saved and stopped.
    """
    if code == 0:
        return Verdict(False, "finished")
    if code in _ASKED:
        return Verdict(True, "the time was over")
    if code in _BY_HAND and stopped:
        return Verdict(False, f"stopped by {_name(code)}")
    if code == _MISTAKE:
        return Verdict(False, "a mistake that another start would meet again")
    how = f"killed by {_name(code)}" if code > 128 else f"crashed with exit code {code}"
    if crashes >= limit:
        return Verdict(False, f"{how}, after {crashes} crashes without a new checkpoint in between", crash=True)
    return Verdict(True, f"{how}, {crashes + 1} of {limit} without a new checkpoint", crash=True)


def requeue(run: Path, code: int, limit: int) -> Verdict:
    """Judge how the training of this job ended, keep the verdict in requeues.jsonl, and put the job back if it says so.

    To be called in the job's script after srun, where all processes have ended. srun --kill-on-bad-exit sends SIGTERM
    to the others when one process ends with a code, be it of a crash or of a stop in good order: then their code, 143,
    hides the first one's, and how training ended is what its record says.

    Args:
        run: the run folder.
        code: what srun returned.
        limit: crashes without a new checkpoint in between after which the job stays ended.

    Raises:
        UserError: this is no job, or SLURM does not take it back.
    """
    record = RunRecord(run)
    attempt: dict[str, Any] = record.run["attempts"][-1] if record.exists else {}
    images_seen = attempt.get("images_seen", 0)
    past = _read(run / "requeues.jsonl")
    stuck = [line for line in past if line["crash"] and line["images_seen"] == images_seen]
    since = past[-1]["time"] if past else ""
    ended = attempt.get("ended") if attempt.get("started", "") >= since else None
    if code == 128 + signal.SIGTERM and ended == "SIGUSR1":
        code = os.EX_TEMPFAIL
    found = verdict(code, len(stuck), limit, stopped=code != 128 + signal.SIGTERM or ended == "SIGTERM")
    errors = [line["error"] for line in _read(run / "crashes.jsonl") if line["time"] >= since]
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "job": os.environ.get("SLURM_JOB_ID"),
        "code": code,
        "crash": found.crash,
        "images_seen": images_seen,
        "again": found.again,
        "why": found.why,
        "errors": errors,
    }
    if code:
        run.mkdir(parents=True, exist_ok=True)
        with (run / "requeues.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if attempt and attempt.get("ended") is None:
            record.end(found.why)
    if found.again:
        _put_back()
    return found


def _put_back() -> None:
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        raise UserError("requeue: this is no SLURM job; start the same command again, with resume=auto")
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"requeue: scontrol did not answer ({error}); run `scontrol requeue {job}` by hand") from error
    if done.returncode:
        reason = " ".join(done.stderr.split())
        raise UserError(f"requeue: SLURM does not take job {job} back ({reason}); submit it again: it goes on")


def _name(code: int) -> str:
    try:
        return signal.Signals(code - 128).name
    except ValueError:
        return f"signal {code - 128}"


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:  # cut by a kill
            continue
    return lines

"""What a run ran on: hardware, software and the state of the source tree."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["children", "git_state", "hardware"]


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still run; none where /proc does not tell."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


def hardware() -> dict[str, Any]:
    """Return the processor's name, its usable cores, memory in GiB and the names of the graphics cards."""
    import torch  # not at the top: what reads a record needs no torch, and it takes seconds

    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "gpu": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def git_state(folder: str | Path) -> dict[str, Any] | None:
    """Return {"commit", "dirty"} of the git repository that `folder` is in, or None if there is none (a wheel)."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", "."))}
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None

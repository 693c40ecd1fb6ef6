"""Where a run goes on: its newest checkpoint that is whole."""

import sys
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only

from diffusion_lit.checkpoint import locate, read, saved
from diffusion_lit.errors import UserError

__all__ = ["starting_point"]


def starting_point(resume: str | None, run: Path) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint to go on from and what it holds, or None to start anew.

    A damaged one, such as of a machine that lost its power, is told, put aside as NAME.damaged and passed over.

    Args:
        resume: "auto" takes the newest of the run that is whole, if it has any; a path takes that one; None starts.
        run: the run folder.

    Raises:
        UserError: None, but the folder holds a run; no checkpoint of the run is whole; or that of the path is not.
    """
    found = saved(run)
    if resume is None:
        if found:
            raise UserError(f"{run}: holds a run already; resume=auto goes on with it, another task_name starts anew")
        return None
    if resume != "auto":
        file = locate(resume)
        return file, read(file)
    reasons = []
    for file in found:
        try:
            state = read(file)
        except UserError as error:
            reasons.append((file, str(error)))
        else:
            for damaged, reason in reasons:
                _put_aside(damaged, reason, file)
            return file, state
    if reasons:
        told = "; ".join(reason for _, reason in reasons)
        raise UserError(f"{run}: none of its checkpoints can be read, so it cannot go on. {told}")
    return None


@rank_zero_only
def _put_aside(damaged: Path, reason: str, instead: Path) -> None:
    print(f"{reason}\n{damaged.parent.parent}: goes on from {instead.name} instead", file=sys.stderr)
    damaged.replace(damaged.with_name(f"{damaged.name}.damaged"))

"""The only call of SLURM: sbatch."""

import os
import shutil
import subprocess
from pathlib import Path

from diffusion_lit.errors import UserError

__all__ = ["arguments", "submit"]

_SECONDS = 60.0  # a controller that does not answer by then is down


def arguments(script: Path, after: str | None, before: str) -> list[str]:
    """The command that submits a file.

    Args:
        script: the file.
        after: how it depends on another job, such as "afterok"; None: not at all.
        before: the id of that job.
    """
    # a job whose dependency can no longer be met would wait for ever
    dependency = [] if after is None else [f"--dependency={after}:{before}", "--kill-on-invalid-dep=yes"]
    return ["sbatch", "--parsable", *dependency, str(script)]


def submit(script: Path, after: str | None = None, before: str = "") -> str:
    """Submit a file; return the id of the job.

    Args:
        script, after, before: as for `arguments`.

    Raises:
        UserError: SLURM is not here, does not answer, or does not take the job; the message has its reason.
    """
    if shutil.which("sbatch") is None:
        raise UserError("submit: there is no sbatch here; run it on a login node, or see the file with --dry-run")
    # inside a job, that job's own size would be handed on to the new one
    kept = {"SLURM_CONF", "SLURM_CLUSTERS"}
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SRUN_")) or key in kept}
    try:
        done = subprocess.run(
            arguments(script, after, before), env=env, capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"submit: SLURM's controller did not answer within {_SECONDS:.0f} s; see `sinfo`") from error
    if done.returncode:
        reason = " ".join(done.stderr.split()).removeprefix("sbatch: error: ")
        raise UserError(f"submit: SLURM refused {script}: {reason}")
    return done.stdout.strip().partition(";")[0]  # "id;cluster" in a federation

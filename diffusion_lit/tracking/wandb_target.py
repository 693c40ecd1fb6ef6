"""Where a run goes at W&B; it imports nothing, for both a training and the process beside it name it."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["REASON", "Checkpoints", "Target"]

REASON = "W&B: "  # the line that says why it failed begins with it
Checkpoints = Literal["none", "reference", "file"]


@dataclass(frozen=True)
class Target:
    """Where a run goes.

    Args:
        project: of W&B.
        entity: of W&B, a user or a team; None takes the default of the key.
        offline: write W&B's own file into the run folder's wandb/ and touch no network.
        checkpoints: what W&B gets of best.ckpt and last.ckpt: "reference", "file" or "none".
    """

    project: str = "diffusion_lit"
    entity: str | None = None
    offline: bool = False
    checkpoints: Checkpoints = "reference"

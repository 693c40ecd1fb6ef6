"""diffusion-lit upload RUN... [project=NAME] [entity=NAME] [key=value ...]

Send runs to W&B: the lines of metrics.jsonl, pictures, tables, the final table, the data's manifest and the
checkpoints. Only what W&B does not have is sent, so it may be called again at any time, also while a run trains on a
machine without a network.

    diffusion-lit upload runs/mnist-*
    diffusion-lit upload runs/demo project=digits entity=team
    diffusion-lit upload runs/demo follow=1             go on until training ends
    diffusion-lit upload runs/demo checkpoints=file     best.ckpt and last.ckpt, not only where they lie (reference)
    diffusion-lit upload runs/demo offline=1            write one file for `wandb sync` instead
"""

import time
from pathlib import Path
from typing import get_args

from diffusion_lit.errors import UserError

__all__ = ["run"]

_POLL = 10.0  # seconds


def run(words: list[str]) -> int:
    from diffusion_lit.configuration import split_arguments
    from diffusion_lit.tracking.record import RunRecord
    from diffusion_lit.tracking.upload import upload
    from diffusion_lit.tracking.wandb_target import Checkpoints, Target

    folders = [Path(word) for word in words if "=" not in word]
    defaults = {"project": "diffusion_lit", "entity": "", "checkpoints": "reference", "offline": 0, "follow": 0}
    arguments, unknown = split_arguments([word for word in words if "=" in word], defaults)
    if not folders or unknown:
        raise UserError(f"upload {' '.join(words)}: expected run folders and {', '.join(f'{k}=' for k in defaults)}")
    if arguments["checkpoints"] not in get_args(Checkpoints):
        raise UserError(f"checkpoints={arguments['checkpoints']}: expected one of {', '.join(get_args(Checkpoints))}")
    if arguments["follow"] and len(folders) > 1:
        raise UserError("upload: follow=1 takes one run")
    target = Target(
        arguments["project"], arguments["entity"] or None, bool(arguments["offline"]), arguments["checkpoints"]
    )

    def trains() -> bool:
        if not arguments["follow"] or RunRecord(folders[0]).run["finished"]:
            return False
        time.sleep(_POLL)
        return True

    for folder in folders:
        sent = upload(folder, target, follow=trains)
        print(f"{folder}: {sent.lines} lines, {sent.pictures} pictures; {sent.before} were there")
        if sent.url:
            print(sent.url)
    return 0

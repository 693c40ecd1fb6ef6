"""`diffusion-lit COMMAND`: imports nothing heavy until a command runs."""

import sys
from importlib import import_module

from diffusion_lit.errors import UserError

__all__ = ["main"]

COMMANDS = {
    "pack": "images -> WebDataset shards + manifest.json",
    "train": "train a denoiser: experiment=demo, trainer=cpu|gpu|ddp, resume=auto, any.key=value",
    "evaluate": "generation and restoration metrics: checkpoint=RUN, or --follow RUN while it trains",
    "sample": "draw images from a checkpoint: checkpoint=RUN n=64 sampler=heun",
    "restore": "restore a folder of images: checkpoint=RUN measured=DIR mask=FILE sigma=estimate",
    "compare": "a table and one HTML page of several runs: RUN...",
    "ema": "averages of the weights of any width, after training: RUN width=0.05,0.1 save=true",
    "reproduce": "run what is missing of an experiment, write its tables, check its claims: NAME [--tiny]",
    "report": "one self-contained HTML page of a run: RUN",
    "plan": "what a run will need: shards, reading, memory, disk: experiment=mnist cluster.nodes=2 cluster.gpus=8",
    "submit": "train on a SLURM cluster: experiment=mnist cluster.nodes=2 cluster.gpus=8 seed=0,1,2 [--dry-run]",
    "requeue": "in a job's script: put the job back if its training ended early: RUN CODE",
    "upload": "send runs to W&B, only what it does not have: RUN... project=NAME entity=NAME",
    "dashboard": "publish a workspace and a report at W&B: EXPERIMENT entity=TEAM [--dry-run]",
    "doctor": "check the installation, the data and the hardware",
}


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "diffusion-lit COMMAND [arguments]",
            "",
            "Train a denoising diffusion prior once, then condition it without retraining.",
            "",
            *lines,
            "",
            "diffusion-lit COMMAND --help tells a command's arguments.",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run one command; return 0, or 2 after a mistake that the user can mend, or 130 after Ctrl-C."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(_help())
        return 0
    if arguments[0] == "--version":
        from diffusion_lit import __version__

        print(__version__)
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        from difflib import get_close_matches

        close = get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        print(f"error: unknown command {name!r}{hint}\n\n{_help()}", file=sys.stderr)
        return 2
    command = import_module(f"diffusion_lit.commands.{name}")
    if any(word in {"-h", "--help"} for word in rest):
        print((command.__doc__ or "").strip())
        if hasattr(command, "names"):  # what the text of a command cannot know
            print(f"\n{command.names()}")
        return 0
    try:
        return command.run(rest) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

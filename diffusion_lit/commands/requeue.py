"""diffusion-lit requeue RUN CODE [crashes=3]

Used in a job's script, after srun: put the job back into SLURM's queue if its training ended early and can go on.

    code=0
    srun diffusion-lit train experiment=mnist paths.run=runs/mnist resume=auto || code=$?
    diffusion-lit requeue runs/mnist $code
    exit $code

CODE is what srun returned. 75 (saved, the time was over): back into the queue. A crash or a killed process: back, at
most `crashes` times without a new checkpoint in between. 0, a mistake in the configuration, Ctrl-C, scancel: not. Each
verdict is a line of RUN/requeues.jsonl, with the errors that the processes left in RUN/crashes.jsonl.
"""

from pathlib import Path

from diffusion_lit.errors import UserError

__all__ = ["run"]


def run(words: list[str]) -> int:
    from diffusion_lit.cluster.requeue import requeue
    from diffusion_lit.configuration import split_arguments

    places = [word for word in words if "=" not in word]
    arguments, rest = split_arguments([word for word in words if "=" in word], {"crashes": 3})
    if rest or len(places) != 2 or not places[1].isdigit():
        raise UserError(
            f"requeue {' '.join(words)}: expected a run folder and an exit code, as in requeue runs/mnist $?"
        )
    found = requeue(Path(places[0]), int(places[1]), int(arguments["crashes"]))
    print(f"{'back into the queue' if found.again else 'not requeued'}: {found.why}")
    return 0

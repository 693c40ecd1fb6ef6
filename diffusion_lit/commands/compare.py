"""diffusion-lit compare RUN... [out=FILE] [baseline=NAME] [format=text|markdown|latex|csv] [--watch] [every=30]

Compare runs: what differs between their configurations, seeds of one configuration as one group, means with 95 %
intervals, tests against a baseline, curves, pictures and cost. A RUN is a run folder, a folder of runs, or a pattern.

    diffusion-lit compare runs/mnist-* out=mnist.html
    diffusion-lit compare runs/ablation baseline=schedule=VP         the group that the others are tested against
    diffusion-lit compare runs/ablation format=latex > table.tex     no page is written
    diffusion-lit compare runs/ablation --watch                      write the page again while jobs run, until Ctrl-C

Numbers that were measured in other ways (another n, extractor, split, data ...) are marked and never ranked together.
Without scripts or network, the page shows everything but curves and pictures; with its own script it sorts and filters.
"""

import shutil
import signal
from pathlib import Path

from diffusion_lit.errors import UserError

__all__ = ["run"]


def run(words: list[str]) -> int:
    from diffusion_lit.configuration import split_arguments
    from diffusion_lit.tracking.comparison import FORMATS, compare, watch, write_page

    defaults = {"out": "", "baseline": "", "format": "", "every": 30.0}
    settings = [word for word in words if word.partition("=")[0] in defaults and "=" in word]
    arguments, _ = split_arguments(settings, defaults)
    folders = [word for word in words if word not in settings and word != "--watch"]  # a folder may be called lr=0.1
    unknown = [word for word in folders if word.startswith("-") or ("=" in word and not Path(word).exists())]
    if unknown:
        raise UserError(f"compare: unknown {', '.join(unknown)}; it takes {', '.join(defaults)} and --watch")
    if arguments["format"] not in ("", *FORMATS):
        raise UserError(f"format={arguments['format']}: there are {', '.join(FORMATS)}")
    if arguments["every"] < 1:
        raise UserError(f"every={arguments['every']:g}: seconds between two looks, 1 or more")
    out = Path(arguments["out"] or "compare.html")
    if "--watch" in words:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a job's end is as good as Ctrl-C
        try:
            for line in watch(folders, out, arguments["baseline"], arguments["every"]):
                print(line, flush=True)
        except KeyboardInterrupt:
            print()
        return 0
    found = compare(folders, arguments["baseline"])
    if arguments["format"] in ("", "text"):
        print(found.text(shutil.get_terminal_size().columns))
    else:
        print(FORMATS[arguments["format"]](found))
    if arguments["out"] or not arguments["format"]:
        print(write_page(found, out))
    return 0

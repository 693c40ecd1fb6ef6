"""diffusion-lit compare RUN RUN ... [out=FILE]

Print a table of several runs -- where their configurations differ, what came of it -- and write it as one HTML page.

    diffusion-lit compare runs/mnist-*  out=mnist.html
"""

import shutil
from pathlib import Path

from diffusion_lit.errors import UserError

__all__ = ["run"]


def run(words: list[str]) -> int:
    from diffusion_lit.configuration import split_arguments
    from diffusion_lit.tracking.compare import compare
    from diffusion_lit.tracking.report import write_report

    folders = [Path(word) for word in words if "=" not in word]
    arguments, unknown = split_arguments([word for word in words if "=" in word], {"out": "compare.html"})
    if not folders or unknown:
        raise UserError("compare: expected run folders, such as `diffusion-lit compare runs/a runs/b`")
    print(compare(folders).text(shutil.get_terminal_size().columns))
    print(write_report(folders, Path(arguments["out"])))
    return 0

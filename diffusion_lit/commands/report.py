"""diffusion-lit report RUN [out=FILE]

Write one self-contained HTML page of a run: its numbers, restorations, samples, curves, configuration and cost.

    diffusion-lit report runs/demo
"""

from pathlib import Path

from diffusion_lit.errors import UserError

__all__ = ["run"]


def run(words: list[str]) -> int:
    from diffusion_lit.configuration import split_arguments
    from diffusion_lit.tracking.report import write_report

    folders = [Path(word) for word in words if "=" not in word]
    arguments, unknown = split_arguments([word for word in words if "=" in word], {"out": ""})
    if len(folders) != 1 or unknown:
        raise UserError("report: expected one run folder, such as `diffusion-lit report runs/demo`")
    out = Path(arguments["out"] or folders[0] / "report.html")
    print(write_report(folders[0], out))
    return 0

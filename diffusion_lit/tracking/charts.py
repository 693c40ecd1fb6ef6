"""Line charts as inline SVG that takes its text colour and font from the page around it."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffusion_lit.errors import UserError
from diffusion_lit.tracking.words import Number

__all__ = ["Line", "draw", "smooth"]

_COLOURS = ("#3b82c4", "#d9822b", "#2a9d6f", "#c2477f", "#8763c5", "#8a8f3a", "#0e97a7", "#a8604a")
_TEXT = "#010203"  # stands for the page's own colour and is replaced in the SVG
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "diffusion_lit",
    "font.size": 11,
    "text.color": _TEXT,
    "axes.edgecolor": _TEXT,
    "axes.labelcolor": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
}


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Args:
        label: in the legend; lines of one label share a colour.
        x, y: as many abscissas as ordinates; what is not finite leaves a gap.
        faint: drawn thin and without an entry in the legend, such as a curve before smoothing.
        colour: place in a sequence from 0 (early) to 1 (late), where lines have an order; None: the next colour.
    """

    label: str
    x: Sequence[Number]
    y: Sequence[Number]
    faint: bool = False
    colour: Number | None = None


def smooth(values: Sequence[Number], width: Number) -> list[Number]:
    """Return the exponential moving average over about `width` points, without the pull towards its start at 0.

    Args:
        values: what is not finite is passed over.
        width: in points; at least 1.
    """
    keep, total, weight, result = 1 - 1 / max(1.0, width), 0.0, 0.0, []
    for value in values:
        if abs(value) < float("inf"):
            total, weight = keep * total + value, keep * weight + 1
        result.append(total / weight if weight else float("nan"))
    return result


def draw(lines: Sequence[Line], *, x_label: str = "images seen", y_label: str = "", log: bool = False) -> str:
    """Return a line chart as an <svg> element without an outside reference.

    Args:
        lines: drawn in order.
        x_label, y_label: under and beside the axes.
        log: logarithmic ordinate, where all values are positive.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.ticker import EngFormatter
    except ImportError as error:
        raise UserError(
            "matplotlib is not installed, and the report draws its curves with it: pip install "
            "'diffusion_lit[report]', then write the report again. The run itself is not touched."
        ) from error

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 3.3), layout="constrained")
        axes = figure.subplots()
        _lines(axes, lines)
        axes.set(xlabel=x_label, ylabel=y_label)
        if log:
            axes.set_yscale("log")
        axes.grid(color=_TEXT, alpha=0.12, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_alpha(0.35)
        axes.tick_params(length=3)
        if max((max(line.x, default=0) for line in lines), default=0) >= 1000:
            axes.xaxis.set_major_formatter(EngFormatter(sep="\u2009"))
        if len({line.label for line in lines}) > 1:
            axes.legend(frameon=False, fontsize=9.5, handlelength=1.4)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue())


def _lines(axes: Any, lines: Sequence[Line]) -> None:
    colours: dict[str, str] = {}
    for line in lines:
        colour = colours.setdefault(line.label, _COLOURS[len(colours) % len(_COLOURS)])
        if line.colour is not None:
            colour = _between("#9db4c8", "#c2477f", line.colour)
        style = {"linewidth": 0.8, "alpha": 0.3} if line.faint else {"linewidth": 1.8, "label": line.label}
        sparse = not line.faint and len(line.x) <= 24
        axes.plot(line.x, line.y, color=colour, marker="o" if sparse else "", markersize=3.5, **style)


def _between(first: str, last: str, place: float) -> str:
    ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (first, last)]
    return "#" + "".join(f"{round(a + (b - a) * place):02x}" for a, b in zip(*ends))


def _inline(svg: str) -> str:
    svg = svg[svg.index("<svg") :].replace(_TEXT, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r' (width|height)="[^"]*pt"', "", svg, count=2)  # the view box stays: the page sets the size

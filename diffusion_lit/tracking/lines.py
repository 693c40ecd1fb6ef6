"""metrics.jsonl: one JSON object a line, written whole, read back even if the last line was cut by a kill."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusion_lit.errors import UserError
from diffusion_lit.files import write_text

__all__ = ["cut", "decode", "encode", "merged", "read", "series", "without_times"]

_TIMES = ("time", "seconds", "images_per_second")


def encode(line: Mapping[str, Any]) -> str:
    """Return `line` as one line of valid JSON, the same text for the same numbers on every machine.

    Floats keep nine significant digits, which is every float32 exactly; what JSON has no number for becomes the
    strings "nan", "inf" and "-inf", which `decode` turns back.

    Args:
        line: metric name to number; "images_seen" is written as an integer, "time" (unix seconds) to a millisecond.
    """
    return json.dumps({key: _plain(key, value) for key, value in line.items()}, ensure_ascii=False, allow_nan=False)


def decode(text: str) -> dict[str, Any]:
    """Return the metrics of one line that `encode` wrote; raises ValueError for anything that is not one."""
    line = json.loads(text)
    if not isinstance(line, dict):
        raise ValueError(f"a line of metrics is a JSON object, not {text!r}")
    return {key: float(value) if value in ("nan", "inf", "-inf") else value for key, value in line.items()}


def read(path: str | Path) -> list[dict[str, Any]]:
    """Return all lines of a metrics file, in order; a missing file has none, a damaged last line is left out.

    Raises:
        UserError: a line before the last one is damaged, which no kill can cause.
    """
    return [line for _, line in _parse(Path(path))]


def cut(path: str | Path, images_seen: int | None = None) -> int:
    """Remove a damaged last line and, when `images_seen` is given, all lines past it; return how many lines stay.

    A run that goes on from a checkpoint at `images_seen` logs everything past it again, and a run that starts at 0 logs
    everything again, so that nothing is ever logged twice. The file is written aside and renamed.
    """
    path = Path(path)
    kept = _parse(path)
    if images_seen is not None:
        kept = [(text, line) for text, line in kept if line["images_seen"] <= images_seen and images_seen > 0]
    whole = "".join(f"{text}\n" for text, _ in kept)
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") != whole:
        write_text(path, whole)
    return len(kept)


def merged(own: list[dict[str, Any]], beside: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], frozenset[int]]:
    """Return the lines that training logged and those that were measured beside it, by images seen, training's first.

    Returns:
        the lines, and the positions of the latter.
    """
    if not beside:
        return own, frozenset()
    together = [(line, False) for line in own] + [(line, True) for line in beside]
    together.sort(key=lambda one: one[0]["images_seen"])  # it keeps the order of equals
    return [line for line, _ in together], frozenset(i for i, (_, late) in enumerate(together) if late)


def series(lines: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Return the images seen and the values of one metric, in the order in which they were logged."""
    points = [(line["images_seen"], float(line[name])) for line in lines if name in line]
    return [x for x, _ in points], [y for _, y in points]


def without_times(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the line without what depends on the clock: "time" and metrics called seconds or images_per_second."""
    return {key: value for key, value in line.items() if key.rsplit("/", 1)[-1] not in _TIMES}


def _plain(key: str, value: Any) -> int | float | str:
    value = value.item() if hasattr(value, "item") else value
    if key == "images_seen":
        return round(value)
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return str(value)
    return round(value, 3) if key == "time" else float(f"{value:.9g}")


def _parse(path: Path) -> list[tuple[str, dict[str, Any]]]:
    if not path.exists():
        return []
    texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            line = decode(text)
            line["images_seen"] = int(line["images_seen"])
        except (ValueError, KeyError, TypeError) as error:
            if number == len(texts):
                break
            raise UserError(
                f"{path}, line {number}: {text[:60]!r} is no line of metrics (a JSON object with images_seen). Only "
                f"the last line can be cut by a kill, so the file was edited or its disk is damaged: remove that line, "
                f"or restore the file."
            ) from error
        lines.append((text, line))
    return lines

"""What a check found."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Result", "fine", "stops", "warns", "worst"]

_ORDER = ("ok", "--", "!!")


@dataclass(frozen=True)
class Result:
    """What a check found.

    Args:
        mark: "ok", "--" (worth to know, the run works) or "!!" (it would stop the run).
        found: in words.
        mend: what to do about it; empty if nothing.
    """

    mark: str
    found: str
    mend: str = ""


def fine(found: str) -> Result:
    """All is well."""
    return Result("ok", found)


def warns(found: str, mend: str = "") -> Result:
    """The run works, but not as well as it could."""
    return Result("--", found, mend)


def stops(found: str, mend: str) -> Result:
    """The run would not work."""
    return Result("!!", found, mend)


def worst(results: Sequence[Result], otherwise: str) -> Result:
    """Fold the results of one matter into one: the gravest ones, or if there are none `otherwise` as fine."""
    if not results:
        return fine(otherwise)
    mark = max((result.mark for result in results), key=_ORDER.index)
    graver = [result for result in results if result.mark == mark]
    found, mend = ("; ".join(text for text in texts if text) for texts in zip(*((r.found, r.mend) for r in graver)))
    return Result(mark, found, mend)

"""Claims: sentences with a number and what it must be; together, the ledger of an experiment."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion_lit.errors import UserError
from diffusion_lit.files import write_text
from diffusion_lit.reproduction.results import Result, Results
from diffusion_lit.tracking.words import Number

__all__ = ["Claim", "check", "write_ledger"]


@dataclass(frozen=True)
class Claim:
    """One sentence of the ledger.

    Args:
        name: what is claimed.
        source: the paper and its table, or "closed form".
        obtained: a function without arguments that finds the number; it is asked when the claim is checked.
        expected: the number it should be, within `tolerance`.
        tolerance: of `expected`.
        at_most, at_least: bounds, in place of `expected`.
        reason: why it fails, if it is known to.
    """

    name: str
    source: str
    obtained: Callable[[], float]
    expected: Number | None = None
    tolerance: Number | None = None
    at_most: Number | None = None
    at_least: Number | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.expected is None) != (self.tolerance is None):
            raise UserError(f"claim {self.name!r}: expected and tolerance go together")
        if self.expected is None and self.at_most is None and self.at_least is None:
            raise UserError(f"claim {self.name!r}: says nothing; give expected and tolerance, at_most or at_least")

    @property
    def bound(self) -> str:
        """What the number must be, in words."""
        parts = [f"{self.expected:.6g} +- {self.tolerance:.2g}"] if self.expected is not None else []
        parts += [f"<= {self.at_most:.6g}"] if self.at_most is not None else []
        parts += [f">= {self.at_least:.6g}"] if self.at_least is not None else []
        return ", ".join(parts)

    def holds(self, value: Number) -> bool:
        """Whether a number is what is claimed; never if it is not finite."""
        if not math.isfinite(value):
            return False
        near = self.expected is None or self.tolerance is None or abs(value - self.expected) <= self.tolerance
        return (
            near
            and value <= (math.inf if self.at_most is None else self.at_most)
            and value >= (-math.inf if self.at_least is None else self.at_least)
        )


def check(claims: Iterable[Claim], results: Results) -> list[dict[str, Any]]:
    """Check every claim: rows of the ledger. `obtained` and `holds` are None where the numbers are missing."""
    measured: list[Result] = [*results.fresh.values(), *results.stale.values()]
    about = {
        "seeds": sorted({result.seed for result in measured}),
        "hardware": ", ".join(sorted({result.hardware for result in measured})),
        "minutes": round(sum(result.minutes for result in measured), 1),
        "date": max((result.date for result in measured), default=""),
    }
    rows = []
    for claim in claims:
        try:
            value = float(claim.obtained())
        except LookupError:
            value = None
        rows.append(
            {
                "name": claim.name,
                "source": claim.source,
                "bound": claim.bound,
                "obtained": None if value is None else float(f"{value:.6g}"),
                "holds": None if value is None else claim.holds(value),
                "reason": claim.reason,
                **about,
            }
        )
    return rows


def write_ledger(path: Path, rows: list[dict[str, Any]], command: str, config: str) -> None:
    """Write ledger.json, with the command and the hash of all configurations in each row."""
    rows = [{**row, "command": command, "config": config} for row in rows]
    write_text(path, json.dumps(rows, indent=1) + "\n")

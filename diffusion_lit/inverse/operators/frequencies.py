"""Which Fourier coefficients are measured: patterns of lines, or a mask. The zero frequency is in the middle."""

import math

import torch
from jaxtyping import Bool
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.randomness import Randomness

__all__ = ["equispaced_lines", "gaussian_lines", "observed_frequencies"]


def equispaced_lines(n: int, acceleration: int | float = 4.0, centre: int | float = 0.08) -> Bool[Tensor, " n"]:
    """Return which of n lines are measured: the middle ones, and evenly spaced ones, n / acceleration in all.

    Args:
        n: number of lines.
        acceleration: > 1.
        centre: the part of all lines, in the middle, that is measured in any case (fastMRI: .08 for 4, .04 for 8).
    """
    lines, budget = _centre_lines(n, acceleration, centre)
    rest = (~lines).nonzero()[:, 0]
    chosen = ((torch.arange(budget, dtype=torch.float64) + 0.5) * len(rest) / max(budget, 1)).long()
    lines[rest[chosen]] = True
    return lines


def gaussian_lines(
    n: int, acceleration: int | float = 4.0, centre: int | float = 0.08, seed: int = 0
) -> Bool[Tensor, " n"]:
    """Return which of n lines are measured: the middle ones, and random ones that are denser near the middle.

    Lines are drawn without replacement with weights exp(-d^2 / (2 (n / 4)^2)), d the distance from the middle (the
    variable-density pattern of Jalal et al. 2021 and Chung & Ye 2022).

    Args:
        n: number of lines.
        acceleration: > 1; n / acceleration lines are measured in all.
        centre: the part of all lines, in the middle, that is measured in any case.
        seed: of the choice.
    """
    lines, budget = _centre_lines(n, acceleration, centre)
    distance = torch.arange(n, dtype=torch.float64) - n // 2
    # the largest of log weight + Gumbel noise are a draw without replacement
    uniform = Randomness(seed, torch.zeros(1, dtype=torch.int64)).uniform(n)[0]
    key = -(distance**2) / (2 * (n / 4) ** 2) - (-uniform.log()).log()
    key[lines] = -math.inf
    lines[key.topk(budget).indices] = True
    return lines


def _centre_lines(n: int, acceleration: int | float, centre: int | float) -> tuple[Bool[Tensor, " n"], int]:
    """Return the lines in the middle, and how many more are to be measured."""
    if not (1 < acceleration <= n and 0 <= centre <= 1 / acceleration):
        raise UserError(
            f"acceleration {acceleration}, centre {centre}, {n} lines: of these 1 / acceleration are measured, the "
            f"centre among them; give 1 < acceleration <= {n} and 0 <= centre <= 1 / acceleration"
        )
    total, middle = max(1, round(n / acceleration)), max(1, round(centre * n)) if centre > 0 else 0
    middle = min(middle, total)
    lines = torch.zeros(n, dtype=torch.bool)
    start = n // 2 - middle // 2
    lines[start : start + middle] = True
    return lines, total - middle


def observed_frequencies(
    name: str,
    size: tuple[int, int],
    pattern: str,
    acceleration: int | float,
    centre: int | float,
    seed: int,
    mask: Tensor | None,
) -> Bool[Tensor, "height width"]:
    """Return which frequencies are measured; lines are columns, constant along the read-out of every row.

    Args:
        name: of the operator, for errors.
        size: (H, W).
        pattern: "equispaced" or "gaussian".
        acceleration, centre, seed: of the pattern.
        mask: in place of a pattern, (H, W) or (W,), True where it is measured.

    Raises:
        UserError: there is no such pattern, or the mask is of another size, or measures all or nothing.
    """
    if mask is None:
        patterns = {
            "equispaced": lambda n: equispaced_lines(n, acceleration, centre),
            "gaussian": lambda n: gaussian_lines(n, acceleration, centre, seed),
        }
        if pattern not in patterns:
            raise UserError(f"{name}: pattern {pattern!r} is not one of {', '.join(patterns)}")
        return patterns[pattern](size[1]).expand(size).clone()
    if tuple(mask.shape) not in (size, size[1:]):
        raise UserError(f"{name}: a mask of {tuple(mask.shape)}; give one of {size}, or of {size[1:]} for columns")
    observed = (mask.bool() if mask.dtype == torch.bool else mask >= 0.5).expand(size).clone()
    count = int(observed.sum())
    if count in (0, observed.numel()):
        raise UserError(
            f"{name}: the mask measures {count} of {observed.numel()} frequencies, so there is nothing to "
            f"{'start from' if count == 0 else 'restore'}; measure some (True) and leave some"
        )
    return observed

"""Solvers of dx/dt = field(x, t) in which every sample of a batch has a step size and an error of its own.

The usual adaptive solvers take one norm over the whole batch, so that a sample depends on its neighbours; here it does
not.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, expand
from diffusion_lit.errors import UserError

__all__ = ["Field", "dormand_prince"]

#: (x (B, *), t (B,) float64) -> dx/dt (B, *), row by row.
Field = Callable[[Tensor, Tensor], Tensor]

# Dormand & Prince 1980, RK5(4)7M: stage i stands at NODES[i] and moves by STAGES[i] of the slopes before it. The last
# stage is the fifth-order result itself, so its slope is the first of the next step.
_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# the fifth-order weights less the fourth-order ones
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def _rms(x: Batch) -> Float[Tensor, " batch"]:
    return x.flatten(1).double().square().mean(1).sqrt()


def _first_step(field: Field, x: Batch, t: Tensor, slope: Batch, span: Tensor, rtol: float, atol: float) -> Tensor:
    """The signed first step (B,) (Hairer, Norsett & Wanner 1993, section II.4)."""
    scale = atol + rtol * x.abs()
    size, speed = _rms(x / scale), _rms(slope / scale)
    step = torch.where((size < 1e-5) | (speed < 1e-5), 1e-6, 0.01 * size / speed.clamp_min(1e-30))
    step = torch.minimum(step, span.abs())
    there = t + step * span.sign()
    bend = _rms((field(x + expand(step * span.sign(), x) * slope, there) - slope) / scale) / step.clamp_min(1e-30)
    largest = torch.maximum(speed, bend)
    second = torch.where(largest <= 1e-15, (1e-3 * step).clamp_min(1e-6), (0.01 / largest.clamp_min(1e-15)) ** 0.2)
    return torch.minimum(torch.minimum(100 * step, second), span.abs()) * span.sign()


def dormand_prince(
    field: Field,
    x: Batch,
    start: float | Float[Tensor, "*times"],
    end: float | Float[Tensor, "*times"],
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    max_steps: int = 1000,
    time: Callable[[Tensor], Tensor] = lambda t: t,
) -> tuple[Batch, Int64[Tensor, " batch"]]:
    """Solve dx/dt = field(x, t) from `start` to `end` by Dormand and Prince's pair of orders 5 and 4.

    A step is accepted when the root mean square, over the entries of this sample, of error / (atol + rtol |x|) is at
    most 1. The field always sees the whole batch, since rows may have conditions or projections of their own; samples
    that have arrived stand still.

    Args:
        field: (x (B, *), t (B,)) -> dx/dt (B, *); a row may depend on its own x and t only.
        x: (B, *) at `start`; the arithmetic is in its dtype, times are float64.
        start: a number, () or (B,).
        end: a number, () or (B,), before or after `start`.
        rtol, atol: relative and absolute tolerance of one step, > 0.
        max_steps: the most steps, accepted or not, that a sample may take.
        time: what an error calls t, if the equation is solved in another variable.

    Returns:
        x (B, *) at `end`, and how often the field was needed by each sample (B,).

    Raises:
        UserError: the tolerance is not positive, or was not met: within max_steps, or by any step that still moves t.
    """
    if not (rtol > 0 and atol > 0):
        raise UserError(f"rtol, atol: {rtol}, {atol}; both must be above 0")
    # tensors of their own: a schedule's derivative cannot be taken at expanded times
    t, end = (torch.as_tensor(v, dtype=torch.float64, device=x.device).expand(len(x)).clone() for v in (start, end))
    span, evaluations = end - t, torch.zeros(len(x), dtype=torch.int64, device=x.device)
    active = span != 0
    if not bool(active.any()):
        return x, evaluations
    slope = field(x, t)
    step = _first_step(field, x, t, slope, span, rtol, atol)
    evaluations = evaluations + 2 * active
    may_grow = torch.ones_like(active)

    for _ in range(max_steps):
        last = (step.abs() >= (end - t).abs() * (1 - 1e-9)) & active
        step = torch.where(last, end - t, step).where(active, 0.0)
        slopes = [slope]
        for node, row in zip(_NODES, _STAGES):
            moved = x + expand(step, x) * sum(a * k for a, k in zip(row, slopes))
            slopes.append(field(moved, torch.where(last & (node == 1.0), end, t + node * step)))
        evaluations = evaluations + 6 * active

        error = expand(step, x) * sum(e * k for e, k in zip(_ERROR, slopes))
        ratio = _rms(error / (atol + rtol * torch.maximum(x.abs(), moved.abs())))
        ratio = ratio.where(ratio.isfinite(), torch.inf)  # a field that overflows asks for a shorter step
        accepted = active & (ratio <= 1)
        t = torch.where(accepted & last, end, torch.where(accepted, t + step, t))
        moves = accepted.reshape(-1, *[1] * (x.ndim - 1))
        x, slope = torch.where(moves, moved, x), torch.where(moves, slopes[-1], slope)
        active = active & ~(accepted & last)
        if not bool(active.any()):
            return x, evaluations

        factor = (0.9 * ratio.clamp_min(1e-10) ** -0.2).clamp(0.2, 10.0)
        step = step * torch.where(may_grow | ~accepted, factor, factor.clamp(max=1.0))
        may_grow = accepted  # not straight after a rejection
        stuck = active & (step.abs() < 16 * torch.finfo(torch.float64).eps * torch.maximum(t.abs(), span.abs()))
        if bool(stuck.any()):
            raise _not_met("no step is short enough", stuck, time(t), step, rtol, atol)
    raise _not_met(f"{max_steps} steps are not enough", active, time(t), step, rtol, atol)


def _not_met(what: str, rows: Tensor, t: Tensor, step: Tensor, rtol: float, atol: float) -> UserError:
    row = int(rows.nonzero()[0])
    return UserError(
        f"rtol = {rtol:g}, atol = {atol:g} not met at t = {t[row].item():.6g} with a step of {step[row].item():.2g} "
        f"({int(rows.sum())} samples, the first is row {row}): {what}. Allow more error or more steps; if the step is "
        f"tiny, look whether the field is finite there"
    )

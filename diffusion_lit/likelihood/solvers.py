"""Solvers of the probability flow: from the state at t = start up to t = 1.

A solver is called as `solver(field, state, schedule, start)`, with state (B, n) and its slope field(state, t) of the
same shape, where t is () or (B,).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.noise import Schedule
from diffusion_lit.samplers.ode import dormand_prince

__all__ = ["HEUN", "RK4", "DormandPrince", "FixedSteps", "Solver", "Tableau"]

State = Float[Tensor, "batch n"]
Field = Callable[[Tensor, Tensor], Tensor]


@runtime_checkable
class Solver(Protocol):
    """What the probability flow needs of a solver.

    `adaptive` says that it judges its steps by the field, which must then be smooth in t: random projections stay the
    same all along a path. Otherwise each time has projections of its own, whose errors average out over the steps.
    """

    @property
    def adaptive(self) -> bool: ...

    def __call__(self, field: Field, state: State, schedule: Schedule, start: float) -> State: ...


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method: stage i stands at node sum(rows[i]), moved by rows[i] of the slopes before it."""

    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


#: Heun's method, of order 2.
HEUN = Tableau(((), (1.0,)), (1 / 2, 1 / 2))
#: The classical method of Runge and Kutta, of order 4.
RK4 = Tableau(((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))


@dataclass(frozen=True)
class FixedSteps:
    """So many steps of a Runge-Kutta method, equal in (sigma_t / alpha_t)^(1/rho) (Karras et al. 2022, eq. 5).

    Args:
        steps: number of steps >= 1.
        tableau: the method.
        rho: 7 makes steps near the data short; larger still shorter.
    """

    steps: int = 60
    tableau: Tableau = HEUN
    rho: float = 7.0
    adaptive: ClassVar[bool] = False

    def __post_init__(self):
        if self.steps < 1:
            raise UserError(f"steps: {self.steps} < 1; a solver takes at least one step")

    def times(self, schedule: Schedule, start: float) -> Float[Tensor, " steps_plus_1"]:
        """The times from start to 1, float64."""
        ends = torch.tensor([start, 1.0], dtype=torch.float64)
        first, last = (-schedule.log_snr(ends) / (2 * self.rho)).exp().tolist()
        times = schedule.time(-2 * self.rho * torch.linspace(first, last, self.steps + 1, dtype=torch.float64).log())
        return torch.cat((ends[:1], times[1:-1], ends[1:]))

    def __call__(self, field: Field, state: State, schedule: Schedule, start: float) -> State:
        for t, s in pairwise(self.times(schedule, start).to(state.device)):
            slopes = []
            for row in self.tableau.rows:
                moved = state + (s - t) * sum(a * k for a, k in zip(row, slopes))
                slopes.append(field(moved, t + sum(row) * (s - t)))
            state = state + (s - t) * sum(b * k for b, k in zip(self.tableau.weights, slopes))
        return state


@dataclass(frozen=True)
class DormandPrince:
    """Steps as long as the tolerances allow, for each sample by itself (Song et al. 2021 take 1e-5 for both).

    Args:
        rtol, atol: relative and absolute tolerance of one step, > 0.
        max_steps: the most steps a sample may take.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 1000
    adaptive: ClassVar[bool] = True

    def __call__(self, field: Field, state: State, schedule: Schedule, start: float) -> State:
        return dormand_prince(field, state, start, 1.0, rtol=self.rtol, atol=self.atol, max_steps=self.max_steps)[0]

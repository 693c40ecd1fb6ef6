"""Walks down a grid that may go back up: RePaint's, of which the plain walk is one (Lugmayr et al. 2022)."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch
from diffusion_lit.errors import UserError
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness

__all__ = ["Jumps", "forward_jump", "schedule_jumps"]


def schedule_jumps(steps: int, jump_length: int, jump_n_sample: int) -> list[int]:
    """Return the levels visited, steps = noise down to 0 = data (Lugmayr et al. 2022, appendix B).

    At levels 1, 1 + j, 1 + 2j, ... < steps - j + 1 the walk jumps up by j = jump_length, jump_n_sample - 1 times.
    """
    left = dict.fromkeys(range(1, steps - jump_length + 1, jump_length), jump_n_sample - 1)
    levels = [steps]
    while levels[-1] > 0:
        levels.append(levels[-1] - 1)
        if left.get(levels[-1], 0) > 0:
            left[levels[-1]] -= 1
            levels.append(levels[-1] + jump_length)
    return levels


def forward_jump(schedule: Schedule, x_s: Batch, s: Tensor, t: Tensor, noise: Randomness) -> Batch:
    """Draw x_t from q(x_t | x_s) for t > s: shrunk to alpha_t, and the noise that is missing."""
    (alpha_s, sigma_s), (alpha_t, sigma_t) = schedule(s), schedule(t)
    ratio = alpha_t / alpha_s
    missing = (sigma_t**2 - ratio**2 * sigma_s**2).clamp_min(0).sqrt()
    return ratio.to(x_s) * x_s + missing.to(x_s) * noise.normal(*x_s.shape[1:], dtype=x_s.dtype)


@dataclass(frozen=True)
class Jumps:
    """The walk of `schedule_jumps`: down by steps of a method, up by `forward_jump`.

    Args:
        steps: levels of the grid.
        length: levels of one jump up.
        repeats: passes over each stretch; 1 is a plain walk.

    Raises:
        UserError: length or repeats is below 1.
    """

    steps: int
    length: int
    repeats: int

    def __post_init__(self):
        if min(self.length, self.repeats) < 1:
            raise UserError(f"jump_length {self.length}, jump_n_sample {self.repeats}: both are at least 1")

    @property
    def levels(self) -> list[int]:
        """Of the walk, `steps` to 0."""
        return schedule_jumps(self.steps, self.length, self.repeats)

    @property
    def nfe(self) -> int:
        """How many steps go down."""
        return sum(after < before for before, after in pairwise(self.levels))

    def walk(
        self,
        schedule: Schedule,
        step: Callable[[Tensor, Tensor, Tensor], Tensor],
        x: Batch,
        times: Float64[Tensor, " times"],
        noise: Randomness,
    ) -> Batch:
        """Carry x, which stands at times[0], to the data; step(x_t, t, s) goes down."""
        for before, after in pairwise(self.levels):
            t, s = times[self.steps - before], times[self.steps - after]
            x = forward_jump(schedule, x, t, s, noise) if after > before else step(x, t, s)
        return x

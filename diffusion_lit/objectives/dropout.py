"""Training with the condition left out now and then, for classifier-free guidance."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.objectives.base import Objective
from diffusion_lit.randomness import Randomness

__all__ = ["ConditionDropout"]

_STREAM = 0x44524F50  # whether a condition is left out is another stream than what the objective draws


class ConditionDropout:
    """An objective that blanks the condition of some samples (Ho & Salimans 2022, algorithm 1).

    Args:
        objective: any objective.
        blank: the condition that says "none", such as {"label": 10} for a network of ten classes.
        probability: of leaving the condition out, in [0, 1]; 0.1 to 0.2 are usual.

    Raises:
        UserError: the probability is not one.
    """

    def __init__(self, objective: Objective, blank: Mapping[str, Any], probability: float = 0.1):
        if not 0 <= probability <= 1:
            raise UserError(f"probability: {probability} is not in [0, 1]")
        self.objective, self.blank, self.probability, self.times = objective, blank, probability, objective.times

    def __call__(
        self, denoiser: Denoiser, x_0: Batch, *, seed: int, positions: Int64[Tensor, " batch"], **condition
    ) -> Float[Tensor, " batch"]:
        """Return the objective's loss (B,) of x_0 (B, *); which conditions are blank, (seed, position) says."""
        condition = self._dropped(condition, seed, positions)
        return self.objective(denoiser, x_0, seed=seed, positions=positions, **condition)

    def loss_at(
        self,
        denoiser: Denoiser,
        x_0: Batch,
        t: Float[Tensor, " batch"],
        *,
        seed: int,
        positions: Int64[Tensor, " batch"],
        **condition,
    ) -> Float[Tensor, " batch"]:
        """The same at given times t (B,)."""
        condition = self._dropped(condition, seed, positions)
        return self.objective.loss_at(denoiser, x_0, t, seed=seed, positions=positions, **condition)

    def _dropped(self, condition: dict[str, Tensor], seed: int, positions: Tensor) -> dict[str, Tensor]:
        names = positions.reshape(len(positions), -1)
        names = torch.cat((names, torch.full_like(names[:, :1], _STREAM)), dim=1)
        left_out = Randomness(seed, names, positions.device).uniform() < self.probability
        return {key: torch.where(left_out, self.blank[key], value) for key, value in condition.items()}

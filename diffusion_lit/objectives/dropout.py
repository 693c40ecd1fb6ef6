"""Training with the condition left out now and then, for classifier-free guidance."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from diffusion_lit.denoise import Batch
from diffusion_lit.errors import UserError
from diffusion_lit.objectives.base import Objective, Prepared
from diffusion_lit.randomness import Randomness, beside

__all__ = ["ConditionDropout"]

_STREAM = 0x44524F50  # whether a condition is left out is another stream than what the objective draws


class ConditionDropout(Prepared):
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
        super().__init__(objective)
        self.blank, self.probability = blank, probability

    def prepare(
        self, x_0: Batch, condition: dict[str, Tensor], seed: int, positions: Int64[Tensor, " batch"]
    ) -> tuple[Batch, dict[str, Tensor]]:
        left_out = Randomness(seed, beside(positions, _STREAM), positions.device).uniform() < self.probability
        return x_0, {key: torch.where(left_out, self.blank[key], value) for key, value in condition.items()}

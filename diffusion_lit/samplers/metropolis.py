"""The Metropolis-adjusted Langevin algorithm: moves that keep p_t exactly, for denoisers with an energy."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.base import Mean, Past, Sampler
from diffusion_lit.samplers.grids import Uniform
from diffusion_lit.samplers.langevin import level

__all__ = ["MALA"]


@dataclass(frozen=True)
class _Place:
    """Where a chain stands: x, and its log-density and score."""

    x: Tensor
    log_density: Tensor
    score: Tensor


class MALA(Sampler):
    """Langevin's proposal x' = x + h s + sqrt(2h) z, accepted with probability min(1, p(x') q(x|x') / p(x) q(x'|x)).

    Exact for any h (Roberts & Tweedie 1996); its samples are of p_t, in units of x_t. It starts from sigma_1 z, or, by
    `run`, from any x; the times of the grid only count the steps.

    Args:
        steps: proposals.
        step_size: h > 0, in units of x_t squared; about 0.57 of the proposals accepted is best in many dimensions
            (Roberts & Rosenthal 1998).
        t: the noise level; the schedule's t_min unless given.
    """

    def __init__(self, steps: int = 1000, step_size: float = 1e-2, t: float | None = None):
        super().__init__(steps, Uniform())
        if not step_size > 0:
            raise UserError(f"step_size: {step_size}; a Langevin move needs a positive number")
        self.step_size, self.t = step_size, t

    @property
    def nfe(self) -> int:
        return self.steps + 1  # of the score; and as many of the energy

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        at = level(schedule, self.t, t)
        log_density, score = past.pop() if past else (mean.log_density(x_t, at), mean.score(x_t, at))
        place, _ = self._move(mean, _Place(x_t, log_density, score), at, noise)
        past.append((place.log_density, place.score))
        return place.x

    @torch.no_grad()
    def run(
        self, denoiser: Denoiser, x_t: Batch, noise: Randomness, **condition
    ) -> tuple[Batch, Float[Tensor, " batch"]]:
        """Move x_t (B, *); return where it is and the share of each sample's proposals that were accepted (B,).

        Raises:
            UserError: the denoiser has no energy.
        """
        mean = Mean(denoiser, condition)
        at = level(denoiser.schedule, self.t, torch.zeros((), dtype=torch.float64, device=x_t.device))
        place = _Place(x_t, mean.log_density(x_t, at), mean.score(x_t, at))
        accepted = torch.zeros(len(x_t), device=x_t.device)
        for _ in range(self.steps):
            place, accept = self._move(mean, place, at, noise)
            accepted = accepted + accept
        return place.x, accepted / self.steps

    def _move(self, mean: Mean, here: _Place, t: Tensor, noise: Randomness) -> tuple[_Place, Bool[Tensor, " batch"]]:
        h = self.step_size
        z = noise.normal(*here.x.shape[1:], dtype=here.x.dtype)
        x = here.x + h * here.score + (2 * h) ** 0.5 * z
        there = _Place(x, mean.log_density(x, t), mean.score(x, t))
        back = (here.x - x - h * there.score) / (2 * h) ** 0.5  # the z that would lead back
        log_q = (z.square() - back.square()).flatten(1).double().sum(1) / 2
        chance = (there.log_density - here.log_density).double() + log_q
        if bool(chance.isnan().any()):  # else such a proposal would be refused in silence, for ever
            raise UserError(
                f"{type(mean.denoiser).__name__}: {int(chance.isnan().sum())} of {len(x)} log-densities or scores are "
                f"not a number at t = {t.item():.4g}; look at the network's weights and condition, or shorten the steps"
            )
        accept = noise.uniform(1)[:, 0].log() < chance
        moves = accept.reshape(-1, *[1] * (x.ndim - 1))
        return (
            _Place(
                torch.where(moves, x, here.x),
                torch.where(accept, there.log_density, here.log_density),
                torch.where(moves, there.score, here.score),
            ),
            accept,
        )

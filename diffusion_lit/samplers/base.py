"""The one contract of samplers: a step from t to s < t, repeated down a grid."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, Posterior, expand
from diffusion_lit.errors import UserError
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Grid

__all__ = ["Mean", "Past", "Sampler", "check"]

#: What the steps so far saw and the next may need, such as (t, E[x_0 | x_t]) of multistep methods; the newest last.
Past = list[tuple[Tensor, Tensor]]


class Mean:
    """(x_t, t) -> E[x_0 | x_t], a denoiser whose condition is filled in, and what else it knows.

    Args:
        denoiser: the denoiser.
        condition: passed on to it with every call.
    """

    def __init__(self, denoiser: Denoiser, condition: dict[str, Any] | None = None):
        self.denoiser, self.condition = denoiser, condition or {}

    def __call__(self, x_t: Batch, t: Float[Tensor, "*times"]) -> Batch:
        return self.posterior(x_t, t).mean

    def posterior(self, x_t: Batch, t: Float[Tensor, "*times"]) -> Posterior:
        """Mean and, if the denoiser offers it, variance of x_0 given x_t."""
        return self.denoiser(x_t, t, **self.condition)

    def score(self, x_t: Batch, t: Float[Tensor, "*times"]) -> Batch:
        """grad log p_t(x_t), by Tweedie's formula."""
        alpha, sigma = (expand(c, x_t) for c in self.denoiser.schedule(t))
        return (alpha * self(x_t, t) - x_t) / sigma.square()

    def log_density(self, x_t: Batch, t: Float[Tensor, "*times"]) -> Float[Tensor, " batch"]:
        """log p_t(x_t) up to a constant.

        Raises:
            UserError: the denoiser has no energy.
        """
        log_density: Callable[..., Tensor] | None = getattr(self.denoiser, "log_density", None)
        if log_density is None:
            raise UserError(
                f"{type(self.denoiser).__name__} knows a score and no energy: it has no log_density(x_t, t), which "
                f"accepting or rejecting needs; use ULA, which needs none, or an EnergyDenoiser"
            )
        return log_density(x_t, t, **self.condition)


def check(schedule: Schedule, times: Float64[Tensor, " times"]) -> None:
    """Refuse times that a sampler cannot walk down.

    Raises:
        UserError: the times do not fall, leave [0, 1], or the signal-to-noise ratio does not rise on the way.
    """
    times = times.detach().cpu()
    for i, (t, s) in enumerate(pairwise(times.tolist())):
        if not 0 <= s < t <= 1:
            raise UserError(
                f"grid: times[{i}] = {t:.6g}, times[{i + 1}] = {s:.6g}; times fall strictly from 1, noise, to 0, data"
            )
    log_snr = schedule.log_snr(times[times > 0])
    if not bool((log_snr.diff() > 0).all()):  # NaN too
        i = int((~(log_snr.diff() > 0)).nonzero()[0])
        raise UserError(
            f"{type(schedule).__name__}: log-SNR goes from {log_snr[i].item():.4g} at t = {times[i].item():.6g} to "
            f"{log_snr[i + 1].item():.4g} at t = {times[i + 1].item():.6g}; a schedule's SNR falls with t"
        )


class Sampler(ABC):
    """Walks a denoiser from noise to data.

    Args:
        steps: number of steps N >= 1, the last of which goes to the data.
        grid: (schedule, steps) -> the N + 1 times.

    Attributes:
        nfe: calls of the denoiser a sample.
    """

    def __init__(self, steps: int, grid: Grid):
        if steps < 1:
            raise UserError(f"steps: {steps} < 1; a sampler takes at least one step, to the data")
        self.steps, self.grid = steps, grid

    @property
    def nfe(self) -> int:
        return self.steps

    @abstractmethod
    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        """Go from x_t (B, *) at time t () to x_s at s < t."""

    @torch.no_grad()
    def __call__(
        self,
        denoiser: Denoiser,
        shape: tuple[int, ...],
        *,
        seed: int,
        ids: Int64[Tensor, "batch *names"] | None = None,
        **condition,
    ) -> Float[Tensor, "batch *event"]:
        """Draw x_0 of `shape` (B, *).

        Args:
            denoiser: what to sample from.
            shape: (B, *) of the samples.
            seed: with an id it names a sample: sample i depends on (seed, ids[i]) and on nothing else.
            ids: (B,) names of the samples; 0..B-1 unless given.
            condition: passed on to the denoiser.
        """
        reference = denoiser.reference
        ids = torch.arange(shape[0]) if ids is None else ids
        if len(ids) != shape[0]:
            raise ValueError(f"ids: {len(ids)} names for {shape[0]} samples; give one each")
        noise = Randomness(seed, ids, reference.device)
        times = self.grid(denoiser.schedule, self.steps)
        _, sigma = denoiser.schedule(times[0])
        x_t = sigma.to(reference) * noise.normal(*shape[1:], dtype=reference.dtype)
        return self.integrate(denoiser, x_t, times, noise, **condition)

    @torch.no_grad()
    def integrate(
        self, denoiser: Denoiser, x_t: Batch, times: Float64[Tensor, " times"], noise: Randomness, **condition
    ) -> Batch:
        """Carry x_t (B, *), which stands at times[0], down the falling `times` to x at times[-1].

        Raises:
            UserError: the times do not fall inside [0, 1], or a step gave a number that is not finite.
        """
        check(denoiser.schedule, times)
        mean, past = Mean(denoiser, condition), []
        for step, (t, s) in enumerate(pairwise(times.to(x_t.device)), start=1):
            x_t = self.step(denoiser.schedule, mean, x_t, t, s, noise, past)
            if not bool(x_t.isfinite().all()):
                bad = int((~x_t.flatten(1).isfinite().all(1)).sum())
                raise UserError(
                    f"{type(denoiser).__name__}: {bad} of {len(x_t)} samples are not finite after step {step} of "
                    f"{len(times) - 1}, from t = {t.item():.4g} to {s.item():.4g}; look at the network's weights and "
                    f"condition, or take more steps"
                )
        return x_t

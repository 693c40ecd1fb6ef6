"""The one contract of samplers: a step from t to s < t, repeated down a grid."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Grid

__all__ = ["Mean", "Past", "Sampler"]

#: (x_t, t) -> E[x_0 | x_t], with the condition already filled in.
Mean = Callable[[Tensor, Tensor], Tensor]
#: (t, E[x_0 | x_t]) of the steps so far, for multistep methods; the newest last.
Past = list[tuple[Tensor, Tensor]]


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
        """Carry x_t (B, *), which stands at times[0], down the falling `times` to x at times[-1]."""

        def mean(x: Tensor, t: Tensor) -> Tensor:
            return denoiser(x, t, **condition).mean

        past: Past = []
        for t, s in pairwise(times.to(x_t.device)):
            x_t = self.step(denoiser.schedule, mean, x_t, t, s, noise, past)
        return x_t

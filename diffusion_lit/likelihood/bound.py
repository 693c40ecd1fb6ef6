"""The variational bound of a chain, taken apart: nats of the prior, of every step, and of the decoder (Ho et al. 2020).

The terms themselves are in `objectives.variational`; here they are summed for given data.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, step_variance
from diffusion_lit.errors import UserError
from diffusion_lit.objectives.denoising import diffuse
from diffusion_lit.objectives.variational import (
    Decoder,
    Discretised,
    FixedVariance,
    ReverseVariance,
    decoder_term,
    prior_term,
    step_term,
)
from diffusion_lit.randomness import Randomness

__all__ = ["Bound", "VariationalBound"]


class Bound(NamedTuple):
    """A bound on -log p(x) in nats, and its parts.

    Attributes:
        prior: (B,) KL(q(x_1 | x) || p(x_1)), the L_T of Ho et al.
        terms: (draws, B) KL of the steps drawn: each stands for `weight` steps.
        times: (draws, B) where those steps start, t in (1/T, 1].
        decoder: (B,) -log p(x | x_{1/T}), their L_0.
        weight: (T - 1) / draws; 1 if every step was taken.
    """

    prior: Float[Tensor, " batch"]
    terms: Float[Tensor, "draws batch"]
    times: Float[Tensor, "draws batch"]
    decoder: Float[Tensor, " batch"]
    weight: float

    @property
    def nats(self) -> Float[Tensor, " batch"]:
        """prior + sum of the steps' terms + decoder."""
        return self.prior + self.weight * self.terms.sum(0) + self.decoder

    @property
    def standard_error(self) -> Float[Tensor, " batch"]:
        """Of the sum of terms, from the differences of neighbours, each of which has its own stretch of the chain."""
        return self.weight * (self.terms.diff(dim=0).square().sum(0) / 2).sqrt()

    def bits_per_dim(self, dims: int) -> Float[Tensor, " batch"]:
        """nats / (d log 2): of discrete data whose decoder is a probability. Of a density see `Dequantisation`."""
        return self.nats / (dims * math.log(2))


class VariationalBound:
    """The bound of the chain t = i / T, summed over its steps, or over a stratified draw of them.

    Args:
        steps: of the chain, T >= 3.
        draws: how many of its inner steps 2..T are taken, one at random from each of so many equal stretches; all
            T - 1 unless given.
        variance: of the reverse steps; `FixedVariance(steps)`, beta, unless given.
        decoder: p(x | x_{1/T}); `Discretised(256)` unless given.

    Raises:
        UserError: draws is not between 2 and T - 1.
    """

    def __init__(
        self,
        steps: int = 1000,
        draws: int | None = None,
        variance: ReverseVariance | None = None,
        decoder: Decoder | None = None,
    ):
        self.steps, self.draws = steps, steps - 1 if draws is None else draws
        self.variance, self.decoder = variance or FixedVariance(steps), decoder or Discretised()
        if not 2 <= self.draws <= steps - 1:
            raise UserError(f"draws: {self.draws} is not between 2 and {steps - 1}, the inner steps of steps = {steps}")

    @torch.no_grad()
    def __call__(
        self,
        denoiser: Denoiser,
        x: Batch,
        seed: int = 0,
        ids: Int64[Tensor, "batch *names"] | None = None,
        **condition,
    ) -> Bound:
        """Return the bound on -log p(x | condition) with its parts, one draw of noise a step.

        Args:
            denoiser: D.
            x: (B, *) data, in the units the denoiser was trained in.
            seed: with an id it names a sample's steps and noise.
            ids: (B,) names of the samples; 0..B-1 unless given.
            condition: passed on to the denoiser.
        """
        schedule, dtype = denoiser.schedule, denoiser.reference.dtype
        noise = Randomness(seed, torch.arange(len(x), device=x.device) if ids is None else ids, x.device)
        x, terms, times = x.double(), [], []

        def law(t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
            """D(x_t, t) and the variance of x_s, for x_t drawn from q(x_t | x)."""
            posterior = denoiser(diffuse(schedule, x, t, noise).to(dtype), t, **condition)
            return posterior.mean.double(), step_variance(
                schedule, self.variance(posterior, schedule, t), t, s
            ).double()

        for k in range(self.draws):
            place = (k + noise.uniform(1)[:, 0]) * (self.steps - 1) / self.draws  # in [0, T - 1): inner step 2 + floor
            t, s = ((place.floor() + i) / self.steps for i in (2, 1))
            terms.append(step_term(schedule, x, *law(t, s), t, s))
            times.append(t)
        last = torch.full((len(x),), 1 / self.steps, dtype=torch.float64, device=x.device)
        return Bound(
            prior_term(schedule, x),
            torch.stack(terms),
            torch.stack(times),
            decoder_term(x, *law(last, torch.zeros_like(last)), self.decoder),
            (self.steps - 1) / self.draws,
        )

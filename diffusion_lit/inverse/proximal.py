"""Draws of p(z) ~ N(z | x, r^2 I) p(y | z): a Gaussian around x that has seen y.

The step in which methods that split prior from likelihood (DAPS, PnP-DM) hear of the measurement: their "restricted
Gaussian oracle". `ExactDraw` for linear operators with Gaussian noise, `LangevinDraw` for all others.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, expand
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.noise import Gaussian
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.randomness import Randomness

__all__ = ["ExactDraw", "LangevinDraw", "ProximalDraw", "matheron", "proximal_draw"]


@runtime_checkable
class ProximalDraw(Protocol):
    """z (B, *) of N(z | x, r^2 I) p(y | z), for x (B, *) and r () > 0 in the units of x."""

    def __call__(self, measurement: Measurement, x: Batch, r: Float64[Tensor, ""], noise: Randomness) -> Batch: ...


def proximal_draw(measurement: Measurement) -> ProximalDraw:
    """The exact draw where there is one, else Langevin's."""
    exact = isinstance(measurement.operator, LinearOperator) and isinstance(measurement.noise, Gaussian)
    return ExactDraw() if exact else LangevinDraw()


def matheron(
    measurement: Measurement,
    mean: Float64[Tensor, "batch *x_shape"],
    spread: Float64[Tensor, ""],
    law: Gaussian,
    noise: Randomness,
) -> Float64[Tensor, "batch *x_shape"]:
    """Draw N(mean, spread I) given y, by Matheron's rule: draw x and y together, then move x by the y that it missed.

    z + spread A^T (spread A A^T + Sigma)^-1 (y - A z - n),   z ~ N(mean, spread I),   n ~ N(0, Sigma)

    Args:
        measurement: y and a linear operator.
        mean: (B, *).
        spread: () > 0, a variance.
        law: N(0, Sigma), of the measured entries.
        noise: one stream a sample.
    """
    operator = measurement.linear
    drawn = mean + spread.sqrt() * noise.normal(*mean.shape[1:], dtype=torch.float64)
    y = operator.observe(operator(drawn))
    apart = measurement.residual(drawn) - operator.place(law.sample(y, noise) - y)
    return drawn + spread * operator.transpose(measurement.gram_solve(apart, spread, law))


@dataclass(frozen=True)
class ExactDraw:
    """By Matheron's rule: perturb, then solve (Papandreou & Yuille 2010). Sigma may be 0, where A z = y exactly.

    Noise that is not Gaussian is taken as the Gaussian that stands for it at x.
    """

    def __call__(self, measurement: Measurement, x: Batch, r: Float64[Tensor, ""], noise: Randomness) -> Batch:
        mean = x.double()
        return matheron(measurement, mean, r.square(), measurement.gaussian(mean), noise).to(x)


@dataclass(frozen=True)
class LangevinDraw:
    """By `moves` Langevin moves from x, each accepted or refused (MALA), so that the step length leaves no bias.

    The step of each sample, r^2 to begin with, is led to the acceptance of 0.574 that is best in many dimensions
    (Roberts & Rosenthal 1998) by steps that fade (Andrieu & Thoms 2008, section 5), and then left alone: a step that
    follows the chain for ever makes its law too narrow. What `moves` moves cannot forget is x: where the likelihood is
    much narrower than r they do not cross the Gaussian, and z is too near to x.

    Args:
        moves: gradients of the likelihood; none of the denoiser.

    Raises:
        UserError: the likelihood or its gradient is not finite at x.
    """

    moves: int = 100

    def __post_init__(self):
        if self.moves < 1:
            raise UserError(f"moves: {self.moves} < 1; Langevin's draw takes at least one")

    def __call__(self, measurement: Measurement, x: Batch, r: Float64[Tensor, ""], noise: Randomness) -> Batch:
        def at(z: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                likelihood = measurement.log_likelihood(z)
                (gradient,) = torch.autograd.grad(likelihood.sum(), z)
            away = z.detach() - centre
            log_density = likelihood.detach() - away.square().flatten(1).sum(1) / (2 * r**2)
            return log_density, gradient - away / r**2

        centre, z = x.double(), x.double()
        log_density, score = at(z)
        if not bool(log_density.isfinite().all() & score.isfinite().all()):
            raise UserError(
                f"{type(measurement.noise).__name__}: log p(y | x) or its gradient through "
                f"{measurement.operator.name} is not finite where Langevin's moves begin; look at the operator there"
            )
        log_h = torch.full_like(log_density, 2.0) * r.log()
        for move in range(self.moves):
            h = expand(log_h.exp(), z)
            proposal = z + h * score + (2 * h).sqrt() * noise.normal(*z.shape[1:], dtype=z.dtype)
            its_density, its_score = at(proposal)
            there = _squared(proposal - z - h * score) - _squared(z - proposal - h * its_score)
            # a proposal where the likelihood is not finite is refused
            chance = (its_density - log_density + there / (4 * log_h.exp())).exp().clamp(max=1.0).nan_to_num(0.0)
            accepted = noise.uniform() < chance
            moves = accepted.reshape(-1, *[1] * (z.ndim - 1))
            z, score = torch.where(moves, proposal, z), torch.where(moves, its_score, score)
            log_density = torch.where(accepted, its_density, log_density)
            if 2 * move < self.moves:
                log_h = log_h + 4 / (1 + move) ** 0.5 * (chance - 0.574)
        return z.to(x)


def _squared(v: Float[Tensor, "batch *event"]) -> Float[Tensor, " batch"]:
    return v.square().flatten(1).sum(1)

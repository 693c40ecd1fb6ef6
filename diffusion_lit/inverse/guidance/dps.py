"""Diffusion posterior sampling (Chung et al. 2023): the likelihood at the mean, p(y | x_t) ~ p(y | x_0 = D)."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from diffusion_lit.denoise import Batch, bridge, expand
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.guidance.base import Guidance
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.noise import GaussianNoise
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.samplers import Sampler

__all__ = ["DPS", "LineSearch", "Published", "StepRule"]


@runtime_checkable
class StepRule(Protocol):
    """How far to go along the gradient: a likelihood score (B, *), at one vector-Jacobian product."""

    def __call__(self, at: Tangent, measurement: Measurement) -> Batch: ...


@dataclass(frozen=True)
class LineSearch:
    """grad_{x_t} log p(y | D) times w = m / (m + q): as far as the spread of x_0 and the noise of y warrant.

    With e = grad log p(y | A(x)) at A(D), r = y - A(D), g = A'(D)^T e: m = e.r is the squared misfit, and
    q = (sigma_t^2 / alpha_t) g.J^T g the variance of x_0 given x_t along g (Tweedie). For Gaussian noise that is
    J^T A^T Sigma_y^-1 r with Sigma_y widened to Sigma_y / w: one iteration of conjugate gradients on the system
    (Sigma_y + A C A^T) w = r of MMPS, exact for Gaussian data and one measured value. Since q w <= m the data, as seen
    from D, are never passed. It tends to the likelihood's own gradient towards t = 0, and knows neither of steps nor
    of a sampler.
    """

    def __call__(self, at: Tangent, measurement: Measurement) -> Batch:
        noise, operator, mean = measurement.noise, measurement.operator, at.mean.detach().requires_grad_()
        rows = measurement.values.to(mean)
        rows = rows if measurement.batched else rows[None]
        with torch.enable_grad():
            seen = operator.observe(operator(mean))
            if isinstance(noise, GaussianNoise):  # e in units of 1 / sigma_y^2, so that sigma_y may be 0
                e, unit = rows - seen.detach(), noise.variance
            else:
                (e,), unit = torch.autograd.grad(noise.log_likelihood(rows, seen).sum(), seen, retain_graph=True), 1.0
        (g,) = torch.autograd.grad(seen, mean, e)
        back = at.vjp(g).double()
        m = (e * (rows - seen.detach())).double().flatten(1).sum(1)
        q = at.sigma**2 / at.alpha * (g.double() * back).flatten(1).sum(1).clamp_min(0)
        below = unit * m + q
        return expand(torch.where(below > 0, m / below.where(below > 0, 1.0), 0.0), back) * back


@dataclass(frozen=True)
class Published:
    """The paper's step, -zeta grad_{x_t} ||y - A(D)|| a step of a chain of 1000 (Chung et al. 2023, algorithm 1).

    Said as a likelihood score: a walk of fewer and longer steps goes as far in all. With `DDPM(1000)` it is the
    algorithm itself. The norm is each sample's own; published code takes one over the batch, which weakens the step as
    the batch grows. The gradient of the norm is half of the paper's zeta_i grad ||.||^2, as in its code (zeta_i =
    zeta / ||y - A(D)||). The step does not follow from a model of the noise: not exact even for Gaussian data.

    Args:
        zeta: step size > 0, for data in [-1, 1]; the paper's 0.3 to 1.
        chain: the number of steps it is meant for.

    Raises:
        UserError: zeta is not above 0, or the chain shorter than one step.
    """

    zeta: float = 1.0
    chain: int = 1000

    def __post_init__(self):
        if not (self.zeta > 0 and self.chain >= 1):
            raise UserError(f"zeta {self.zeta}, chain {self.chain}: give a step size > 0 and a chain of 1 or more")

    def __call__(self, at: Tangent, measurement: Measurement) -> Batch:
        with torch.enable_grad():
            distance = measurement.residual(at.mean).flatten(1).norm(dim=1).sum()  # of one norm a sample
        (gradient,) = torch.autograd.grad(distance, at.x_t)
        t = at.t.double()
        share = bridge(at.schedule, t, (t - 1 / self.chain).clamp_min(0)).of_x_0  # of D in x_s
        return -self.zeta * expand(at.alpha / (at.sigma**2 * share).to(at.alpha), gradient.double()) * gradient


class DPS(Guidance):
    """p(y | x_t) ~ p(y | x_0 = D), for any operator and noise, by the gradient through D (Chung et al. 2023, eq. 11).

    That likelihood is right for the noise of y and forgets the spread of x_0 given x_t, so its gradient is too steep by
    the ratio of the two. The paper mends this by a step that is tied to its chain, sampler and data; here it is a
    rule, of which the default is tied to none.

    Args:
        steps: of the default sampler.
        step: the rule, `LineSearch()` unless given, or `Published(zeta)`.
        sampler: in place of the default; the paper's is DDPM(1000).
    """

    def __init__(self, steps: int = 100, step: StepRule | None = None, sampler: Sampler | None = None):
        super().__init__(steps, sampler, vjps_per_call=1)
        self.step = step or LineSearch()

    def likelihood_score(self, at: Tangent, measurement: Measurement) -> Batch:
        return self.step(at, measurement)

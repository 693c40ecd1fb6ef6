"""The likelihood of a denoiser from its squared errors alone: the I-MMSE relation (Guo, Shamai & Verdu 2005).

With gamma = alpha^2 / sigma^2 and lambda = log gamma, pointwise in x (Kong et al. 2023, eq. 8; Kingma et al. 2021):

    -log p(x) = KL(q(x_1 | x) || p(x_1)) + 1/2 int E|eps - eps^|^2 dlambda + E[-log p(x | x_{t_min})],

an identity if eps^ is exact and the ends are, and a variational bound for any other eps^ and an exact lower end.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, expand
from diffusion_lit.errors import UserError
from diffusion_lit.likelihood.prior import GaussianPrior
from diffusion_lit.randomness import Randomness

__all__ = ["MMSENLL", "Estimate", "LogSNRLaw", "LogisticLaw", "UniformLaw"]


class Estimate(NamedTuple):
    """Nats (B,) and their standard errors (B,), from the spread of the draws."""

    nats: Float[Tensor, " batch"]
    standard_error: Float[Tensor, " batch"]


@runtime_checkable
class LogSNRLaw(Protocol):
    """A law of lambda on [low, high]: u in (0, 1) -> lambda and its density, tensors like u."""

    def __call__(self, u: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class UniformLaw:
    """lambda uniform on [low, high]."""

    def __call__(self, u: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
        return low + (high - low) * u, torch.full_like(u, 1 / (high - low))


@dataclass(frozen=True)
class LogisticLaw:
    """lambda logistic, cut to [low, high] (Kong et al. 2023, section 3.3).

    Args:
        mean: where the errors change most: about -log of the data's variance.
        scale: > 0, in units of lambda.
    """

    mean: float = 0.0
    scale: float = 2.0

    def __call__(self, u: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
        first, last = (1 / (1 + math.exp(-(end - self.mean) / self.scale)) for end in (low, high))
        share = first + (last - first) * u
        return self.mean + self.scale * share.logit(), share * (1 - share) / (self.scale * (last - first))


class MMSENLL:
    """Negative log-likelihood in nats by the I-MMSE relation, lambda drawn by importance.

    For data N(m, s^2 I) the mean error is d g, g = s^2 gamma / (1 + s^2 gamma), whose integral is known. What is
    averaged is the error in excess of it, |eps - eps^|^2 - g^2 (|eps|^2 - d) - d g, which vanishes at both ends for any
    data; the term in the middle has mean zero and takes out the part of the error that eps makes for Gaussian data. The
    draws of a sample are evenly spread, u_k = (k + U) / draws, and each is made with eps and -eps: two calls.

    The ends are Gaussian. Above lambda_max, where p is flat over a distance sigma / alpha, x given x_t is
    N(x_t / alpha, sigma^2 / alpha^2), and -log p has mean d/2 log(2 pi e sigma^2 / alpha^2); what that lacks falls like
    1 / gamma and is (E|eps - eps^|^2 - d) / 2 at t_min, from one more draw. Below lambda_min the law of x_1 is `prior`.

    Args:
        draws: number of lambda and eps a sample, two or more.
        law: of lambda; LogisticLaw() unless given.
        t_min: where lambda ends; the schedule's t_min unless given.
        scale: s > 0, a rough standard deviation of the data.
        prior: the law of x_1; N(0, sigma_1^2) unless given.
    """

    def __init__(
        self,
        draws: int = 100,
        law: LogSNRLaw | None = None,
        *,
        t_min: float | None = None,
        scale: float = 1.0,
        prior: GaussianPrior | None = None,
    ):
        if draws < 2:
            raise UserError(f"draws: {draws} < 2; a standard error needs two or more")
        self.draws, self.law = draws, law or LogisticLaw()
        self.t_min, self.scale, self.prior = t_min, scale, prior or GaussianPrior()

    @torch.no_grad()
    def __call__(
        self,
        denoiser: Denoiser,
        x: Batch,
        seed: int = 0,
        ids: Int64[Tensor, "batch *names"] | None = None,
        **condition,
    ) -> Estimate:
        """Return -log p(x | condition) in nats (B,), in float64, with standard errors.

        Args:
            denoiser: D.
            x: (B, *) data.
            seed: with an id it names a sample's draws.
            ids: (B,) names of the samples; 0..B-1 unless given.
            condition: passed on to the denoiser.
        """
        schedule, size, x = denoiser.schedule, x[0].numel(), x.double()
        noise = Randomness(seed, torch.arange(len(x), device=x.device) if ids is None else ids, x.device)
        t_min = schedule.t_min if self.t_min is None else self.t_min
        ends = torch.tensor([1.0, t_min], dtype=torch.float64, device=x.device)
        low, high = schedule.log_snr(ends).tolist()

        def excess(t: Tensor, log_snr: Tensor) -> Tensor:
            """The error in excess of d g (B,) for fresh eps and -eps, at t (B,)."""
            eps = noise.normal(*x.shape[1:], dtype=torch.float64)
            alpha, sigma = (expand(c, x) for c in schedule(t))
            g = expand((log_snr + 2 * math.log(self.scale)).sigmoid(), x)
            total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
            for e in (eps, -eps):
                x_t = (alpha * x + sigma * e).to(denoiser.reference.dtype)
                residual = e - (x_t.double() - alpha * denoiser(x_t, t, **condition).mean) / sigma
                total += (residual**2 - g**2 * (e**2 - 1) - g).flatten(1).sum(1)
            return total / 2

        shift, terms = noise.uniform(1)[:, 0], []
        for k in range(self.draws):
            log_snr, density = self.law((k + shift) / self.draws, low, high)
            terms.append(excess(schedule.time(log_snr), log_snr) / (2 * density))
        integral = torch.stack(terms)

        alpha, sigma = schedule(ends)
        base = ends.new_tensor([low, high]) + 2 * math.log(self.scale)  # log(s^2 gamma) at the ends
        gaussian = size / 2 * (math.log(2 * math.pi * math.e) - high + torch.nn.functional.softplus(base).diff()[0])
        curvature = (excess(ends[1].expand(len(x)), ends.new_full((len(x),), high)) - size * (-base[1]).sigmoid()) / 2
        nats = self.prior.divergence_from(x, alpha[0], sigma[0]) + integral.mean(0) + gaussian + curvature
        return Estimate(nats, integral.std(0) / self.draws**0.5)

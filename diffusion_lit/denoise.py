"""The denoiser D(x_t, t) = E[x_0 | x_t]: the one thing that is learned, and all that follows from it by a formula.

score  grad log p_t(x_t) = (alpha_t D - x_t) / sigma_t^2        Tweedie's formula (Efron 2011; Robbins 1956)
noise  eps(x_t, t)       = (x_t - alpha_t D) / sigma_t
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffusion_lit.errors import UserError
from diffusion_lit.noise import Batch, Schedule, expand
from diffusion_lit.reverse import Bridge, Interpolated, bridge, step_variance

__all__ = [
    "EPS",
    "NCSN",
    "SCORE",
    "X0",
    "Batch",
    "Bridge",
    "Clipped",
    "Denoiser",
    "Interpolated",
    "NetworkDenoiser",
    "Posterior",
    "Preconditioning",
    "V",
    "bridge",
    "cloned",
    "expand",
    "step_variance",
]


class Posterior(NamedTuple):
    """What a denoiser knows of x_0 given x_t: `.mean` = E[x_0 | x_t] (B, *), and `.variance` (B, *) if it says so."""

    mean: Tensor
    variance: Tensor | None = None


def cloned(condition: dict[str, Any]) -> dict[str, Any]:
    """Copy a condition's tensors: those of Lightning's inference mode cannot be saved for a gradient, copies can."""
    return {key: value.clone() if isinstance(value, Tensor) else value for key, value in condition.items()}


class Denoiser(nn.Module):
    """A function (x_t, t) -> Posterior for the noise of a schedule.

    Args:
        schedule: the noise of x_t = alpha_t x_0 + sigma_t eps.
    """

    def __init__(self, schedule: Schedule):
        super().__init__()
        self.schedule = schedule

    @abstractmethod
    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        """Return the posterior of x_0 given x_t (B, *), at times t () or (B,)."""

    def score(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Batch:
        """grad log p_t(x_t)."""
        alpha, sigma = (expand(c, x_t) for c in self.schedule(t))
        return (alpha * self(x_t, t, **condition).mean - x_t) / sigma.square()

    def eps(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Batch:
        """E[eps | x_t], the noise in x_t."""
        alpha, sigma = (expand(c, x_t) for c in self.schedule(t))
        return (x_t - alpha * self(x_t, t, **condition).mean) / sigma

    @property
    def reference(self) -> Tensor:
        """A tensor on the device and of the dtype that samples are made with."""
        return next((p for p in [*self.parameters(), *self.buffers()] if p.is_floating_point()), torch.empty(0))


Coefficient = Callable[[Tensor, Tensor], Tensor]


def _log_ratio(alpha: Tensor, sigma: Tensor) -> Tensor:
    return (sigma / alpha).log() / 4  # Karras et al. 2022, table 1


@dataclass(frozen=True)
class Preconditioning:
    """D = c_skip x_t + c_out F(c_in x_t, c_noise), each a function of (alpha_t, sigma_t) (Karras et al. 2022, eq. 7).

    What the network F predicts -- noise, data, velocity, score or EDM's mixture -- is one of five instances. Since the
    relation is affine, it converts any prediction to any other: `to.output(of.mean(F, x_t, ...), x_t, ...)`.

    c_noise, how the noise level is shown to the network, is log(sigma_t / alpha_t) / 4 unless told.
    """

    c_skip: Coefficient
    c_out: Coefficient
    c_in: Coefficient
    c_noise: Coefficient = _log_ratio

    @staticmethod
    def named(name: str) -> "Preconditioning":
        """The instance of a name, for configurations: eps, x0, v, score or ncsn, which are said below."""
        instances = {"eps": EPS, "x0": X0, "v": V, "score": SCORE, "ncsn": NCSN}
        if name not in instances:
            raise UserError(
                f"preconditioning: {name!r} is none of {', '.join(instances)}, nor is it Preconditioning.edm"
            )
        return instances[name]

    def mean(self, output: Batch, x_t: Batch, alpha: Tensor, sigma: Tensor) -> Batch:
        """E[x_0 | x_t] from the network's output; alpha, sigma () or (B,)."""
        return expand(self.c_skip(alpha, sigma), x_t) * x_t + expand(self.c_out(alpha, sigma), x_t) * output

    def output(self, mean: Batch, x_t: Batch, alpha: Tensor, sigma: Tensor) -> Batch:
        """The network's output that gives this mean; the inverse of `mean`, and the training target if mean = x_0."""
        return (mean - expand(self.c_skip(alpha, sigma), x_t) * x_t) / expand(self.c_out(alpha, sigma), x_t)

    @classmethod
    def edm(cls, sigma_data: float = 0.5) -> "Preconditioning":
        """Unit variance in and out at every noise level for data of this standard deviation (Karras 2022, table 1)."""

        def total(alpha: Tensor, sigma: Tensor) -> Tensor:  # standard deviation of x_t
            return (alpha**2 * sigma_data**2 + sigma**2).sqrt()

        return cls(
            c_skip=lambda alpha, sigma: alpha * sigma_data**2 / total(alpha, sigma) ** 2,
            c_out=lambda alpha, sigma: sigma * sigma_data / total(alpha, sigma),
            c_in=lambda alpha, sigma: 1 / total(alpha, sigma),
        )


def _unit(alpha: Tensor, sigma: Tensor) -> Tensor:
    return 1 / (alpha**2 + sigma**2).sqrt()  # x_t has unit variance for data of unit variance


#: F = eps (Ho et al. 2020): x_0 = (x_t - sigma F) / alpha.
EPS = Preconditioning(lambda alpha, sigma: 1 / alpha, lambda alpha, sigma: -sigma / alpha, _unit)
#: F = x_0.
X0 = Preconditioning(lambda alpha, sigma: torch.zeros_like(alpha), lambda alpha, sigma: torch.ones_like(alpha), _unit)
#: F = (alpha eps - sigma x_0) / sqrt(alpha^2 + sigma^2) (Salimans & Ho 2022, appendix D).
V = Preconditioning(
    lambda alpha, sigma: alpha / (alpha**2 + sigma**2), lambda alpha, sigma: -sigma * _unit(alpha, sigma), _unit
)
#: F = grad log p_t (Song & Ermon 2019): x_0 = (x_t + sigma^2 F) / alpha.
SCORE = Preconditioning(lambda alpha, sigma: 1 / alpha, lambda alpha, sigma: sigma**2 / alpha, _unit)

#: F = eps of an input that is not scaled, and of no noise level: s(x, sigma) = -F(x) / sigma (Song & Ermon 2020,
#: NCSNv2, section 3.3, technique 3).
NCSN = Preconditioning(
    EPS.c_skip, EPS.c_out, lambda alpha, sigma: torch.ones_like(alpha), lambda alpha, sigma: torch.zeros_like(alpha)
)


class NetworkDenoiser(Denoiser):
    """A network F made a denoiser: D = c_skip x_t + c_out F(c_in x_t, c_noise, **condition).

    Args:
        network: F(x (B, *), c_noise (B,), **condition) -> (B, *); with a `variance`, of twice the size along dim 1.
        schedule: the noise it is trained for.
        preconditioning: what F predicts; EDM's with sigma_data = 0.5 unless told.
        variance: makes Var[x_0 | x_t] of v = (o + 1) / 2, o the second half of the output along dim 1 (Nichol &
            Dhariwal 2021, section 3.1); None: the denoiser says nothing of it.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        preconditioning: Preconditioning | None = None,
        variance: Interpolated | None = None,
    ):
        super().__init__(schedule)
        self.network = network
        self.preconditioning = preconditioning or Preconditioning.edm()
        self.variance = variance

    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        # in float64, for 1 / alpha and sigma / alpha of the noisiest times; then in the dtype of x_t
        t = t.double().to(x_t.device)
        alpha, sigma = self.schedule(t)
        form = self.preconditioning
        noise_level = form.c_noise(alpha, sigma).to(x_t.dtype).expand(len(x_t))
        output = self.network(expand(form.c_in(alpha, sigma), x_t) * x_t, noise_level, **condition)
        if self.variance is None:
            return Posterior(form.mean(output, x_t, alpha, sigma))
        output, fraction = output.chunk(2, dim=1)
        mean = form.mean(output, x_t, alpha, sigma)
        return Posterior(mean, self.variance((fraction + 1) / 2, self.schedule, t))


class Clipped(Denoiser):
    """D kept between the least and the greatest value of the data, as DDPM and iDDPM sample and bound.

    Where alpha_t is near 0, D = (x_t - sigma_t eps) / alpha_t multiplies the smallest error of eps. Without clipping
    the first steps of iDDPM's cosine chain, where sigma / alpha is 20,000, throw the samples about.

    Args:
        denoiser: D.
        low, high: range of the data.
    """

    def __init__(self, denoiser: Denoiser, low: float = -1.0, high: float = 1.0):
        super().__init__(denoiser.schedule)
        self.denoiser, self.low, self.high = denoiser, low, high

    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        mean, variance = self.denoiser(x_t, t, **condition)
        return Posterior(mean.clamp(self.low, self.high), variance)

    @property
    def reference(self) -> Tensor:
        return self.denoiser.reference

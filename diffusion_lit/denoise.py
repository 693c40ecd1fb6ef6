"""The denoiser D(x_t, t) = E[x_0 | x_t]: the one thing that is learned, and all that follows from it by a formula.

score  grad log p_t(x_t) = (alpha_t D - x_t) / sigma_t^2        Tweedie's formula (Efron 2011; Robbins 1956)
noise  eps(x_t, t)       = (x_t - alpha_t D) / sigma_t
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffusion_lit.noise import Schedule

__all__ = [
    "EPS",
    "NCSN",
    "SCORE",
    "X0",
    "Bridge",
    "Cost",
    "Denoiser",
    "Interpolated",
    "NetworkDenoiser",
    "Posterior",
    "Preconditioning",
    "V",
    "bridge",
    "counted",
    "step_variance",
]

Batch = Float[Tensor, "batch *event"]


class Posterior(NamedTuple):
    """What a denoiser knows of x_0 given x_t: `.mean` = E[x_0 | x_t] (B, *), and `.variance` (B, *) if it says so."""

    mean: Tensor
    variance: Tensor | None = None


def expand(coefficient: Float[Tensor, "*times"], like: Batch) -> Float[Tensor, "..."]:
    """Give a coefficient () or (B,) trailing axes, and the dtype and device of `like`, to multiply (B, *) with it."""
    coefficient = coefficient.to(like)
    return coefficient.reshape(-1, *[1] * (like.ndim - 1)) if coefficient.ndim else coefficient


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


@dataclass(frozen=True)
class Preconditioning:
    """D = c_skip x_t + c_out F(c_in x_t, c_noise), each a function of (alpha_t, sigma_t) (Karras et al. 2022, eq. 7).

    What the network F predicts -- noise, data, velocity, score or EDM's mixture -- is one of five instances. Since the
    relation is affine, it converts any prediction to any other: `to.output(of.mean(F, x_t, ...), x_t, ...)`.
    """

    c_skip: Coefficient
    c_out: Coefficient
    c_in: Coefficient

    @staticmethod
    def c_noise(alpha: Tensor, sigma: Tensor) -> Tensor:
        """log(sigma_t / alpha_t) / 4 (Karras et al. 2022, table 1)."""
        return (sigma / alpha).log() / 4

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

#: F = eps of an input that is not scaled: of a network that does not see the noise level, s(x, sigma) = -F(x) / sigma
#: (NCSNv2's technique 3, Song & Ermon 2020, section 3.3).
NCSN = Preconditioning(EPS.c_skip, EPS.c_out, lambda alpha, sigma: torch.ones_like(alpha))


class Bridge(NamedTuple):
    """q(x_s | x_t, x_0) = N(of_x_t x_t + of_x_0 x_0, variance I), each a tensor like t, in float64."""

    of_x_t: Tensor
    of_x_0: Tensor
    variance: Tensor


def bridge(schedule: Schedule, t: Float[Tensor, "*times"], s: Float[Tensor, "*times"]) -> Bridge:
    """The law of the step from t to s < t when x_0 is known (Ho et al. 2020, eq. 6 and 7, for every schedule).

    With tau = 1 - SNR_t / SNR_s: of_x_0 = alpha_s tau, variance = beta-tilde = sigma_s^2 tau, and of_x_t makes the mean
    of x_s right. At s = 0 it is x_0 itself.

    Args:
        schedule: the noise.
        t: () or (B,) in (0, 1].
        s: like t, in [0, t).
    """
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t.double()), schedule(s.double())
    share = alpha_t * sigma_s / (alpha_s * sigma_t)  # sqrt(1 - tau)
    tau = 1 - share.square()
    return Bridge(share * sigma_s / sigma_t, alpha_s * tau, sigma_s.square() * tau)


def step_variance(
    schedule: Schedule, variance: Batch, t: Float[Tensor, "*times"], s: Float[Tensor, "*times"]
) -> Float[Tensor, "batch *event"]:
    """Var[x_s | x_t] = beta-tilde + c^2 Var[x_0 | x_t] (B, *): the reverse variance of a step of any length.

    The law of total variance, with c the coefficient of x_0 in the mean of q(x_s | x_t, x_0); `bridge(schedule, t, s)`
    returns both. It is the best Gaussian step's (Bao et al. 2022, Analytic-DPM, theorem 1). A variance that was learned
    on one chain serves on any other ("respacing", Nichol & Dhariwal 2021, section 4): x_0 does not know the grid.

    Args:
        schedule: the noise.
        variance: (B, *) Var[x_0 | x_t], the `.variance` of a Posterior. One that a network makes may come out below
            zero; a hundredth of beta-tilde is kept.
        t: () or (B,) in (0, 1].
        s: like t, in [0, t).
    """
    _, c, beta_tilde = (expand(coefficient, variance) for coefficient in bridge(schedule, t, s))
    return torch.maximum(beta_tilde + c.square() * variance, beta_tilde / 100)


@dataclass(frozen=True)
class Interpolated:
    """A learned variance: between the least and the most that a step of the chain t = i / steps can have.

    Var[x_s | x_t] = exp(v log beta + (1 - v) log beta-tilde), s = t - 1 / steps (Nichol & Dhariwal 2021, eq. 15), said
    as Var[x_0 | x_t], from which every other step's follows (`step_variance`). v = 0 is right for data that are one
    point, v = 1 for data N(0, I), where it says Var[x_0 | x_t] = sigma_t^2 at any t, whatever `steps` is.

    beta = sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2 is the variance of the forward step. In the first step
    beta-tilde = 0; there the ratio beta-tilde / beta of the second step is taken (the published code takes the second
    step's beta-tilde).

    Args:
        steps: of the chain, T.
    """

    steps: int = 1000

    def _chain(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """beta / c^2 = sigma_t^2 / (alpha_s^2 tau), and beta-tilde / beta as it is and as the interpolation has it."""
        t = t.double()
        s = (t - 1 / self.steps).clamp_min(0)
        s = torch.where(s < 1e-6 / self.steps, 0, s)  # rounding of i / steps
        inner = t.clamp_min(2 / self.steps)
        (alpha_s, sigma_s), (_, sigma_t) = schedule(s), schedule(t)
        ratio = (sigma_s / sigma_t).square()
        floor = (schedule(inner - 1 / self.steps)[1] / schedule(inner)[1]).square()
        return sigma_t.square() / (alpha_s * bridge(schedule, t, s).of_x_0), ratio, floor

    def __call__(self, v: Batch, schedule: Schedule, t: Float[Tensor, "*times"]) -> Batch:
        """Var[x_0 | x_t] (B, *) from v (B, *), which is meant to be in [0, 1]; t () or (B,)."""
        scale, ratio, floor = self._chain(schedule, t.to(v.device))
        # (floor^(1 - v) - ratio) beta / c^2, without the cancellation at floor = ratio near 1
        powers = expand(floor, v) * torch.expm1(-v * expand(floor.log(), v)) + expand(floor - ratio, v)
        return expand(scale, v) * powers

    def fraction(self, variance: Batch, schedule: Schedule, t: Float[Tensor, "*times"]) -> Batch:
        """The v (B, *) that gives Var[x_0 | x_t] (B, *): a diagnostic, 1 on N(0, I) and 0 on a point."""
        scale, ratio, floor = self._chain(schedule, t.to(variance.device))
        powers = variance.double() / expand(scale, variance.double()) + expand(ratio, variance.double())
        return (1 - powers.log() / expand(floor.log(), powers)).to(variance)


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


@dataclass
class Cost:
    """What a piece of work has cost: calls of the denoiser, and vector-Jacobian products through it, per sample."""

    forwards: int = 0
    vjps: int = 0


@contextmanager
def counted(denoiser: Denoiser) -> Iterator[Cost]:
    """Count the calls of `denoiser`, and the gradients taken through its mean, inside the block."""
    cost = Cost()

    def count_vjp(gradient: Tensor) -> None:
        cost.vjps += 1

    def count_forward(module: nn.Module, args: tuple, result: Posterior) -> None:
        cost.forwards += 1
        if result.mean.requires_grad:
            result.mean.register_hook(count_vjp)

    handle = denoiser.register_forward_hook(count_forward)
    try:
        yield cost
    finally:
        handle.remove()

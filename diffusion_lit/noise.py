"""Noise schedules: t in [0, 1] -> (alpha_t, sigma_t) of x_t = alpha_t x_0 + sigma_t eps; t = 0 is data.

A schedule writes down one curve, log alpha_t and log sigma_t. All else is derived once, here, from
dx = f(t) x dt + g(t) dw with f = d log alpha / dt and g^2 = d sigma^2 / dt - 2 f sigma^2 (Song et al. 2021, Score-SDE,
appendix B; Kingma et al. 2021, VDM, eq. 9).
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.errors import UserError

__all__ = ["EDM", "VE", "VP", "Cosine", "DiscreteVP", "Rectified", "Schedule", "SubVP"]

Times = Float[Tensor, "*times"]
Batch = Float[Tensor, "batch *event"]


def expand(coefficient: Float[Tensor, "*times"], like: Batch) -> Float[Tensor, "..."]:
    """Give a coefficient () or (B,) trailing axes, and the dtype and device of `like`, to multiply (B, *) with it."""
    coefficient = coefficient.to(like)
    return coefficient.reshape(-1, *[1] * (like.ndim - 1)) if coefficient.ndim else coefficient


_ROUNDING = 1e-5  # of times in float32


def _log_one_minus_exp(x: Times) -> Times:
    """log(1 - e^x) for x <= 0 without cancellation."""
    return torch.where(x > -math.log(2), (-torch.expm1(x)).log(), torch.log1p(-x.exp()))


def _require(holds: bool, message: str) -> None:
    """Refuse parameters of a curve that does not fall."""
    if not holds:
        raise UserError(message)


class Schedule(ABC):
    """A differentiable curve t -> (alpha_t, sigma_t) whose signal-to-noise ratio falls with t.

    Attributes:
        t_min: the smallest time at which a sampler asks the denoiser; from there it steps to the data at t = 0.
    """

    t_min: float = 1e-3

    @abstractmethod
    def log_alpha(self, t: Times) -> Times:
        """log alpha_t for t in [0, 1]."""

    @abstractmethod
    def log_sigma(self, t: Times) -> Times:
        """log sigma_t for t in (0, 1]."""

    def __call__(self, t: Times) -> tuple[Times, Times]:
        """Return (alpha_t, sigma_t), tensors like t; exactly (1, 0) at t = 0, whatever the limit of the curve is.

        Raises:
            UserError: t leaves [0, 1] by more than rounding. Looked at on the CPU only, where samplers and training
                draw their times: elsewhere it would make the host wait for the device.
        """
        if t.device.type == "cpu" and not torch.compiler.is_compiling():
            within = (t >= -_ROUNDING) & (t <= 1 + _ROUNDING)  # not so for NaN
            if not bool(within.all()):
                raise UserError(f"t: {t[~within].flatten()[0].item():.6g} is not in [0, 1]; 0 is data and 1 is noise")
        inside = t.clamp_min(torch.finfo(t.dtype).tiny)
        data = t <= 0
        alpha = self.log_alpha(inside).exp()
        sigma = self.log_sigma(inside).exp()
        return torch.where(data, torch.ones_like(t), alpha), torch.where(data, torch.zeros_like(t), sigma)

    def log_snr(self, t: Times) -> Times:
        """lambda_t = log(alpha_t^2 / sigma_t^2), falling in t."""
        return 2 * (self.log_alpha(t) - self.log_sigma(t))

    def time(self, log_snr: Times) -> Times:
        """The inverse of `log_snr`, by bisection to the precision of float64; clamped to (0, 1]."""
        target = log_snr.double()
        low, high = torch.full_like(target, 1e-12), torch.ones_like(target)
        for _ in range(60):
            middle = (low + high) / 2
            above = self.log_snr(middle) > target  # still too clean: go later
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        # the end that is nearer, so that the ends of the range come back exactly
        nearer = (self.log_snr(low) - target).abs() <= (self.log_snr(high) - target).abs()
        return torch.where(nearer, low, high).to(log_snr.dtype)

    def drift(self, t: Times) -> Times:
        """f(t) = d log alpha_t / dt."""
        return torch.func.jvp(self.log_alpha, (t,), (torch.ones_like(t),))[1]

    def diffusion_squared(self, t: Times) -> Times:
        """g^2(t) = d sigma^2/dt - 2 f sigma^2 = -sigma_t^2 d lambda_t / dt."""
        return -(2 * self.log_sigma(t)).exp() * torch.func.jvp(self.log_snr, (t,), (torch.ones_like(t),))[1]

    def betas(self, steps: int) -> Float[Tensor, " steps"]:
        """beta_i = 1 - alpha(i/T)^2 / alpha((i-1)/T)^2, i = 1..T: DDPM's chain of the same alphas (Ho et al. 2020)."""
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        alpha, _ = self(t)
        return 1 - (alpha[1:] / alpha[:-1]).square()


class _VariancePreserving(Schedule):
    """alpha^2 + sigma^2 = 1."""

    def log_sigma(self, t: Times) -> Times:
        return _log_one_minus_exp(2 * self.log_alpha(t)) / 2


class VP(_VariancePreserving):
    """The variance-preserving SDE, beta(t) = beta_min + t (beta_max - beta_min) (Song et al. 2021, eq. 33)."""

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0):
        _require(
            0 <= beta_min < math.inf and 0 < beta_max < math.inf,
            f"beta_min, beta_max: {beta_min}, {beta_max}; the SNR falls if beta_min >= 0 and beta_max > 0",
        )
        self.beta_min, self.beta_max = beta_min, beta_max

    def log_alpha(self, t: Times) -> Times:
        return -(self.beta_max - self.beta_min) * t.square() / 4 - self.beta_min * t / 2


class SubVP(VP):
    """The sub-VP SDE: VP's alpha with sigma = 1 - alpha^2 (Song et al. 2021, eq. 35)."""

    def log_sigma(self, t: Times) -> Times:
        return _log_one_minus_exp(2 * self.log_alpha(t))


class Cosine(_VariancePreserving):
    """alpha_t = cos(theta_t), theta linear in t (Nichol & Dhariwal 2021, eq. 17, scaled to alpha_0 = 1).

    Args:
        offset: their s; keeps beta from vanishing near t = 0.
        log_snr_min: the curve stops here instead of at alpha = 0, where beta diverges (they clip beta at 0.999).
    """

    def __init__(self, offset: float = 0.008, log_snr_min: float = -15.0):
        _require(
            0 <= offset < math.inf and abs(log_snr_min) < 700,
            f"offset, log_snr_min: {offset}, {log_snr_min}; offset >= 0, and a log-SNR within 700 of 0",
        )
        self.start = offset / (1 + offset) * math.pi / 2
        self.log_alpha_start = math.log(math.cos(self.start))
        log_alpha_end = -math.log1p(math.exp(-log_snr_min)) / 2
        self.end = math.acos(math.exp(log_alpha_end + self.log_alpha_start))

    def log_alpha(self, t: Times) -> Times:
        return (self.start + t * (self.end - self.start)).cos().log() - self.log_alpha_start


class VE(Schedule):
    """The variance-exploding SDE: alpha = 1, sigma geometric (Song et al. 2021, eq. 30)."""

    t_min = 1e-5

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0):
        _require(
            0 < sigma_min < sigma_max < math.inf,
            f"sigma_min, sigma_max: {sigma_min}, {sigma_max}; the SNR is finite and falls if 0 < sigma_min < sigma_max",
        )
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def log_alpha(self, t: Times) -> Times:
        return torch.zeros_like(t)

    def log_sigma(self, t: Times) -> Times:
        return math.log(self.sigma_min) + t * math.log(self.sigma_max / self.sigma_min)


class EDM(VE):
    """alpha = 1, sigma warped so that uniform times are Karras' grid (Karras et al. 2022, eq. 5)."""

    t_min = 1e-12  # sigma_min is the limit at 0

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0):
        super().__init__(sigma_min, sigma_max)
        _require(0 < rho < math.inf, f"rho: {rho}; it is positive, and Karras' is 7")
        self.rho = rho

    def log_sigma(self, t: Times) -> Times:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return self.rho * (low + t * (high - low)).log()


class Rectified(Schedule):
    """alpha = 1 - t, sigma = t (Liu et al. 2022; Lipman et al. 2022), stopped at alpha = alpha_min.

    Args:
        alpha_min: alpha at t = 1; a positive value keeps the mean E[x_0 | x_t] a function of the network's output.
    """

    def __init__(self, alpha_min: float = 1e-3):
        _require(0 < alpha_min < 1, f"alpha_min: {alpha_min} is not in (0, 1), where alpha falls and stays positive")
        self.alpha_min = alpha_min

    def log_alpha(self, t: Times) -> Times:
        return torch.log1p(-(1 - self.alpha_min) * t)

    def log_sigma(self, t: Times) -> Times:
        return t.log()


class DiscreteVP(_VariancePreserving):
    """The DDPM chain of given betas: alpha^2(i/T) = prod_{j<=i} (1 - beta_j), log alpha linear between.

    Args:
        betas: (T,) variances in (0, 1) (Ho et al. 2020, section 2).
    """

    def __init__(self, betas: Float[Tensor, " steps"]):
        _require(
            bool(((betas > 0) & (betas < 1)).all()),
            f"betas: {betas.min():.3g}..{betas.max():.3g} leave (0, 1); every beta is a variance there",
        )
        self.steps = len(betas)
        self.t_min = 1 / self.steps
        log_alpha = torch.log1p(-betas.double()).cumsum(0) / 2
        self._log_alpha = torch.cat((torch.zeros(1, dtype=torch.float64), log_alpha))

    @classmethod
    def linear(cls, steps: int = 1000, beta_min: float = 1e-4, beta_max: float = 0.02) -> "DiscreteVP":
        """Ho et al. 2020, section 4."""
        return cls(torch.linspace(beta_min, beta_max, steps, dtype=torch.float64))

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008, beta_max: float = 0.999) -> "DiscreteVP":
        """Nichol & Dhariwal 2021, eq. 17."""
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        abar = ((t + offset) / (1 + offset) * math.pi / 2).cos().square()
        return cls((1 - abar[1:] / abar[:-1]).clamp(max=beta_max))

    def log_alpha(self, t: Times) -> Times:
        table = self._log_alpha.to(t.device)
        position = t.double().clamp(0, 1) * self.steps
        # a hair to the left, so that the time i/T, which rounding may push past i, ends its own interval
        index = (position - 1e-4).ceil().long().clamp(1, self.steps)
        left, right = table[index - 1], table[index]
        return (left + (right - left) * (position - (index - 1))).to(t.dtype)

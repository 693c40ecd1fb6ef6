"""Levy signals x = cumsum(u), u_i independent jumps, whose posteriors under any linear measurement can be sampled.

The jumps' laws are Gaussian scale mixtures, u | v ~ N(0, v) (Andrews & Mallows 1974), each on a few nodes v_k. So

    E[u | u + s n] = sum_k r_k v_k / (v_k + s^2) (u + s n),    r_k ~ w_k N(u + s n; 0, v_k + s^2),

is the exact denoiser of the jumps, and given all v the posterior is Gaussian: a Gibbs sampler over v alone, with u
integrated out, needs no more. The laws are those of the benchmark of Zach et al. 2025 (arXiv:2509.12821).
"""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, Posterior
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness

__all__ = [
    "JumpDenoiser",
    "Levy",
    "ScaleMixture",
    "bernoulli_laplace",
    "gaussian",
    "laplace",
    "posterior_of_jumps",
    "student_t",
]


class ScaleMixture:
    """The law sum_k w_k N(0, v_k) of a number.

    Args:
        weights: (K,) > 0; normalised here.
        variances: (K,) > 0.
    """

    def __init__(self, weights: Float[Tensor, " components"], variances: Float[Tensor, " components"]):
        if float(weights.min()) <= 0 or float(variances.min()) <= 0:
            raise ValueError(f"weights and variances are > 0, not {float(weights.min())} and {float(variances.min())}")
        self.weights, self.variances = weights.double() / weights.double().sum(), variances.double()

    @property
    def variance(self) -> float:
        """Of the whole."""
        return float(self.weights @ self.variances)

    def unit(self) -> "ScaleMixture":
        """The same law, scaled to variance 1."""
        return ScaleMixture(self.weights, self.variances / self.variance)

    def draw(self, noise: Randomness, size: int) -> Float64[Tensor, "batch size"]:
        """Draw `size` numbers a stream."""
        edges = self.weights.cumsum(0)[:-1].contiguous()
        component = torch.searchsorted(edges, noise.uniform(size))
        return self.variances[component].sqrt() * noise.normal(size, dtype=torch.float64)

    def log_prob(self, u: Float[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
        """log p(u) of each number."""
        v = self.variances
        logits = self.weights.log() - (2 * math.pi * v).log() / 2 - u.double()[..., None].square() / (2 * v)
        return logits.logsumexp(-1)


def gaussian(variance: float = 0.25) -> ScaleMixture:
    """N(0, variance)."""
    return ScaleMixture(torch.ones(1), torch.tensor([variance]))


def laplace(b: float = 1.0) -> ScaleMixture:
    """exp(-|u| / b) / (2 b): v is exponential with mean 2 b^2.

    26 nodes, a factor exp(.5) apart; the trapezium rule in log v is exact to 1e-4 for |u| > .05 b.
    """
    v = torch.linspace(-9.0, 3.5, 26, dtype=torch.float64).exp()
    weights = v * (-v).exp()
    # all that lies below the first node belongs to it
    weights[0] = weights[0] / 2 - torch.expm1(-v[0]) / 0.5
    return ScaleMixture(weights, 2 * b**2 * v)


def student_t(df: float = 3.0) -> ScaleMixture:
    """Student's t: v is inverse gamma, p(v) ~ v^(-df / 2 - 1) exp(-df / (2 v)); 31 nodes."""
    v = torch.linspace(-3.0, 12.0, 31, dtype=torch.float64).exp()
    return ScaleMixture(v ** (-df / 2) * (-df / (2 * v)).exp(), v)


def bernoulli_laplace(probability: float = 0.1, b: float = 1.0, spike: float = 0.02) -> ScaleMixture:
    """Laplace jumps with this probability, else none: N(0, spike^2), so that the law has a density."""
    slab = laplace(b)
    weights = torch.cat((torch.tensor([1 - probability], dtype=torch.float64), probability * slab.weights))
    return ScaleMixture(weights, torch.cat((torch.tensor([spike**2], dtype=torch.float64), slab.variances)))


class Levy:
    """Signals x = c cumsum(u) with c such that the mean variance of an entry is 1; a toy of `length` dimensions.

    Args:
        law: of the jumps.
        length: of a signal.

    Attributes:
        matrix: (length, length), from jumps of variance 1 to signals.
    """

    def __init__(self, law: ScaleMixture, length: int = 64):
        self.law, self.size = law.unit(), length
        ones = torch.ones(length, length, dtype=torch.float64)
        self.matrix = ones.tril() / math.sqrt((length + 1) / 2)

    def draw(self, noise: Randomness) -> Float64[Tensor, "batch d"]:
        """Draw one signal a stream, (B, length)."""
        return self.law.draw(noise, self.size) @ self.matrix.mT

    def jumps(self, x: Float[Tensor, "*batch d"]) -> Float64[Tensor, "*batch d"]:
        """The jumps, of variance 1, of signals."""
        return torch.diff(x.double() / self.matrix[0, 0], prepend=torch.zeros_like(x[..., :1]).double())

    def log_prob(self, x: Float[Tensor, "*batch d"]) -> Float64[Tensor, "*batch"]:
        """log p(x) of signals (*B, length) in nats."""
        return self.law.log_prob(self.jumps(x)).sum(-1) - self.size * self.matrix[0, 0].log()


class JumpDenoiser(Denoiser):
    """The exact denoiser of independent numbers of one law.

    Args:
        law: of each number.
        size: how many.
        schedule: the noise.
    """

    weights: Tensor
    variances: Tensor

    def __init__(self, law: ScaleMixture, size: int, schedule: Schedule):
        super().__init__(schedule)
        self.size = size
        self.register_buffer("weights", law.weights)
        self.register_buffer("variances", law.variances)

    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        alpha, sigma = (c.reshape(-1, 1, 1) for c in self.schedule(t.double().to(x_t.device)))
        total = alpha**2 * self.variances + sigma**2  # (B or 1, 1, K), of x_t
        x = x_t.double()[..., None]
        share = (self.weights.log() - total.log() / 2 - x.square() / (2 * total)).softmax(-1)
        gain = alpha * self.variances / total
        factor = (share * gain).sum(-1)
        mean = factor * x_t.double()
        within = (share * gain).sum(-1) * sigma[..., 0] ** 2 / alpha[..., 0]
        between = ((share * gain.square()).sum(-1) - factor.square()) * x_t.double().square()
        return Posterior(mean.to(x_t.dtype), (within + between).to(x_t.dtype))


def posterior_of_jumps(
    law: ScaleMixture,
    matrix: Float[Tensor, "y_size d"],
    y: Float[Tensor, "batch y_size"],
    sigma: float,
    *,
    sweeps: int,
    burn_in: int,
    keep: int,
    seed: int,
) -> tuple[Float64[Tensor, "batch d"], Float64[Tensor, "batch keep d"]]:
    """Return the mean and draws of p(u | y) for y = H u + sigma n, by Gibbs sampling of the jumps' variances.

    With u integrated out, y ~ N(0, S), S = sigma^2 I + H diag(v) H^T, and one v_i at a time is drawn from

        p(v_i = c | v_-i, y) ~ w_c (1 + c q)^-1/2 exp(c r^2 / (2 (1 + c q))),   q, r = h_i^T S_-i^-1 (h_i, y),

    where h_i is a column of H and S_-i is S with v_i = 0. Spike-and-slab laws are no harder than others: no chain has
    to leave u_i = 0 first. The mean is that of
    E[u | v, y] = diag(v) H^T S^-1 y over the sweeps, which has less variance than that of u.

    Args:
        law: of each jump.
        matrix: H.
        y: measurements, one chain each.
        sigma: > 0, of the noise.
        sweeps: over all jumps, after `burn_in` more that are left out.
        burn_in: see `sweeps`.
        keep: draws of u, evenly spread over the sweeps.
        seed: with its place in y it names a chain.
    """
    matrix, y = matrix.double(), y.double()
    noise, size = Randomness(seed, torch.arange(len(y))), matrix.shape[1]
    law_v, law_w = law.variances, law.weights.log()
    v = torch.full((len(y), size), law.variance, dtype=torch.float64)
    kept, mean = [], torch.zeros(len(y), size, dtype=torch.float64)
    stops = {burn_in + (i + 1) * sweeps // keep for i in range(keep)}
    for sweep in range(1, burn_in + sweeps + 1):
        gram, along = _projected(matrix, y, v, sigma)  # H^T S^-1 H, H^T S^-1 y
        uniform = noise.uniform(size)
        for i in range(size):
            left = 1 - v[:, i] * gram[:, i, i]  # takes v_i out of S
            q, r = gram[:, i, i] / left, along[:, i] / left
            spread = 1 + q[:, None] * law_v
            logits = law_w - spread.log() / 2 + law_v * r[:, None].square() / (2 * spread)
            edges = logits.softmax(-1).cumsum(-1)
            chosen = (uniform[:, i : i + 1] > edges).sum(-1).clamp_max(len(law_v) - 1)
            change = law_v[chosen] - v[:, i]
            step = change / (1 + change * gram[:, i, i])
            column = gram[:, :, i].clone()
            along = along - (step * along[:, i])[:, None] * column
            gram.baddbmm_(-(step[:, None] * column)[:, :, None], column[:, None, :])
            v[:, i] = law_v[chosen]
        if sweep <= burn_in:
            continue
        mean += v * along / sweeps
        if sweep in stops:
            kept.append(_draw(matrix, y, v, sigma, noise))
    return mean, torch.stack(kept, 1)


def _projected(matrix: Tensor, y: Tensor, v: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    factor = torch.linalg.cholesky(_covariance(matrix, v, sigma))
    whitened = torch.linalg.solve_triangular(factor, matrix.expand(len(y), -1, -1), upper=False)
    seen = torch.linalg.solve_triangular(factor, y[..., None], upper=False)
    return whitened.mT @ whitened, (whitened.mT @ seen)[..., 0]


def _covariance(matrix: Tensor, v: Tensor, sigma: float) -> Tensor:
    return (matrix * v[:, None, :]) @ matrix.mT + sigma**2 * torch.eye(len(matrix), dtype=torch.float64)


def _draw(matrix: Tensor, y: Tensor, v: Tensor, sigma: float, noise: Randomness) -> Tensor:
    """u given v and y, by Matheron's rule."""
    u = v.sqrt() * noise.normal(v.shape[1], dtype=torch.float64)
    apart = y - u @ matrix.mT - sigma * noise.normal(len(matrix), dtype=torch.float64)
    factor = torch.linalg.cholesky(_covariance(matrix, v, sigma))
    return u + v * (torch.cholesky_solve(apart[..., None], factor)[..., 0] @ matrix)

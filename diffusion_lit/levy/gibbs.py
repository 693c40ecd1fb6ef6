"""The exact posterior of the jumps, by Gibbs sampling."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from diffusion_lit.levy.signals import ScaleMixture
from diffusion_lit.randomness import Randomness

__all__ = ["posterior_of_jumps"]


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

"""Tweedie's second formula, for any denoiser: Cov[x_0 | x_t] = (sigma_t^2 / alpha_t) J with J = dD / dx_t.

It is sigma^2 / alpha^2 (I + sigma^2 grad grad log p_t) in the score (Efron 2011, eq. 2.8; Meng et al. 2021). J is read
by vector-Jacobian products. That of a trained network need not be symmetric or positive.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, expand
from diffusion_lit.randomness import Randomness

__all__ = ["covariance", "estimated_variance", "variance"]


def _pullback(denoiser: Denoiser, x_t: Batch, t: Tensor, condition: dict) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """v (B, d) -> J^T v (B, d), and sigma^2 / alpha, (1,) or (B, 1)."""
    flat = x_t.detach().flatten(1)
    pull = torch.func.vjp(lambda x: denoiser(x.reshape(x_t.shape), t, **condition).mean.flatten(1), flat)[1]
    alpha, sigma = denoiser.schedule(t.double())
    return lambda v: pull(v)[0], expand(sigma**2 / alpha, flat)


def covariance(
    denoiser: Denoiser, x_t: Batch, t: Float[Tensor, "*times"], *, chunk: int | None = None, **condition
) -> Float[Tensor, "batch d d"]:
    """Cov[x_0 | x_t], d vector-Jacobian products; the symmetric part of (sigma^2 / alpha) J.

    Args:
        denoiser: D.
        x_t: (B, *) with d numbers each.
        t: () or (B,).
        chunk: products taken at once; all d unless given.
        condition: passed on to the denoiser.
    """
    pull, scale = _pullback(denoiser, x_t, t, condition)
    basis = torch.eye(x_t[0].numel(), dtype=x_t.dtype, device=x_t.device)
    rows = torch.vmap(lambda e: pull(e.expand(len(x_t), -1)), chunk_size=chunk)(basis)
    jacobian = rows.transpose(0, 1)
    return scale[..., None] * (jacobian + jacobian.mT) / 2


def variance(
    denoiser: Denoiser, x_t: Batch, t: Float[Tensor, "*times"], *, chunk: int | None = None, **condition
) -> Batch:
    """The diagonal of `covariance`, exact, as (B, *): as many products, but never a (d, d) matrix a sample."""
    pull, scale = _pullback(denoiser, x_t, t, condition)
    basis = torch.eye(x_t[0].numel(), dtype=x_t.dtype, device=x_t.device)
    diagonal = torch.vmap(lambda e: pull(e.expand(len(x_t), -1)) @ e, chunk_size=chunk)(basis)
    return (scale * diagonal.mT).reshape(x_t.shape)


def estimated_variance(
    denoiser: Denoiser,
    x_t: Batch,
    t: Float[Tensor, "*times"],
    *,
    projections: int,
    seed: int,
    ids: Int64[Tensor, "batch *names"] | None = None,
    **condition,
) -> Batch:
    """An unbiased estimate of `variance`: the mean of v * J^T v over Rademacher v (Bekas et al. 2007), as (B, *).

    Args:
        denoiser: D.
        x_t: (B, *).
        t: () or (B,).
        projections: number M >= 1 of vectors v; the estimate's variance falls as 1 / M.
        seed: with an id it names a sample's vectors.
        ids: (B,) names of the samples; 0..B-1 unless given.
        condition: passed on to the denoiser.
    """
    pull, scale = _pullback(denoiser, x_t, t, condition)
    noise = Randomness(seed, torch.arange(len(x_t)) if ids is None else ids, x_t.device)
    signs = (2 * noise.uniform(projections, x_t[0].numel()).round() - 1).to(x_t)
    diagonal = torch.stack([v * pull(v) for v in signs.unbind(1)]).mean(0)
    return (scale * diagonal).reshape(x_t.shape)

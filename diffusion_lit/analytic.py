"""Exact denoisers, in float64: Gaussian, Gaussian mixture and empirical (Dirac) data.

For x_0 ~ N(m, C) and x_t = alpha x_0 + sigma eps, with C = Q diag(l) Q^T:

    E[x_0 | x_t]   = m + alpha Q diag(l / (alpha^2 l + sigma^2)) Q^T (x_t - alpha m)
    Cov[x_0 | x_t] = Q diag(l sigma^2 / (alpha^2 l + sigma^2)) Q^T

A mixture weighs its components by the probability that x_t came from each.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, Posterior
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness

__all__ = ["EmpiricalDenoiser", "GaussianDenoiser", "GaussianMixtureDenoiser"]


class GaussianMixtureDenoiser(Denoiser):
    """The exact denoiser of x_0 ~ sum_k w_k N(m_k, C_k).

    Args:
        weights: (K,) non-negative; normalised here.
        means: (K, *event).
        covariances: (K, d, d) with d the size of the event, symmetric positive semi-definite; or (K,), isotropic.
        schedule: the noise.

    Raises:
        ValueError: the shapes do not fit, or a covariance is not symmetric positive semi-definite.
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor, schedule: Schedule):
        super().__init__(schedule)
        count, size = len(weights), means[0].numel()
        if len(means) != count or covariances.shape not in {(count,), (count, size, size)}:
            raise ValueError(
                f"weights {tuple(weights.shape)}, means {tuple(means.shape)}, covariances {tuple(covariances.shape)}: "
                f"expected (K,), (K, *event) and (K, d, d) or (K,) with d = {size} the size of the event"
            )
        self.event = means.shape[1:]
        covariances = covariances.double()
        if covariances.ndim == 1:
            values, vectors = covariances[:, None].expand(count, size), torch.empty(0, dtype=torch.float64)
        else:
            if not torch.allclose(covariances, covariances.mT, atol=1e-8 * float(covariances.abs().max())):
                raise ValueError("covariances: not symmetric; pass (C + C^T) / 2 if that is what you mean")
            values, vectors = torch.linalg.eigh(covariances)
        if float(values.min()) < -1e-8 * float(values.abs().max()):
            raise ValueError(f"covariances: an eigenvalue is {float(values.min()):.3g} < 0; a covariance has none")
        self.register_buffer("weights", weights.double() / weights.double().sum())
        self.register_buffer("means", means.double().reshape(count, size))
        self.register_buffer("eigenvalues", values.clamp_min(0))
        self.register_buffer("eigenvectors", vectors)  # (K, d, d), columns; empty when isotropic

    weights: Tensor
    means: Tensor
    eigenvalues: Tensor
    eigenvectors: Tensor

    def _to_basis(self, x: Tensor) -> Tensor:  # (B, K, d) -> (B, K, d) in each component's eigenbasis
        return torch.einsum("kij,bki->bkj", self.eigenvectors, x) if len(self.eigenvectors) else x

    def _from_basis(self, x: Tensor) -> Tensor:
        return torch.einsum("kij,bkj->bki", self.eigenvectors, x) if len(self.eigenvectors) else x

    def _components(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Responsibilities (B, K), means (B, K, d) and eigenvalues of the covariances (B, K, d) of x_0 given x_t."""
        alpha, sigma = (c.reshape(-1, 1, 1) for c in self.schedule(t.double().to(x_t.device)))
        x = x_t.double().reshape(len(x_t), 1, -1)
        centred = self._to_basis(x - alpha * self.means)
        variance = alpha**2 * self.eigenvalues + sigma**2
        mean = self.means + self._from_basis(alpha * self.eigenvalues / variance * centred)
        logits = self.weights.log() - (centred**2 / variance + variance.log()).sum(-1) / 2
        return logits.softmax(-1), mean, self.eigenvalues * sigma**2 / variance

    def _isotropic(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (B, d) of x_0 given x_t by products of matrices; no (B, K, d) is made."""
        alpha, sigma = (c.reshape(-1, 1) for c in self.schedule(t.double().to(x_t.device)))
        x, value = x_t.double().flatten(1), self.eigenvalues[:, 0]
        variance = alpha**2 * value + sigma**2  # (1 or B, K), of x_t
        square = x.square().sum(1, keepdim=True) - 2 * alpha * x @ self.means.mT
        square = square + alpha**2 * self.means.square().sum(1)  # |x - alpha m|^2
        share = (self.weights.log() - (square / variance + x.shape[1] * variance.log()) / 2).softmax(-1)
        gain = alpha * value / variance
        rest = 1 - alpha * gain  # E[x_0 | x_t, k] = rest m + gain x
        by_gain, by_rest = (share * gain).sum(1, keepdim=True), share * rest
        mean = by_rest @ self.means + by_gain * x
        second = by_rest * rest @ self.means.square() + 2 * (by_rest * gain @ self.means) * x
        second = second + (share * gain**2).sum(1, keepdim=True) * x.square()
        within = (share * value * sigma**2 / variance).sum(1, keepdim=True)
        return mean, within + (second - mean.square()).clamp_min(0)

    def _full(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        share, means, values = self._components(x_t, t)
        mean = torch.einsum("bk,bkd->bd", share, means)
        within = torch.einsum("kij,bkj->bki", self.eigenvectors**2, values)
        return mean, torch.einsum("bk,bkd->bd", share, within + (means - mean[:, None]) ** 2)

    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        moments = (self._full if len(self.eigenvectors) else self._isotropic)(x_t, t)
        mean, variance = (moment.reshape(x_t.shape).to(x_t.dtype) for moment in moments)
        return Posterior(mean, variance)

    def covariance(self, x_t: Batch, t: Float[Tensor, "*times"]) -> Float[Tensor, "batch d d"]:
        """Cov[x_0 | x_t], exact; equals (sigma^2 / alpha) dD/dx_t (Tweedie's second formula)."""
        share, means, values = self._components(x_t, t)
        deviation = means - torch.einsum("bk,bkd->bd", share, means)[:, None]
        basis = self.eigenvectors if len(self.eigenvectors) else torch.eye(means.shape[-1]).to(means).expand(1, -1, -1)
        within = torch.einsum(
            "bk,kij,bkj,klj->bil",
            share,
            basis.expand(len(self.weights), -1, -1),
            values,
            basis.expand(len(self.weights), -1, -1),
        )
        return within + torch.einsum("bk,bki,bkj->bij", share, deviation, deviation)

    def log_density(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Float[Tensor, " batch"]:
        """log p_t(x_t) of x_t (B, *event), at times t () or (B,); of the data at t = 0. Can be differentiated."""
        alpha, sigma = (c.reshape(-1, 1, 1) for c in self.schedule(t.double().to(x_t.device)))
        centred = self._to_basis(x_t.double().reshape(len(x_t), 1, -1) - alpha * self.means)
        variance = alpha**2 * self.eigenvalues + sigma**2
        log_normal = -(centred**2 / variance + (2 * math.pi * variance).log()).sum(-1) / 2
        return (self.weights.log() + log_normal).logsumexp(-1)

    def log_prob(self, x: Batch, t: float = 0.0) -> Float[Tensor, " batch"]:
        """log p_t(x) of x (B, *event); of the data at t = 0."""
        return self.log_density(x, torch.tensor(t, dtype=torch.float64))

    def sample(self, n: int, seed: int) -> Float[Tensor, "n *event"]:
        """Draw n exact samples; sample i depends on (seed, i) only."""
        noise = Randomness(seed, torch.arange(n), self.means.device)
        edges = self.weights.cumsum(0)[:-1].contiguous()
        component = torch.searchsorted(edges, noise.uniform(1)[:, 0])
        z = noise.normal(self.means.shape[-1], dtype=torch.float64) * self.eigenvalues[component].sqrt()
        if len(self.eigenvectors):
            # component by component: indexing the eigenvectors by sample would copy a d x d matrix a sample
            z = torch.stack([self.eigenvectors[k] @ v for k, v in zip(component.tolist(), z)]) if n else z
        return (self.means[component] + z).reshape(n, *self.event)

    def posterior(self, measurement: Any) -> "GaussianMixtureDenoiser":
        """The exact posterior p(x_0 | y) for a linear operator and Gaussian noise: a mixture again.

        Args:
            measurement: a Measurement of one y: `.values` (d_y,), whose operator has `.matrix()` (d_y, d) and whose
                noise has `.covariance(d_y)` (d_y, d_y).
        """
        matrix = measurement.operator.matrix().double()
        y = measurement.values.to(matrix)
        covariance = self._full_covariances()
        # per component: S = A C A^T + Sigma_y, gain = C A^T S^-1; weights times N(y; A m, S)
        innovation = matrix @ covariance @ matrix.mT + measurement.noise.covariance(len(y)).to(matrix)
        residual = y - self.means @ matrix.mT
        gain = torch.linalg.solve(innovation, matrix @ covariance).mT
        means = self.means + torch.einsum("kij,kj->ki", gain, residual)
        covariances = covariance - gain @ matrix @ covariance
        evidence = torch.distributions.MultivariateNormal(torch.zeros_like(residual), innovation).log_prob(residual)
        return GaussianMixtureDenoiser(
            (self.weights.log() + evidence).softmax(0),
            means.reshape(-1, *self.event),
            (covariances + covariances.mT) / 2,
            self.schedule,
        )

    def _full_covariances(self) -> Float[Tensor, "components d d"]:
        if len(self.eigenvectors):
            return self.eigenvectors * self.eigenvalues[:, None] @ self.eigenvectors.mT
        return torch.diag_embed(self.eigenvalues)


class GaussianDenoiser(GaussianMixtureDenoiser):
    """The exact denoiser of x_0 ~ N(mean, covariance).

    Args:
        mean: (*event).
        covariance: (d, d), or () isotropic.
        schedule: the noise.
    """

    def __init__(self, mean: Tensor, covariance: Tensor, schedule: Schedule):
        super().__init__(torch.ones(1), mean[None], covariance[None], schedule)

    @classmethod
    def fit(cls, data: Float[Tensor, "n *event"], schedule: Schedule) -> "GaussianDenoiser":
        """Fit mean and full covariance to n samples (divided by n - 1)."""
        return cls(data.double().mean(0), torch.cov(data.double().flatten(1).mT), schedule)


class EmpiricalDenoiser(Denoiser):
    """The exact denoiser of the data themselves, x_0 ~ 1/n sum_i delta(x - x_i): what a network would learn by heart.

    Args:
        data: (n, *event).
        schedule: the noise.
    """

    data: Tensor

    def __init__(self, data: Float[Tensor, "n *event"], schedule: Schedule):
        super().__init__(schedule)
        self.register_buffer("data", data.double())

    def _responsibilities(self, x_t: Tensor, t: Tensor) -> Float[Tensor, "batch n"]:
        alpha, sigma = (c.reshape(-1, 1) for c in self.schedule(t.double().to(x_t.device)))
        points = self.data.flatten(1)
        # -|x - alpha x_i|^2 / (2 sigma^2) without the term that all points share
        logits = alpha * (x_t.double().flatten(1) @ points.mT) - alpha**2 * points.square().sum(1) / 2
        return (logits / sigma**2).softmax(-1)

    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        share = self._responsibilities(x_t, t)
        points = self.data.flatten(1)
        mean = share @ points
        variance = (share @ points.square() - mean.square()).clamp_min(0)
        return Posterior(mean.reshape(x_t.shape).to(x_t.dtype), variance.reshape(x_t.shape).to(x_t.dtype))

    def covariance(self, x_t: Batch, t: Float[Tensor, "*times"]) -> Float[Tensor, "batch d d"]:
        """Cov[x_0 | x_t], exact."""
        share = self._responsibilities(x_t, t)
        deviation = self.data.flatten(1) - (share @ self.data.flatten(1))[:, None]
        return torch.einsum("bn,bni,bnj->bij", share, deviation, deviation)

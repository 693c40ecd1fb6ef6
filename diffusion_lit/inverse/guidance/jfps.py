"""Jacobian-free posterior sampling: Tweedie's covariance from the covariance of the data (azula's JFPS)."""

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.denoise import Batch, expand
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.guidance.base import Guidance
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.solvers import conjugate_gradient
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.samplers import Sampler

__all__ = ["JFPS", "DataCovariance"]


class DataCovariance:
    """C_x = Q diag(l) Q^T of the data, in squared units of x.

    Args:
        values: l >= 0: () isotropic, (*x_shape) of each entry, or (d,) with `vectors`.
        vectors: (d, d), Q's columns, for flattened x; none where Q = 1.

    Raises:
        UserError: a value is negative, or all are zero.
    """

    def __init__(self, values: Float[Tensor, "..."], vectors: Float[Tensor, "d d"] | None = None):
        if not bool((values >= 0).all()) or not bool((values > 0).any()):
            raise UserError(
                f"covariance: its eigenvalues run from {float(values.min()):.3g} to {float(values.max()):.3g}; those "
                f"of data are >= 0, and not all 0"
            )
        self.values, self.vectors = values.double(), vectors

    @classmethod
    def isotropic(cls, variance: float) -> "DataCovariance":
        """Return variance * 1."""
        return cls(torch.tensor(variance, dtype=torch.float64))

    @classmethod
    def matrix(cls, covariance: Float[Tensor, "d d"]) -> "DataCovariance":
        """Decompose a symmetric matrix, for flattened x; eigenvalues that rounding made negative are 0."""
        values, vectors = torch.linalg.eigh(covariance.double())
        return cls(torch.where(values.abs() < 1e-10 * values.max(), 0.0, values), vectors)

    @classmethod
    def of(cls, denoiser: GaussianDenoiser) -> "DataCovariance":
        """Return the covariance of Gaussian data, such as a `GaussianDenoiser.fit`."""
        vectors = denoiser.eigenvectors
        if not len(vectors):
            return cls.isotropic(float(denoiser.eigenvalues[0, 0]))
        return cls(denoiser.eigenvalues[0], vectors[0])

    def given(self, x: Batch, alpha: Float[Tensor, "*times"], sigma: Float[Tensor, "*times"]) -> Batch:
        """(C_x^-1 + (alpha / sigma)^2 I)^-1 x (B, *): the covariance of x_0 given x_t, if the data are Gaussian."""
        z = x.flatten(1)
        values = self.values.to(z).flatten() if self.values.ndim else self.values.to(z)
        spread = values * expand(sigma**2, z) / (expand(sigma**2, z) + expand(alpha**2, z) * values)
        if self.vectors is None:
            return (spread * z).reshape(x.shape)
        basis = self.vectors.to(z)
        return (spread * (z @ basis) @ basis.mT).reshape(x.shape)


class JFPS(Guidance):
    """p(x_0 | x_t) ~ N(D, C_t) with C_t = (C_x^-1 + (alpha_t / sigma_t)^2 I)^-1 for Tweedie's (sigma_t^2 / alpha_t) J.

    grad log p(y | x_t) = (alpha_t / sigma_t^2) C_t A^T (Sigma_y + A C_t A^T)^-1 (y - A D)

    so that D_y = D + C_t A^T (...)^-1 (y - A D): Rozet et al. 2024 (MMPS, section 4.2) with a covariance that does not
    depend on x_t, and no vector-Jacobian product. Exact for Gaussian data of covariance C_x.

    Args:
        steps: of the default sampler.
        covariance: C_x; isotropic of variance 1 unless given. `DataCovariance.of(GaussianDenoiser.fit(data, ...))` is
            a fitted one.
        sampler: in place of the default.
    """

    needs = LinearOperator

    def __init__(self, steps: int = 100, covariance: DataCovariance | None = None, sampler: Sampler | None = None):
        super().__init__(steps, sampler, vjps_per_call=0)
        self.covariance = covariance or DataCovariance.isotropic(1.0)

    def likelihood_score(self, at: Tangent, measurement: Measurement) -> Batch:
        mean = at.mean.detach()
        operator, noise = measurement.linear, measurement.gaussian(mean)

        def back(w: Tensor) -> Tensor:  # C_t A^T w
            return self.covariance.given(operator.transpose(w), at.alpha, at.sigma)

        residual = measurement.residual(mean).double()
        w = conjugate_gradient(lambda w: measurement.covary(w, noise) + operator(back(w)), residual, tolerance=1e-9)
        return expand(at.alpha / at.sigma**2, residual) * back(w)

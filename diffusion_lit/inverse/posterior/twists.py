"""Twists: what a particle at x_t may expect of y, log psi_t(x_t) ~ log p(y | x_t), and its score.

Any psi > 0 leaves a particle method right, since it cancels from the product of the weights; a good one keeps the
weights even. A factor of psi that all particles share cancels at once and is left out.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, expand
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.noise import Gaussian
from diffusion_lit.inverse.tangent import Tangent

__all__ = ["IsotropicTwist", "TweedieTwist", "Twist"]


class Twist(ABC):
    """A rule for log psi_t and the score that guides with it.

    Args:
        vjps: vector-Jacobian products of a call.
    """

    def __init__(self, vjps: int):
        self.vjps = vjps

    @abstractmethod
    def __call__(self, at: Tangent, measurement: Measurement, law: Gaussian) -> tuple[Batch, Float64[Tensor, " batch"]]:
        """Return the score (B, *) and log psi (B,), up to what depends on t and y only.

        Args:
            at: x_t (B, *) and D.
            measurement: of one y, or of one for each particle.
            law: the noise's Gaussian.
        """


class IsotropicTwist(Twist):
    """psi = N(y; A D, Sigma_y + r^2 A A^T), r^2 = s^2 v / (s^2 + v), s = sigma_t / alpha_t: what isotropic data leave.

    The twist of TDS (Wu et al. 2023, eq. 8; their variance is that of v = infinity) with the bound that the data's own
    variance v sets, and with the covariance of all of y where published code takes its diagonal. The score is PiGDM's.

    Args:
        data_variance: v, of a pixel of the data.
    """

    def __init__(self, data_variance: float = 1.0):
        super().__init__(vjps=1)
        if data_variance <= 0:
            raise UserError(f"data_variance: {data_variance} <= 0; give the mean variance of a pixel of the data")
        self.data_variance = data_variance

    def __call__(self, at: Tangent, measurement: Measurement, law: Gaussian) -> tuple[Batch, Float64[Tensor, " batch"]]:
        v = self.data_variance
        spread = at.sigma**2 * v / (at.sigma**2 + at.alpha**2 * v)
        residual = measurement.residual(at.mean.detach()).double()
        solved = measurement.gram_solve(residual, spread, law)
        return at.vjp(measurement.linear.transpose(solved)), -(residual * solved).flatten(1).sum(1) / 2


class TweedieTwist(Twist):
    """psi = N(y; A D, Sigma_y + A C A^T), C = (sigma_t^2 / alpha_t) J the covariance of x_0 given x_t: MMPS's.

    Exact for Gaussian data, whose weights are then equal; on a mixture C grows where x_t lies between modes that y
    tells apart, so that no particle is judged before it has chosen one. The score leaves out dC / dx_t, as MMPS's does
    (Rozet et al. 2024, section 4.2).

    I + Sigma^-1/2 A C A^T Sigma^-1/2 is known on the Krylov space of the whitened residual (Arnoldi's method), in which
    system and determinant are solved; with d_y iterations both are exact. Since the Jacobian of a network is neither
    symmetric nor positive, the projection is made so. Where the space ends early, it goes on with a fixed vector.

    Args:
        iterations: n, vector-Jacobian products of a call.
    """

    def __init__(self, iterations: int = 3):
        super().__init__(vjps=iterations)
        if iterations < 1:
            raise UserError(f"iterations: {iterations} < 1; a Krylov space has at least one direction")
        self.iterations = iterations

    def __call__(self, at: Tangent, measurement: Measurement, law: Gaussian) -> tuple[Batch, Float64[Tensor, " batch"]]:
        operator = measurement.linear
        residual = law.whiten(operator.observe(measurement.residual(at.mean.detach()).double()))
        basis: list[Tensor] = []  # each (B, d_y), orthonormal or 0
        images, pulls = [], []  # Sigma^-1/2 A C A^T Sigma^-1/2 q and J^T A^T Sigma^-1/2 q of each
        for number in range(self.iterations):
            basis.append(_next(images[-1] if images else residual, basis, number))
            pull = at.vjp(operator.transpose(operator.place(law.whiten(basis[-1])))).double()
            pulls.append(pull)
            images.append(expand(at.sigma**2 / at.alpha, residual) * law.whiten(operator.observe(operator(pull))))
        q, image = torch.stack(basis, 1), torch.stack(images, 1)
        projected = torch.einsum("bid,bjd->bij", q, image)
        values, vectors = torch.linalg.eigh((projected + projected.mT) / 2)
        values = values.clamp_min(0)
        along = torch.einsum("bij,bid,bd->bj", vectors, q, residual)  # all of the residual: it spans the first q
        weight = torch.einsum("bij,bj->bi", vectors, along / (1 + values))
        score = torch.einsum("bi,bi...->b...", weight, torch.stack(pulls, 1))
        return score, -(along.square() / (1 + values) + torch.log1p(values)).sum(1) / 2


def _next(vector: Tensor, basis: list[Tensor], number: int) -> Tensor:
    """The part of (B, d_y) that is new to an orthonormal basis, of length 1; where there is none, a fixed vector's."""
    angles = torch.arange(1, vector.shape[1] + 1, dtype=torch.float64, device=vector.device)
    new, found = _orthogonal(vector, basis)
    other, _ = _orthogonal((angles * (number + 1)).cos().expand_as(vector), basis)
    return torch.where(found, new, other)


def _orthogonal(vector: Tensor, basis: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The unit vector (B, d_y) of what is new in `vector`, or 0, and whether there is any (B, 1)."""
    new = vector
    for q in basis * 2:  # twice is enough against rounding (Kahan; Parlett 1980, section 6.9)
        new = new - (new * q).sum(1, keepdim=True) * q
    length = new.norm(dim=1, keepdim=True)
    found = length > 1e-8 * vector.norm(dim=1, keepdim=True)
    return torch.where(found, new / length.where(found, 1.0), 0.0), found

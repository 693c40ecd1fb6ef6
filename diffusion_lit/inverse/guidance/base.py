"""Guidance: D -> D_y = D + (sigma_t^2 / alpha_t) grad log p(y | x_t), a denoiser again, for any sampler."""

from abc import abstractmethod

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, Posterior, expand
from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.samplers import DDPM, Quadratic, Sampler

__all__ = ["Guidance", "GuidedDenoiser"]


class Guidance(Method):
    """A rule for grad log p(y | x_t), and the sampler that walks the guided denoiser.

    Args:
        steps: of the default sampler, DDPM on the quadratic grid with the geometric mean of its two variances. On
            Gaussian data and 20 to 100 steps it keeps the posterior's spread best of the ancestral samplers: beta-tilde
            alone leaves too little of it (the misfit is too small), beta too much, and uniform steps are too long where
            sigma_t passes sigma_y.
        sampler: any other.
        vjps_per_call: vector-Jacobian products of one `likelihood_score`.
    """

    def __init__(self, steps: int, sampler: Sampler | None, vjps_per_call: int):
        self.sampler = DDPM(steps, v=0.5, grid=Quadratic()) if sampler is None else sampler
        self.vjps_per_call = vjps_per_call

    @abstractmethod
    def likelihood_score(self, at: Tangent, measurement: Measurement) -> Batch:
        """Return grad_{x_t} log p(y | x_t), (B, *), under the method's approximation of p(x_0 | x_t)."""

    @property
    def nfe(self) -> int:
        return self.sampler.nfe

    @property
    def vjps(self) -> int:
        return self.sampler.nfe * self.vjps_per_call

    def guide(self, denoiser: Denoiser, measurement: Measurement) -> "GuidedDenoiser":
        """Return D_y."""
        return GuidedDenoiser(denoiser, measurement, self)

    def draw(
        self, denoiser: Denoiser, measurement: Measurement, ids: Int64[Tensor, "batch *names"], seed: int, **condition
    ) -> Float[Tensor, "batch *x_shape"]:
        shape = (len(ids), *measurement.operator.x_shape)
        return self.sampler(self.guide(denoiser, measurement), shape, seed=seed, ids=ids, **condition)


class GuidedDenoiser(Denoiser):
    """D_y(x_t, t), an approximation of E[x_0 | x_t, y].

    Args:
        denoiser: D.
        measurement: of one y, or of as many as the batch of x_t.
        guidance: the rule.
    """

    def __init__(self, denoiser: Denoiser, measurement: Measurement, guidance: Guidance):
        super().__init__(denoiser.schedule)
        self.denoiser, self.measurement, self.guidance = denoiser, measurement, guidance

    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        with torch.inference_mode(False):
            point = Tangent.at if self.guidance.vjps_per_call else Tangent.free
            at = point(self.denoiser, x_t, t, **condition)
            with torch.no_grad():
                score = self.guidance.likelihood_score(at, self.measurement).double()
                return Posterior(at.mean.detach() + (expand(at.sigma**2 / at.alpha, score) * score).to(x_t))

    @property
    def reference(self) -> Tensor:
        return self.denoiser.reference

"""The denoiser at one point, with products with its Jacobian J = dD / dx_t."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.noise import Schedule

__all__ = ["Tangent"]


@dataclass(frozen=True, eq=False)
class Tangent:
    """D at x_t on a graph that lives as long as this object.

    Attributes:
        x_t: (B, *) where the graph begins.
        mean: (B, *) D(x_t, t), on the graph.
        variance: (B, *) of x_0 given x_t, if the denoiser says so.
        alpha, sigma: () or (B,), float64, of time t.
        t: () or (B,), the time.
        schedule: of the noise.
    """

    x_t: Batch
    mean: Batch
    variance: Batch | None
    alpha: Float[Tensor, "*times"]
    sigma: Float[Tensor, "*times"]
    t: Float[Tensor, "*times"]
    schedule: Schedule

    @classmethod
    def at(cls, denoiser: Denoiser, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> "Tangent":
        """Call the denoiser once, keeping the graph.

        Raises:
            UserError: the denoiser's mean carries no gradient.
        """
        with torch.inference_mode(False), torch.enable_grad():
            x, t = x_t.detach().clone().requires_grad_(), t.detach().clone()
            posterior = denoiser(x, t, **condition)
            alpha, sigma = denoiser.schedule(t.double().to(x.device))
        mean, variance = posterior.mean, posterior.variance
        if not mean.requires_grad:
            raise UserError(
                f"{type(denoiser).__name__}: its mean carries no gradient to x_t, which this method needs; remove "
                f"no_grad or detach from its forward, or use a method without vector-Jacobian products"
            )
        variance = None if variance is None else variance.detach()
        return cls(x, mean, variance, alpha, sigma, t, denoiser.schedule)

    @classmethod
    def free(cls, denoiser: Denoiser, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> "Tangent":
        """Call the denoiser once without a graph, for methods that take no vector-Jacobian product."""
        with torch.inference_mode(False), torch.no_grad():
            x, t = x_t.clone(), t.clone()
            posterior = denoiser(x, t, **condition)
            alpha, sigma = denoiser.schedule(t.double().to(x.device))
        return cls(x, posterior.mean, posterior.variance, alpha, sigma, t, denoiser.schedule)

    def vjp(self, v: Batch) -> Batch:
        """J^T v, one vector-Jacobian product."""
        return torch.autograd.grad(self.mean, self.x_t, v.to(self.mean), retain_graph=True)[0]

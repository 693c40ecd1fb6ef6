"""Regularisation by denoising diffusion (Mardani et al. 2023, RED-diff): an optimiser, not a sampler."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Grid, Uniform

__all__ = ["REDDiff"]


class REDDiff(Method):
    """One image mu that fits y and that the denoiser, at every level, takes for its own: an optimiser, not a sampler.

    Adam on  ||y - A(mu)||^2 / 2 + w_t <eps(x_t) - eps, mu>,  x_t = alpha_t mu + sigma_t eps
    with w_t = lam sigma_t / alpha_t (Mardani et al. 2023, eq. 10 and algorithm 1), t from noise to data, eps fresh.

    Since eps(x_t) - eps = alpha_t (mu - D) / sigma_t, the second gradient is lam (mu - D): mu is drawn to what the
    denoiser makes of it and noise. On Gaussian data of variance v that is a pull of lam r^2 / (r^2 + v), r = sigma_t /
    alpha_t: it fades, and at the end mu fits y, whatever y's noise. What A does not see comes to the prior's mean, but
    for the jitter of Adam's steps: the spread of the results is about `rate`, and says nothing of the posterior's. It
    starts from A^+ y, or from 0 where A is not linear.

    Args:
        steps: of Adam, one call of the denoiser each; the paper's 1000.
        lam: >= 0, weight of the prior.
        rate: of Adam, > 0, in the units of x.
        grid: of times; uniform unless given.

    Raises:
        UserError: a number is out of range.
    """

    def __init__(self, steps: int = 1000, lam: float = 0.25, rate: float = 0.1, grid: Grid | None = None):
        if steps < 1 or lam < 0 or rate <= 0:
            raise UserError(f"steps {steps}, lam {lam}, rate {rate}: at least one step, lam >= 0 and a rate above 0")
        self.steps, self.lam, self.rate, self.grid = steps, lam, rate, grid or Uniform()

    @property
    def nfe(self) -> int:
        return self.steps

    @property
    def vjps(self) -> int:
        return 0

    def gradient(
        self, denoiser: Denoiser, measurement: Measurement, mu: Batch, t: Tensor, eps: Batch, **condition
    ) -> Batch:
        """A's Jacobian^T (A(mu) - y) + lam (mu - D(alpha_t mu + sigma_t eps))."""
        alpha, sigma = (c.to(mu) for c in denoiser.schedule(t))
        with torch.enable_grad():
            at = mu.detach().requires_grad_()
            misfit = measurement.residual(at).square().sum() / 2
        (fit,) = torch.autograd.grad(misfit, at)
        return fit + self.lam * (mu - denoiser(alpha * mu + sigma * eps, t, **condition).mean)

    def draw(
        self, denoiser: Denoiser, measurement: Measurement, ids: Int64[Tensor, "batch *names"], seed: int, **condition
    ) -> Float[Tensor, "batch *x_shape"]:
        reference, shape = denoiser.reference, measurement.operator.x_shape
        noise = Randomness(seed, ids, reference.device)
        mu = reference.new_zeros(len(ids), *shape)
        if isinstance(measurement.operator, LinearOperator):
            mu = mu + measurement.operator.pinv(measurement.residual(mu))
        adam = torch.optim.Adam([mu], lr=self.rate, betas=(0.9, 0.99))  # entry by entry, so each sample by itself
        for t in self.grid(denoiser.schedule, self.steps)[:-1].to(reference.device):
            eps = noise.normal(*shape, dtype=mu.dtype)
            mu.grad = self.gradient(denoiser, measurement, mu, t, eps, **condition)
            adam.step()
        return mu.detach()

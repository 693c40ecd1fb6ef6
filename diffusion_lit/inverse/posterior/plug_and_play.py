"""Diffusion models as plug-and-play priors (Graikos et al. 2022): an optimiser, not a sampler."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Grid, LogSNR

__all__ = ["PlugAndPlay"]


class PlugAndPlay(Method):
    """Minimises -log p(y | x) - ELBO(x) over x by Adam, one falling time an iteration (Graikos et al. 2022).

    -log p(x) <= 1/2 int E ||eps - eps(alpha x + sigma eps, t)||^2 d log-SNR + constant    (Kingma et al. 2021)

    each iteration takes the integrand at one time, fresh noise, and the whole range of log-SNR as its weight; the paper
    drops the weight, and its released code lets that of the condition fall with the times. The gradient goes through
    the denoiser. What comes out is near a mode, blurred by the last iterations' noise, from another start for every id:
    its spread says nothing of the posterior's.

    Args:
        steps: iterations.
        rate: Adam's, falling linearly to 0, in units of the data.
        grid: of times; equal steps in log-SNR, falling, unless given. Its step to the data is not taken.

    Raises:
        UserError: steps or rate is not above 0.
    """

    needs_noise = True

    def __init__(self, steps: int = 1000, rate: float = 0.05, grid: Grid | None = None):
        if steps < 1 or not rate > 0:
            raise UserError(f"steps {steps}, rate {rate}: both are above 0")
        self.steps, self.rate, self.grid = steps, rate, grid or LogSNR()

    @property
    def nfe(self) -> int:
        return self.steps

    @property
    def vjps(self) -> int:
        return self.steps

    def draw(
        self, denoiser: Denoiser, measurement: Measurement, ids: Int64[Tensor, "batch *names"], seed: int, **condition
    ) -> Float[Tensor, "batch *x_shape"]:
        reference, schedule = denoiser.reference, denoiser.schedule
        noise = Randomness(seed, ids, reference.device)
        times = self.grid(schedule, max(self.steps, 2))[:-1].to(reference.device)[: self.steps]
        span = schedule.log_snr(times[[-1, 0]]).diff().abs()[0] if self.steps > 1 else torch.ones(())
        x = noise.normal(*measurement.operator.x_shape, dtype=reference.dtype).requires_grad_()
        adam = torch.optim.Adam([x], lr=self.rate)
        for i, t in enumerate(times):
            alpha, sigma = (c.to(x) for c in schedule(t))
            eps = noise.normal(*x.shape[1:], dtype=x.dtype)
            at = Tangent.at(denoiser, alpha * x.detach() + sigma * eps, t, **condition)
            # eps - eps(x_t) = (alpha / sigma) (D - x): its square's gradient goes through D and x
            error = at.mean.detach() - x.detach()
            prior = span.to(x) * (alpha / sigma).square() * (alpha * at.vjp(error) - error)
            with torch.enable_grad():
                (fit,) = torch.autograd.grad(-measurement.log_likelihood(x).sum(), x)
            x.grad = prior + fit
            adam.param_groups[0]["lr"] = self.rate * (1 - i / self.steps)
            adam.step()
        return x.detach()

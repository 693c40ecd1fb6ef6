"""Plug-and-play diffusion models: a split Gibbs sampler (Wu et al. 2024, PnP-DM; Xu & Chi 2024, DPnP)."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.posterior.daps import descent
from diffusion_lit.inverse.proximal import ProximalDraw, proximal_draw
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers import DDPM, Sampler

__all__ = ["PnPDM"]


class PnPDM(Method):
    """Draw z around x that has seen y, draw x by the reverse chain from z taken as data of noise eta; lower eta.

    z ~ N(z | x, eta^2 I) p(y | z);  x ~ p(x) N(z | x, eta^2 I) = p(x_0 | x_t = alpha_t z), sigma_t / alpha_t = eta
    (Wu et al. 2024, algorithm 1). At a fixed eta the law of x tends to

        p(x) int N(z | x, eta^2 I) p(y | z) dz,    linear and Gaussian: p(x) N(y; A x, Sigma_y + eta^2 A A^T),

    if the chain is exact: unseen coordinates are right at any eta, seen ones trust y too little by eta^2. A small eta
    moves x by little, which is why it comes down slowly; the bias that x carries down falls as 1 / steps.

    Args:
        steps: levels of eta, geometric from eta_max to eta_min, one draw of z and of x each.
        eta_max: of the first, in the units of x; at most the schedule's largest sigma / alpha.
        eta_min: of the last; well below the noise of y over A's largest singular value, and above the schedule's
            sigma / alpha at t_min. The published 0.1 is too wide for sigma_y = 0.05: W2 1.16 after 100 levels, 0.13
            with 0.02 (whitened, Gaussian data of four dimensions); for 0.3, where 0.1 does, a smaller one is as good.
        sampler: the reverse chain from eta to the data, its steps in Karras' spacing; 20 steps of DDPM unless given,
            with the geometric mean of its two variances. It must draw: the end of an ODE is not a draw given z.
        inner: draws z; the exact draw where there is one, else Langevin's, unless given.

    Raises:
        UserError: no level, or eta_min and eta_max do not fit.
    """

    def __init__(
        self,
        steps: int = 50,
        eta_max: float = 10.0,
        eta_min: float = 0.02,
        sampler: Sampler | None = None,
        inner: ProximalDraw | None = None,
    ):
        if steps < 1 or not 0 < eta_min <= eta_max:
            raise UserError(f"steps {steps}, eta_min {eta_min}, eta_max {eta_max}: one level or more, falling")
        self.steps, self.eta_max, self.eta_min, self.inner = steps, eta_max, eta_min, inner
        self.sampler = sampler or DDPM(20, v=0.5)

    @property
    def nfe(self) -> int:
        return self.steps * self.sampler.nfe

    @property
    def vjps(self) -> int:
        return 0

    def draw(
        self, denoiser: Denoiser, measurement: Measurement, ids: Int64[Tensor, "batch *names"], seed: int, **condition
    ) -> Float[Tensor, "batch *x_shape"]:
        schedule, reference = denoiser.schedule, denoiser.reference
        noise, draw = Randomness(seed, ids, reference.device), self.inner or proximal_draw(measurement)
        logs = torch.linspace(math.log(self.eta_max), math.log(self.eta_min), self.steps, dtype=torch.float64)
        times = schedule.time(-2 * logs).to(reference.device)
        if times[-1] <= schedule.t_min:
            raise UserError(
                f"eta_min: {self.eta_min} is not above the least noise of {type(schedule).__name__}, "
                f"{float((-schedule.log_snr(torch.tensor(schedule.t_min)) / 2).exp()):.3g}; raise it"
            )
        x = reference.new_zeros(len(ids), *measurement.operator.x_shape)
        for t in times:
            alpha, sigma = schedule(t)
            z = draw(measurement, x, sigma / alpha, noise)
            walk = descent(schedule, t, self.sampler.steps)
            x = self.sampler.integrate(denoiser, alpha.to(z) * z, walk, noise, **condition)
        return x

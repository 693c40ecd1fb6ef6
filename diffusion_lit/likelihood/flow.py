"""The likelihood of a denoiser, by change of variables along its probability flow (Song et al. 2021, appendix D.2).

With s a rough standard deviation of the data, rho_t = (s^2 alpha_t^2 + sigma_t^2)^(1/2) that of x_t, and
z = x_t / rho_t, the probability flow is

    dz/dt = -g^2 / (2 rho) (grad log p_t(x_t) - grad log N(x_t; 0, rho^2)),    score_N = -x_t / rho^2.

Only what p_t has and that normal law has not moves z: for data N(0, s^2 I) z and its density stay where they are, and
for others the slope is small and smooth, at any schedule. The density follows by the change of variables

    log p(x) = log p(z_1) + int div(dz/dt) dt - d log s.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, expand
from diffusion_lit.divergence import Divergence, Exact
from diffusion_lit.errors import UserError
from diffusion_lit.likelihood.prior import GaussianPrior, Prior
from diffusion_lit.likelihood.solvers import FixedSteps, Solver
from diffusion_lit.randomness import Randomness

__all__ = ["ProbabilityFlowNLL"]


class ProbabilityFlowNLL:
    """Negative log-likelihood in nats, in float64 but for the denoiser's own arithmetic.

    Between t = 0 and t_min no denoiser is asked: near the data the flow of a smooth density is linear in the variance
    v = sigma^2 / alpha^2, so this stretch is one step of Euler's method in v with the slope of its end, whose error is
    of order v^2. At t = 1 the law is `prior`.

    Args:
        divergence: how the divergence is taken: exactly, or by random projections, whose mean over seeds is the exact
            value up to the solver's error.
        solver: 60 steps of Heun's method unless given.
        t_min: where the solver starts; the schedule's t_min unless given.
        scale: s > 0 above, a rough standard deviation of the data.
        prior: the law of x_1; N(0, sigma_1^2) unless given.
    """

    def __init__(
        self,
        divergence: Divergence | None = None,
        solver: Solver | None = None,
        *,
        t_min: float | None = None,
        scale: float = 1.0,
        prior: Prior | None = None,
    ):
        if not scale > 0:
            raise UserError(f"scale: {scale} is not positive; give a rough standard deviation of the data")
        self.divergence, self.solver = divergence or Exact(), solver or FixedSteps()
        self.t_min, self.scale, self.prior = t_min, scale, prior or GaussianPrior()

    @torch.no_grad()
    def __call__(
        self,
        denoiser: Denoiser,
        x: Batch,
        seed: int = 0,
        ids: Int64[Tensor, "batch *names"] | None = None,
        **condition,
    ) -> Float[Tensor, " batch"]:
        """Return -log p(x | condition) in nats, (B,) in float64.

        Args:
            denoiser: D.
            x: (B, *) data, in the units the denoiser was trained in.
            seed: with an id, and with the time unless the solver is adaptive, it names a sample's random projections.
            ids: (B,) names of the samples; 0..B-1 unless given.
            condition: passed on to the denoiser.

        Raises:
            UserError: t_min is not in (0, 1), or the denoiser returned a number that is not finite.
        """
        schedule, s, size, dtype = denoiser.schedule, self.scale, x[0].numel(), denoiser.reference.dtype
        names = (torch.arange(len(x)) if ids is None else ids).to(x.device).reshape(len(x), -1)
        t_min = schedule.t_min if self.t_min is None else self.t_min
        if not 0 < t_min < 1:
            raise UserError(f"t_min: {t_min} is not in (0, 1)")

        def spread(t: Tensor) -> Tensor:  # rho_t
            alpha, sigma = schedule(t)
            return (s**2 * alpha**2 + sigma**2).sqrt()

        def bits(t: Tensor) -> Tensor:  # a time as a name (B, 1)
            return t.expand(len(x)).clone().view(torch.int64)[:, None]

        def field(state: Tensor, t: Tensor) -> Tensor:
            """The slopes of z and of the integral of the divergence, side by side, at t () or (B,)."""
            rho, rate = expand(spread(t), state), expand(schedule.diffusion_squared(t), state)

            def velocity(z: Tensor) -> Tensor:
                x_t = rho * z
                score = denoiser.score(x_t.reshape(x.shape).to(dtype), t, **condition).flatten(1)
                return -rate / (2 * rho) * (score + x_t / rho**2)

            probes = Randomness(seed, names if self.solver.adaptive else torch.cat((names, bits(t)), dim=1))
            value, divergence = self.divergence(velocity, state[:, :-1], probes)
            if not bool(torch.isfinite(value).all()):
                raise UserError(
                    f"{type(denoiser).__name__}: not finite at t = {t.max().item():.4g}, where x_t is up to "
                    f"{state.abs().max().item():.3g} standard deviations; look at the data and at the network's weights"
                )
            return torch.cat((value, divergence[:, None]), dim=1)

        first, last = torch.tensor([t_min, 1.0], dtype=torch.float64, device=x.device)
        state = torch.cat((x.double().flatten(1) / s, x.new_zeros(len(x), 1, dtype=torch.float64)), dim=1)
        # v / (dv/dt) = sigma^2 / g^2
        state = state + schedule(first)[1] ** 2 / schedule.diffusion_squared(first) * field(state, first)
        state = self.solver(field, state, schedule, t_min)

        x_1 = spread(last) * state[:, :-1].reshape(x.shape)
        log_prior = self.prior.log_prob(x_1, *schedule(last)) + size * spread(last).log()  # of z_1
        return size * math.log(s) - log_prior - state[:, -1]

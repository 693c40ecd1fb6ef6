"""CoPaint: at every level optimise x_t until D meets y, then step (Zhang et al. 2023)."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, expand
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.posterior.base import Stepwise
from diffusion_lit.inverse.posterior.jumps import Jumps
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.ancestral import renoise
from diffusion_lit.samplers.grids import Grid

__all__ = ["CoPaint"]


class CoPaint(Stepwise):
    """x_t <- x_t - rate grad [||y - A(D)||^2 + weight ||x_t - x_t'||^2], a few times from x_t', then a step of DDIM.

    (Zhang et al. 2023, algorithm 1.) The published rate grows from 0.02 to 0.4 and the weight from 1e-4 to 12e-4 over
    250 steps of a variance-preserving schedule. Here they grow with log(alpha_t / sigma_t), so that any number of steps
    has the same ends, and are said for x_t / sqrt(alpha_t^2 + sigma_t^2), for any schedule.

    Backtracking is each sample's own: a move after which the loss has not fallen is taken back, and the sample's next
    is half as long. (The published code tries again with 0.8 of the step until the loss of the whole batch has fallen,
    at a cost that nobody knows.) A trial that is kept gives the next gradient too, so a level costs 1 + moves calls.

    With DDIM's deterministic steps the spread of the samples is that of x_1 as far as y leaves it: a map, no posterior.
    y is taken as exact.

    Args:
        steps: levels; the paper's 250.
        moves: trials a level, the paper's 2.
        rate, weight: > 0 and >= 0, at t = 1; the published ones.
        travel_length, travel_repeat: as for DDNM; the paper's CoPaint-TT has 10 and 2.
        grid: of times.

    Raises:
        UserError: a number is out of range.
    """

    def __init__(
        self,
        steps: int = 250,
        moves: int = 2,
        rate: float = 0.02,
        weight: float = 1e-4,
        travel_length: int = 1,
        travel_repeat: int = 1,
        grid: Grid | None = None,
    ):
        super().__init__(steps, grid)
        if moves < 1 or rate <= 0 or weight < 0:
            raise UserError(f"moves {moves}, rate {rate}, weight {weight}: one move or more, a rate > 0, a weight >= 0")
        self.moves, self.rate, self.weight = moves, rate, weight
        self.jumps = Jumps(steps, travel_length, travel_repeat)

    @property
    def nfe(self) -> int:
        return self.jumps.nfe * (1 + self.moves)

    @property
    def vjps(self) -> int:
        return self.jumps.nfe * self.moves

    def scales(self, schedule: Schedule, t: Float64[Tensor, ""]) -> tuple[Tensor, Tensor]:
        """Rate and weight at t, each a tensor (), for x_t as it is."""
        first, here, last = schedule.log_snr(torch.stack((torch.ones_like(t), t, torch.full_like(t, schedule.t_min))))
        walked = (here - first) / (last - first)
        alpha, sigma = schedule(t)
        size = (alpha**2 + sigma**2).sqrt()
        # the published rate has a factor alpha_t besides, "the rate of one DDIM step to the data"
        return self.rate * 20.0**walked * alpha * size, self.weight * 12.0**walked / size**2

    def step(
        self,
        denoiser: Denoiser,
        measurement: Measurement,
        x_t: Batch,
        t: Float64[Tensor, ""],
        s: Float64[Tensor, ""],
        noise: Randomness,
        **condition,
    ) -> Batch:
        rate, weight = (c.to(x_t) for c in self.scales(denoiser.schedule, t))

        def look(x: Batch, slope: bool) -> tuple[Batch, Float[Tensor, " batch"], Batch]:
            """D, the loss of each sample, and its gradient if it is needed."""
            at = (Tangent.at if slope else Tangent.free)(denoiser, x, t, **condition)
            with torch.set_grad_enabled(slope):
                away = (at.x_t - x_t).flatten(1).square().sum(1)
                loss = measurement.residual(at.mean).flatten(1).square().sum(1) + weight * away
                gradient = torch.autograd.grad(loss.sum(), at.x_t)[0] if slope else x
            return at.mean.detach(), loss.detach(), gradient

        x, length = x_t, rate.expand(len(x_t))
        mean, loss, gradient = look(x, slope=True)
        for left in reversed(range(self.moves)):
            trial = x - expand(length, x) * gradient
            its_mean, its_loss, its_gradient = look(trial, slope=left > 0)
            fell = its_loss <= loss  # not so for NaN
            kept = fell.reshape(-1, *[1] * (x.ndim - 1))
            x, mean, gradient = (
                torch.where(kept, new, old) for new, old in ((trial, x), (its_mean, mean), (its_gradient, gradient))
            )
            loss, length = torch.where(fell, its_loss, loss), torch.where(fell, length, length / 2)
        return renoise(denoiser.schedule, mean, x, t, s, eta=0.0)[0]

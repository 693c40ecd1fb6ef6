"""The reverse-time SDE, and prediction with correction (Song et al. 2021, Score-SDE).

For every lambda >= 0 the process with time running down from 1,

    dx = (f x - (1 + lambda^2) / 2 g^2 grad log p_t) dt + lambda g dw,

has the marginals p_t (Anderson 1982 for lambda = 1, their eq. 6; lambda = 0 is the probability flow, their eq. 13).
"""

from abc import abstractmethod

from torch import Tensor

from diffusion_lit.denoise import Batch
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.base import Mean, Past, Sampler
from diffusion_lit.samplers.grids import Grid, Uniform
from diffusion_lit.samplers.langevin import Langevin
from diffusion_lit.samplers.step_sizes import SignalToNoise

__all__ = ["EulerMaruyama", "PredictorCorrector", "ReverseDiffusion"]


class _ReverseSDE(Sampler):
    """x_s = (1 + a) x_t + (1 + lambda^2) / 2 b grad log p_t + lambda sqrt(b) z; to the data, the mean.

    Args:
        steps: number of steps, one call of the denoiser each.
        lam: lambda >= 0: 1 is the reverse SDE, 0 the probability flow.
        grid: uniform in t unless given.
    """

    def __init__(self, steps: int = 1000, lam: float = 1.0, grid: Grid | None = None):
        super().__init__(steps, grid or Uniform())
        self.lam = lam

    @abstractmethod
    def increments(self, schedule: Schedule, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """(a, b) of the step from t to s > 0."""

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        if s == 0:
            return mean(x_t, t)
        growth, variance = (c.to(x_t) for c in self.increments(schedule, t, s))
        x_s = (1 + growth) * x_t + (1 + self.lam**2) / 2 * variance * mean.score(x_t, t)
        if self.lam > 0:
            x_s = x_s + self.lam * variance.sqrt() * noise.normal(*x_t.shape[1:], dtype=x_t.dtype)
        return x_s


class EulerMaruyama(_ReverseSDE):
    """The Euler-Maruyama method for the reverse SDE of any schedule, of weak order 1: a = -f dt, b = g^2 dt."""

    def increments(self, schedule: Schedule, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        return -schedule.drift(t) * (t - s), schedule.diffusion_squared(t) * (t - s)


class ReverseDiffusion(_ReverseSDE):
    """Reverse diffusion (Song et al. 2021, appendix E, eq. 46): the reverse of the forward chain's own step.

    The chain's step x_t = k x_s + sqrt(b) z, with k = alpha_t / alpha_s and b = sigma_t^2 - k^2 sigma_s^2, is taken as
    x_t = x_s + (k - 1) x + sqrt(b) z, and reversed: a = 1 - k. On a grid of T uniform steps of a DiscreteVP b is beta;
    lam = 0 is the row "probability flow" of their table 1 (eq. 49).
    """

    def increments(self, schedule: Schedule, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
        kept = alpha_t / alpha_s
        return 1 - kept, sigma_t**2 - (kept * sigma_s) ** 2


class PredictorCorrector(Sampler):
    """Langevin moves at each time, then a step of any other sampler (Song et al. 2021, algorithm 1).

    The corrector comes first, as in the released code; the paper's listing has it after the predictor, which along the
    ladder is the same but for the two ends.

    Args:
        predictor: takes the steps; its number of steps and grid are used.
        corrector: Langevin(SignalToNoise(0.16)) unless given; for data of few dimensions give Langevin(Relative()).
    """

    def __init__(self, predictor: Sampler, corrector: Langevin | None = None):
        super().__init__(predictor.steps, predictor.grid)
        self.predictor, self.corrector = predictor, corrector or Langevin(SignalToNoise())

    @property
    def nfe(self) -> int:
        return self.predictor.nfe + self.steps * self.corrector.moves

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        x_t = self.corrector(mean, x_t, t, noise)
        return self.predictor.step(schedule, mean, x_t, t, s, noise, past)

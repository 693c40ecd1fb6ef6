"""Implicit score matching: the Fisher divergence to data whose score is unknown, by integration by parts.

    1/2 E |s - grad log p|^2 = E [ tr ds/dx + |s|^2 / 2 ] + const                       (Hyvarinen 2005)
                             = E [ v^T ds/dx v + (v^T s)^2 / 2 ] + const, E v v^T = I    (SSM, Song et al. 2019)
                             = E [ v^T ds/dx v + |s|^2 / 2 ] + const                     (SSM-VR, the same)

The trace may be taken exactly or by random projections: with `Hutchinson`, `hyvarinen` is SSM-VR.
"""

from collections.abc import Callable

from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, cloned
from diffusion_lit.divergence import Divergence, Exact, Hutchinson
from diffusion_lit.objectives.base import Objective
from diffusion_lit.objectives.denoising import diffuse
from diffusion_lit.objectives.times import TimeSampler, UniformTime
from diffusion_lit.objectives.weightings import EpsWeighting, Weighting
from diffusion_lit.randomness import Randomness

__all__ = ["ImplicitScoreMatching", "SlicedScoreMatching", "hyvarinen", "sliced"]

Losses = Float[Tensor, " batch"]
Score = Callable[[Tensor], Tensor]


def hyvarinen(score: Score, x: Batch, divergence: Divergence, noise: Randomness | None = None) -> Losses:
    """tr ds/dx + |s|^2 / 2 at each sample (B,); its mean is least, -1/2 E |grad log p|^2, at the score of the data.

    Args:
        score: the model, (B, *) -> (B, *), sample by sample.
        x: (B, *) data as they are.
        divergence: how the trace is taken; `Exact()`, or `Hutchinson(...)` for SSM-VR.
        noise: where the projections are drawn from, if there are any.
    """
    value, trace = divergence(score, x, noise)
    return trace + value.square().flatten(1).sum(1) / 2


def sliced(score: Score, x: Batch, projections: Hutchinson, noise: Randomness) -> Losses:
    """v^T ds/dx v + (v^T s)^2 / 2 at each sample (B,), averaged over its projections; arguments as in `hyvarinen`."""
    value, v, forms = projections.forms(score, x, noise)
    along = (v * value[:, None]).flatten(2).sum(2)
    return (forms + along.square() / 2).mean(1)


class ImplicitScoreMatching(Objective):
    """E_t w(t) (2 sigma^4 / alpha^2) [ tr ds/dx_t + |s|^2 / 2 ] / d with s the denoiser's score at x_t.

    The factor makes it `DenoisingScoreMatching` of the same weighting and times, less w sigma^2 / alpha^2, in
    expectation: the two have the same gradient, for 2 sigma^4 / alpha^2 * 1/2 |s - s'|^2 = |D - D'|^2.

    Args:
        divergence: how the trace is taken; `Exact()` unless told, `Hutchinson(...)` for SSM-VR.
        times: the law of t; for one noise level, or data all but as they are, `FixedTime(t)`.
        weighting: w of the squared error of x_0; that of eps unless told.
    """

    def __init__(
        self,
        divergence: Divergence | None = None,
        times: TimeSampler | None = None,
        weighting: Weighting | None = None,
    ):
        self.divergence = divergence or Exact()
        self.times, self.weighting = times or UniformTime(), weighting or EpsWeighting()

    def loss_at(
        self, denoiser: Denoiser, x_0: Batch, t: Losses, *, seed: int, positions: Int64[Tensor, " batch"], **condition
    ) -> Losses:
        """The loss of each sample (B,) at times t (B,)."""
        noise = Randomness(seed, positions)
        x_t = diffuse(denoiser.schedule, x_0, t, noise)
        loss = self.fisher(lambda x: denoiser.score(x, t.clone(), **cloned(condition)), x_t, noise)
        alpha, sigma = denoiser.schedule(t)
        weight = self.weighting(denoiser.schedule, t) * 2 * sigma**4 / alpha**2 / x_0[0].numel()
        return weight.to(loss) * loss

    def fisher(self, score: Score, x: Batch, noise: Randomness) -> Losses:
        """The Fisher divergence of each sample (B,), up to a constant."""
        return hyvarinen(score, x, self.divergence, noise)


class SlicedScoreMatching(ImplicitScoreMatching):
    """SSM: as `ImplicitScoreMatching`, with the norm of s projected too, (v^T s)^2 / 2.

    `ImplicitScoreMatching(Hutchinson(...))` is SSM-VR, which has no noise from the norm, and mostly the less variance.

    Args:
        projections: the law and the number of v; one of signs unless told.
        times: the law of t.
        weighting: w of the squared error of x_0.
    """

    def __init__(
        self,
        projections: Hutchinson | None = None,
        times: TimeSampler | None = None,
        weighting: Weighting | None = None,
    ):
        self.projections = projections or Hutchinson()
        super().__init__(self.projections, times, weighting)

    def fisher(self, score: Score, x: Batch, noise: Randomness) -> Losses:
        return sliced(score, x, self.projections, noise)

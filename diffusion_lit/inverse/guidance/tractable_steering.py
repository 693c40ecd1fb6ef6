"""Tractable steering: a denoiser led by a model that can be conditioned exactly (Liu et al. 2024, "Tiramisu")."""

import copy
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.denoise import Batch, expand
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.guidance.base import Guidance
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.inverse.tractable import Tractable
from diffusion_lit.noise import Schedule
from diffusion_lit.samplers import Sampler

__all__ = ["TractableSteering"]

_Conditioned = tuple[Tractable, list[tuple[Tensor | slice, Tractable]]]


class TractableSteering(Guidance):
    """p(x_0 | x_t, y) ~ p_D(x_0 | x_t) p_M(x_0 | x_t, y) / p_M(x_0 | x_t), pixel by pixel, M a tractable model.

    With N(T, u) and N(T_y, u_y) the pixels' moments under M, without and with y, and N(D, u) those of the denoiser,

        D_y = u_y (D / u + T_y / u_y - T / u) = T_y + (u_y / u) (D - T)

    Where y says all, u_y = 0 and D_y is what M makes of y; where it says nothing, D is left alone; and whatever y says
    of far pixels, M carries there. No gradient of the denoiser is taken, and none of the cost of a call is the
    denoiser's. Exact if M is the law of the data.

    The paper mixes p_D^a p_M(. | y)^(1 - a) over the values of discrete pixels (Liu et al. 2024, eq. 4), which counts
    the prior by M and by D, and is not exact for a right M unless a = 0. The quotient takes from M what y says, and
    the prior from D. The denoiser's own variance would not do for u: a ratio of two variances of one model is the
    fraction that y leaves, and positive.

    Args:
        steps: of the default sampler.
        model: M, a GaussianMixtureDenoiser fitted to data or a HiddenMarkovDenoiser, for instance; its schedule is not
            read. N(0, I) unless given.
        sampler: in place of the default.
    """

    needs = LinearOperator

    def __init__(self, steps: int = 100, model: Tractable | None = None, sampler: Sampler | None = None):
        super().__init__(steps, sampler, vjps_per_call=0)
        self.model = model
        self._conditioned: WeakKeyDictionary[Measurement, _Conditioned] = WeakKeyDictionary()

    def likelihood_score(self, at: Tangent, measurement: Measurement) -> Batch:
        if measurement not in self._conditioned:
            self._conditioned[measurement] = self._condition(measurement, at.schedule)
        model, of_rows = self._conditioned[measurement]
        x, mean = at.x_t.detach().double(), at.mean.detach().double()
        prior = model(x, at.t)
        steered = torch.empty_like(mean)
        for rows, posterior in of_rows:
            given_y = posterior(x[rows], at.t if at.t.ndim == 0 else at.t[rows])
            if given_y.variance is None or prior.variance is None:
                raise UserError(
                    f"{type(model).__name__} says no variance of x_0 given x_t, by which it is weighed; a model for "
                    f"tractable_steering returns Posterior(mean, variance)"
                )
            left = given_y.variance / prior.variance[rows].clamp_min(torch.finfo(x.dtype).tiny)
            steered[rows] = given_y.mean + left * (mean[rows] - prior.mean[rows])
        return expand(at.alpha / at.sigma**2, mean) * (steered - mean)

    def _condition(self, measurement: Measurement, schedule: Schedule) -> _Conditioned:
        """M for the noise of x_t, and its posterior for each y with the rows of the batch that have it."""
        shape, device = measurement.operator.x_shape, measurement.y.device
        model = copy.copy(self.model or GaussianDenoiser(torch.zeros(shape), torch.tensor(1.0), schedule).to(device))
        model.schedule = schedule
        if not measurement.batched:
            return model, [(slice(None), model.posterior(measurement))]
        each, which = torch.unique(measurement.y, dim=0, return_inverse=True)
        of_rows: list[tuple[Tensor | slice, Tractable]] = []
        for number, y in enumerate(each):
            one = Measurement(y, measurement.operator, measurement.noise)
            of_rows.append(((which == number).nonzero()[:, 0], model.posterior(one)))
        return model, of_rows

"""Models that can be conditioned exactly: mixtures (`analytic`), and chains of hidden states."""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, Posterior
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.inpainting import Inpainting
from diffusion_lit.noise import Schedule

__all__ = ["HiddenMarkovDenoiser", "Tractable"]


@runtime_checkable
class Tractable(Protocol):
    """A law of x_0 with exact moments given x_t, also once it has seen y."""

    schedule: Schedule

    def __call__(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior: ...

    def posterior(self, measurement: Any) -> "Tractable":
        """Return the law given one y."""
        ...


class HiddenMarkovDenoiser(Denoiser):
    """The exact denoiser of a hidden Markov chain: z_1 .. z_L in K states, and x_i ~ N(m_k, v_k) where z_i = k.

    Moments by forward and backward messages (Rabiner 1989, section III), whose evidence at a site is x_t's:
    N(x_t,i; alpha m_k, alpha^2 v_k + sigma^2).

    Args:
        initial: (K,) of z_1; normalised here.
        transition: (K, K), p(z_i+1 = column | z_i = row); rows are normalised here.
        means: (K,), or (L, K) if each site has its own.
        variances: > 0, like means.
        event: shape of x_0, whose L entries are the chain in their order.
        schedule: the noise.
        log_site: (L, K) further evidence for each state at each site; none unless given.

    Raises:
        UserError: the shapes do not fit, a probability is negative, or a variance is not above 0.
    """

    initial: Tensor
    transition: Tensor
    means: Tensor
    variances: Tensor
    log_site: Tensor

    def __init__(
        self,
        initial: Float[Tensor, "..."],
        transition: Float[Tensor, "..."],
        means: Float[Tensor, "..."],
        variances: Float[Tensor, "..."],
        event: tuple[int, ...],
        schedule: Schedule,
        log_site: Float[Tensor, "..."] | None = None,
    ):
        super().__init__(schedule)
        count, sites = len(initial), torch.Size(event).numel()
        shapes = {(count,), (sites, count)}
        if transition.shape != (count, count) or means.shape not in shapes or variances.shape not in shapes:
            raise UserError(
                f"initial {tuple(initial.shape)}, transition {tuple(transition.shape)}, means {tuple(means.shape)}, "
                f"variances {tuple(variances.shape)}: expected (K,), (K, K) and twice (K,) or (L, K), L = {sites}"
            )
        if bool((initial < 0).any() | (transition < 0).any()) or not bool((variances > 0).all()):
            raise UserError("hidden Markov chain: probabilities are at least 0, variances above 0")
        self.event = tuple(event)
        self.register_buffer("initial", initial.double() / initial.double().sum())
        self.register_buffer("transition", transition.double() / transition.double().sum(1, keepdim=True))
        self.register_buffer("means", means.double().expand(sites, count).clone())
        self.register_buffer("variances", variances.double().expand(sites, count).clone())
        self.register_buffer("log_site", torch.zeros_like(self.means) if log_site is None else log_site.double())

    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        alpha, sigma = (c.reshape(-1, 1, 1) for c in self.schedule(t.double().to(x_t.device)))
        x = x_t.double().flatten(1)[..., None]
        total = alpha**2 * self.variances + sigma**2
        apart = x - alpha * self.means
        share = self._states(self.log_site - (apart**2 / total + total.log()) / 2)
        means = self.means + alpha * self.variances / total * apart
        mean = (share * means).sum(-1)
        within = self.variances * sigma**2 / total
        variance = (share * (within + (means - mean[..., None]) ** 2)).sum(-1)
        return Posterior(mean.reshape(x_t.shape).to(x_t.dtype), variance.reshape(x_t.shape).to(x_t.dtype))

    def _states(self, evidence: Float[Tensor, "batch sites states"]) -> Float[Tensor, "batch sites states"]:
        """p(z_i = k | all evidence), from its logarithms."""
        scaled = evidence.softmax(-1)  # a factor of a site cancels
        message, before = self.initial.expand_as(scaled[:, 0]), []
        for site in scaled.unbind(1):
            before.append(message)
            message = message * site
            message = message / message.sum(-1, keepdim=True) @ self.transition
        message, after = torch.ones_like(message), []
        for site in scaled.flip(1).unbind(1):
            after.append(message)
            message = (message * site) @ self.transition.mT
            message = message / message.sum(-1, keepdim=True)
        share = torch.stack(before, 1) * torch.stack(after, 1).flip(1) * scaled
        return share / share.sum(-1, keepdim=True)

    def posterior(self, measurement: Measurement) -> "HiddenMarkovDenoiser":
        """The chain given y, of which some entries of x_0 are seen with independent Gaussian noise: a chain again.

        Raises:
            UserError: the operator mixes entries, y is batched, or the noise is correlated, where the chain breaks.
        """
        if not isinstance(measurement.operator, Inpainting) or measurement.batched:
            raise UserError(
                f"hidden Markov chain: conditioned on one y whose entries are entries of x (an inpainting operator), "
                f"not on {measurement.operator.name} {'of many y' if measurement.batched else ''}; use a mixture"
            )
        covariance = measurement.noise.covariance(measurement.operator.y_size).to(self.means)
        noise = covariance.diagonal()
        if not torch.equal(covariance, noise.diag()):
            raise UserError("hidden Markov chain: the noise is correlated, which ties sites together; use a mixture")
        seen = measurement.operator.observed.flatten().to(self.means.device)
        y, noise = measurement.values.to(self.means)[:, None], noise[:, None]
        means, variances, log_site = self.means.clone(), self.variances.clone(), self.log_site.clone()
        m, v = means[seen], variances[seen]
        log_site[seen] -= ((y - m) ** 2 / (v + noise) + (v + noise).log()) / 2
        means[seen], variances[seen] = m + v / (v + noise) * (y - m), v * noise / (v + noise)
        return HiddenMarkovDenoiser(
            self.initial, self.transition, means, variances, self.event, self.schedule, log_site
        )

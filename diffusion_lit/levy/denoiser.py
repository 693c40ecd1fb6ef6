"""The exact denoiser of the jumps."""

from jaxtyping import Float
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, Posterior
from diffusion_lit.levy.signals import ScaleMixture
from diffusion_lit.noise import Schedule

__all__ = ["JumpDenoiser"]


class JumpDenoiser(Denoiser):
    """The exact denoiser of independent numbers of one law.

    Args:
        law: of each number.
        size: how many.
        schedule: the noise.
    """

    weights: Tensor
    variances: Tensor

    def __init__(self, law: ScaleMixture, size: int, schedule: Schedule):
        super().__init__(schedule)
        self.size = size
        self.register_buffer("weights", law.weights)
        self.register_buffer("variances", law.variances)

    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        alpha, sigma = (c.reshape(-1, 1, 1) for c in self.schedule(t.double().to(x_t.device)))
        total = alpha**2 * self.variances + sigma**2  # (B or 1, 1, K), of x_t
        x = x_t.double()[..., None]
        share = (self.weights.log() - total.log() / 2 - x.square() / (2 * total)).softmax(-1)
        gain = alpha * self.variances / total
        factor = (share * gain).sum(-1)
        mean = factor * x_t.double()
        within = (share * gain).sum(-1) * sigma[..., 0] ** 2 / alpha[..., 0]
        between = ((share * gain.square()).sum(-1) - factor.square()) * x_t.double().square()
        return Posterior(mean.to(x_t.dtype), (within + between).to(x_t.dtype))

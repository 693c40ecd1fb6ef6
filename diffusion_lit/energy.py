"""Denoisers made of an energy: a scalar network whose gradient is the score (Song & Ermon 2019, section 2; EBM)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from diffusion_lit.denoise import EPS, Batch, Denoiser, Posterior, Preconditioning, cloned, expand
from diffusion_lit.noise import Schedule

__all__ = ["EnergyDenoiser"]


class EnergyDenoiser(Denoiser):
    """log p_t(x_t) = -E(c_in x_t, c_noise, **condition) + const(t): an energy network made a denoiser.

    The score is -grad E by automatic differentiation, and D = (x_t + sigma_t^2 score) / alpha_t. It is a true gradient,
    so that Metropolis steps, which compare densities, are valid. It works under `torch.no_grad` too; where gradients
    are enabled it can be trained on and differentiated again.

    Args:
        network: E(x (B, *), c_noise (B,), **condition) -> (B,) or (B, 1).
        schedule: the noise it is trained for.
        scaling: whose c_in and c_noise are shown to the network; x_t of unit variance for unit data unless told.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, scaling: Preconditioning = EPS):
        super().__init__(schedule)
        self.network, self.scaling = network, scaling

    def log_density(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Float[Tensor, " batch"]:
        """log p_t(x_t) (B,), up to a constant of t, at times t () or (B,)."""
        alpha, sigma = self.schedule(t.double().to(x_t.device))
        noise_level = self.scaling.c_noise(alpha, sigma).to(x_t.dtype).expand(len(x_t))
        energy = self.network(expand(self.scaling.c_in(alpha, sigma), x_t) * x_t, noise_level, **condition)
        return -energy.reshape(len(x_t), -1).sum(1)

    def score(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Batch:
        """grad log p_t(x_t)."""
        kept = torch.is_grad_enabled()
        # in Lightning's inference mode no gradient can be taken, and its tensors cannot be saved for one; and fast
        # attention has no second derivative
        with torch.inference_mode(False), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            x = x_t if kept and x_t.requires_grad else x_t.detach().clone().requires_grad_()
            log_density = self.log_density(x, t.clone(), **cloned(condition))
            (score,) = torch.autograd.grad(log_density.sum(), x, create_graph=kept)
        return score

    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        alpha, sigma = self.schedule(t.double().to(x_t.device))
        # c_skip = 1 / alpha, c_out = -sigma / alpha of eps = -sigma score
        return Posterior(EPS.mean(-expand(sigma, x_t) * self.score(x_t, t, **condition), x_t, alpha, sigma))

    def eps(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Batch:
        """E[eps | x_t], the noise in x_t."""
        _, sigma = self.schedule(t)
        return -expand(sigma, x_t) * self.score(x_t, t, **condition)

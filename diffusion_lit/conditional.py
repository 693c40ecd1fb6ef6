"""Steering by a condition c: grad log p(x_t | c) = grad log p(x_t) + grad log p(c | x_t), in two ways.

In means, a score is worth sigma_t^2 / alpha_t: D_c = D + (sigma_t^2 / alpha_t) grad log p(c | x_t).
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, Posterior, expand

__all__ = ["ClassifierFree", "ClassifierGuided"]


class ClassifierGuided(Denoiser):
    """D + scale (sigma_t^2 / alpha_t) grad_x log p(c | x_t) (Dhariwal & Nichol 2021, section 4.1).

    With scale 1 and the exact classifier it is the exact denoiser of p(x_0 | c).

    Args:
        denoiser: D, of all classes together.
        log_likelihood: (x_t (B, *), t () or (B,), **condition) -> log p(c | x_t) (B,), of noisy data; differentiable.
        scale: 1 samples from p(x | c); larger, from about p(x) p(c | x)^scale.
    """

    def __init__(self, denoiser: Denoiser, log_likelihood: Callable[..., Tensor], scale: float = 1.0):
        super().__init__(denoiser.schedule)
        self.denoiser, self.log_likelihood, self.scale = denoiser, log_likelihood, scale

    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        with torch.inference_mode(False), torch.enable_grad():
            x = x_t.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self.log_likelihood(x, t, **condition).sum(), x)
        alpha, sigma = (expand(c, x_t) for c in self.schedule(t))
        return Posterior(self.denoiser(x_t, t).mean + self.scale * sigma**2 / alpha * gradient)

    @property
    def reference(self) -> Tensor:
        return self.denoiser.reference


class ClassifierFree(Denoiser):
    """D(x_t | c) + w (D(x_t | c) - D(x_t)) (Ho & Salimans 2022, eq. 6, where eps stands for D).

    By Bayes' rule the difference is the classifier's gradient, so this is classifier guidance of scale 1 + w from the
    model itself: w = 0 is the conditional model, w = -1 the unconditional one. Two calls of the network a call.

    Args:
        denoiser: D(x_t, t, **condition), trained with `objectives.ConditionDropout`.
        w: strength of the guidance.
        blank: the condition that says "none", such as {"label": 10} for a network of ten classes; each value is given
            to all samples.
    """

    def __init__(self, denoiser: Denoiser, w: float, blank: Mapping[str, Any]):
        super().__init__(denoiser.schedule)
        self.denoiser, self.w, self.blank = denoiser, w, blank

    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        none = {key: torch.full_like(condition[key], value) for key, value in self.blank.items()}
        with_it, without = self.denoiser(x_t, t, **condition).mean, self.denoiser(x_t, t, **condition | none).mean
        return Posterior(with_it + self.w * (with_it - without))

    @property
    def reference(self) -> Tensor:
        return self.denoiser.reference

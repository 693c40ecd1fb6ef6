"""Guidance made exact by a Metropolis test on whole paths; no sample knows of another."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.guidance import MMPS, Guidance
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.posterior.paths import GuidedChain
from diffusion_lit.randomness import Randomness, beside

__all__ = ["PathMetropolis"]


class PathMetropolis(Method):
    """Independent Metropolis-Hastings: propose a path of the guided chain, accept it with min(1, w' / w).

    The particle independent Metropolis-Hastings sampler of Andrieu et al. (2010, section 2.4.1) with one particle. Its
    law tends to the posterior of the prior's chain like (1 - 1 / max w)^proposals, w of mean 1; its first path is a
    sample of the guidance itself. w is that of the noise itself, Gaussian or not.

    Args:
        steps: of the default guidance, MMPS.
        proposals: paths a sample, of which all but the first are tested.
        guidance: in place of the default.

    Raises:
        UserError: fewer than one proposal.
    """

    needs = LinearOperator

    def __init__(self, steps: int = 100, proposals: int = 8, guidance: Guidance | None = None):
        if proposals < 1:
            raise UserError(f"proposals: {proposals} < 1; one path is the guidance itself, more are tested")
        self.chain, self.proposals = GuidedChain(guidance or MMPS(steps)), proposals

    @property
    def nfe(self) -> int:
        return self.proposals * self.chain.nfe

    @property
    def vjps(self) -> int:
        return self.proposals * self.chain.vjps

    def draw(
        self, denoiser: Denoiser, measurement: Measurement, ids: Int64[Tensor, "batch *names"], seed: int, **condition
    ) -> Float[Tensor, "batch *x_shape"]:
        device = denoiser.reference.device
        test = Randomness(seed, beside(ids, -1), device)
        x, log_w = None, None
        for number in range(self.proposals):
            noise = Randomness(seed, beside(ids, number), device)
            path, log_of_path = self.chain(denoiser, measurement, noise, **condition)
            if x is None or log_w is None:
                x, log_w = path, log_of_path
                continue
            accepted = test.uniform().log() < log_of_path - log_w
            x = torch.where(accepted.reshape(-1, *[1] * (x.ndim - 1)), path, x)
            log_w = torch.where(accepted, log_of_path, log_w)
        assert x is not None
        return x

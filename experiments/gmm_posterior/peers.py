"""Other libraries' methods on the same problems with the same denoiser: (problem, steps, n, seed) -> samples (n, d).

azula >= 0.11 and deepinv >= 0.5, the extra `[peers]`; their defaults, but MMPS with as many iterations as the system
has unknowns, DPS with a norm of each sample, as its paper has it, and azula's samplers started at the data's mean and
variance, as its `init` offers.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor


def _azula(problem: Any) -> Any:
    """Our denoiser with azula's interface; t -> (alpha, sigma) is the same schedule."""
    from azula.denoise import Denoiser, DiracPosterior

    class Wrapped(Denoiser):
        @property
        def schedule(self) -> Any:
            return problem.denoiser.schedule

        def forward(self, x_t: Tensor, t: Tensor, **condition) -> DiracPosterior:
            return DiracPosterior(problem.denoiser(x_t, t).mean)

    return Wrapped()


def _start(sampler: Any, problem: Any, n: int, seed: int) -> Tensor:
    torch.manual_seed(seed)
    prior = problem.denoiser
    mean = prior.weights @ prior.means
    variance = prior.weights @ ((prior.means - mean).square() + prior.eigenvalues)
    return sampler(sampler.init((n, len(mean)), mean=mean, var=variance))


def azula_mmps(problem: Any, steps: int, n: int, seed: int) -> Tensor:
    from azula.guidance.mmps import MMPSDenoiser
    from azula.linalg.covariance import IsotropicCovariance
    from azula.sample import DDPMSampler

    noise = IsotropicCovariance(torch.tensor(problem.sigma**2, dtype=torch.float64))
    guided = MMPSDenoiser(_azula(problem), problem.y, problem.apply, noise, iterations=len(problem.y))
    return _start(DDPMSampler(guided, steps=steps, silent=True, dtype=torch.float64), problem, n, seed)


def azula_dps(problem: Any, steps: int, n: int, seed: int, zeta: float) -> Tensor:
    from azula.guidance.dps import DPSSampler

    class PerSample(DPSSampler):
        """Its step, with the gradient of the sum of the samples' norms in place of that of the batch's norm."""

        def step(self, x_t: Tensor, t: Tensor, s: Tensor, **condition) -> Tensor:
            (alpha_s, sigma_s), (alpha_t, sigma_t) = self.denoiser.schedule(s), self.denoiser.schedule(t)
            tau = 1 - (alpha_t / alpha_s * sigma_s / sigma_t) ** 2
            with torch.enable_grad():
                x_t = x_t.detach().requires_grad_()
                x_hat = self.denoiser(x_t, t).mean
                norms = torch.linalg.vector_norm(self.y - self.A(x_hat), dim=-1).sum()
            gradient = torch.autograd.grad(norms, x_t)[0]
            with torch.no_grad():
                x_s = alpha_s * x_hat + sigma_s * torch.sqrt(1 - tau) / sigma_t * (x_t - alpha_t * x_hat)
                return x_s + sigma_s * torch.sqrt(tau) * torch.randn_like(x_t) - self.zeta * gradient

    sampler = PerSample(_azula(problem), problem.y, problem.apply, zeta, steps=steps, silent=True, dtype=torch.float64)
    return _start(sampler, problem, n, seed)


def azula_tds(problem: Any, steps: int, n: int, seed: int) -> Tensor:
    from azula.guidance.tds import TDSSampler

    row = problem.matrix.square().sum(1)  # diag(A A^T)

    def twist(x_hat: Tensor, ratio: Tensor) -> Tensor:
        variance = problem.sigma**2 + ratio**2 * row
        return -((problem.y - problem.apply(x_hat)) ** 2 / variance + variance.log()) / 2

    return _start(TDSSampler(_azula(problem), twist, steps=steps, silent=True, dtype=torch.float64), problem, n, seed)


def deepinv_pigdm(problem: Any, steps: int, n: int, seed: int) -> Tensor:
    import deepinv

    class Wrapped(torch.nn.Module):
        """D(x / scale, sigma / scale): the time of the schedule that has this ratio."""

        def forward(self, x: Tensor, sigma: Tensor, *args: Any, **more: Any) -> Tensor:
            ratio = sigma.double().flatten()
            t = problem.denoiser.schedule.time(-2 * ratio.log())
            alpha = problem.denoiser.schedule(t)[0].reshape(-1, *[1] * (x.ndim - 1))
            flat = (alpha * x.double()).flatten(1)
            return problem.denoiser(flat, t).mean.reshape(x.shape).to(x)

    matrix = problem.matrix.float()
    physics = deepinv.physics.LinearPhysics(
        A=lambda x, **_: x.flatten(1) @ matrix.to(x).mT,
        A_adjoint=lambda y, **_: (y @ matrix.to(y)).reshape(len(y), 1, 1, -1),
        noise_model=deepinv.physics.GaussianNoise(problem.sigma),
    )
    denoiser = Wrapped()
    model = deepinv.sampling.PosteriorDiffusion(
        data_fidelity=deepinv.sampling.PiGDMDataFidelity(denoiser, cg_max_iter=len(problem.y)),
        denoiser=denoiser,
        sde=deepinv.sampling.VariancePreservingDiffusion(alpha=1.0),
        solver=deepinv.sampling.DDPMSolver(timesteps=torch.linspace(1, 1e-3, steps + 1)),
        minus_one_one=False,
    )
    y = problem.y.float().expand(n, -1)
    torch.manual_seed(seed)
    with torch.no_grad():
        return model(y, physics, x_init=(n, 1, 1, problem.matrix.shape[1])).flatten(1).double()


peers = {
    "azula mmps": azula_mmps,
    "azula dps .5": partial(azula_dps, zeta=0.5),
    "azula tds": azula_tds,
    "deepinv pigdm": deepinv_pigdm,
}

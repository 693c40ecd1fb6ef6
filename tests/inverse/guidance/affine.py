"""The law of what a guidance draws on Gaussian data: with an affine D_y every step of DDPM and DDIM is affine."""

from itertools import pairwise

import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.denoise import Posterior
from diffusion_lit.inverse import Guidance, Measurement
from diffusion_lit.samplers import DDPM
from diffusion_lit.samplers.ancestral import renoise
from tests.inverse.problems import gaussian_problem, whitened_law


def law(method: Guidance, denoiser: GaussianDenoiser, measurement: Measurement) -> tuple[Tensor, Tensor]:
    """Return mean (d,) and covariance (d, d) of the samples, without drawing any; the sampler is a DDPM."""
    sampler, schedule, guided = method.sampler, denoiser.schedule, method.guide(denoiser, measurement)
    assert isinstance(sampler, DDPM)
    size = measurement.operator.x_shape[0]
    corners = torch.cat((torch.zeros(1, size), torch.eye(size))).double()
    times = sampler.grid(schedule, sampler.steps)
    mean, covariance = torch.zeros(size).double(), torch.eye(size).double() * schedule(times[0])[1] ** 2
    for t, s in pairwise(times):
        d_y = guided(corners, t).mean
        x_s, _ = renoise(schedule, d_y, corners, t, s, eta=1.0)
        matrix = (x_s[1:] - x_s[0]).mT
        variance = sampler.variance(schedule, Posterior(d_y), t, s) if s > 0 else torch.zeros(())
        mean = x_s[0] + matrix @ mean
        covariance = matrix @ covariance @ matrix.mT + variance * torch.eye(size)
    return mean, covariance


def error(method: Guidance, seeds: tuple[int, ...] = (1, 2, 3, 4)) -> tuple[float, float]:
    """|bias| and W2 of that law to the exact posterior, whitened by it; the mean over `gaussian_problem`s."""
    measured = []
    for seed in seeds:
        denoiser, measurement = gaussian_problem(seed)
        measured.append(whitened_law(*law(method, denoiser, measurement), denoiser.posterior(measurement)))
    bias, distance = torch.tensor(measured).mean(0).tolist()
    return bias, distance

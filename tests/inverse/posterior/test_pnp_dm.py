"""PnP-DM: the law it keeps at a fixed eta, and the posterior as eta comes down."""

import pytest
import torch

from diffusion_lit.cost import counted
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import CorrelatedNoise, Measurement
from diffusion_lit.inverse.posterior import PnPDM
from diffusion_lit.noise import EDM
from diffusion_lit.samplers import DDPM
from tests.inverse.posterior.test_ddrm import half_seen
from tests.inverse.problems import gaussian_problem, whitened


def test_a_fixed_eta_trusts_y_less() -> None:
    """The samples are of the posterior for noise Sigma_y + eta^2 A A^T, to the length of the chain's steps."""
    denoiser, measurement = gaussian_problem(1)
    a = measurement.linear.matrix()
    wider = CorrelatedNoise(0.3**2 * torch.eye(2, dtype=torch.float64) + a @ a.mT)
    kept = denoiser.posterior(Measurement(measurement.y, measurement.operator, wider))
    x = PnPDM(8, 1.0, 1.0, DDPM(30, v=0.5))(denoiser, measurement, samples=2000, seed=7)
    assert whitened(x, kept)[1] < 0.15
    assert whitened(x, denoiser.posterior(measurement))[1] > 1


def test_the_lag_behind_eta_falls_with_the_levels() -> None:
    """x lags behind its law as eta comes down, by a bias that falls with the levels: 1.2 and 0.35 at 5 and 40."""
    denoiser, measurement = gaussian_problem(1)
    posterior, short = denoiser.posterior(measurement), DDPM(4, v=0.5)
    few, many = (
        whitened(PnPDM(steps, sampler=short)(denoiser, measurement, samples=500, seed=7), posterior)[0]
        for steps in (5, 40)
    )
    assert many < 0.5 * few  # the standard error of each is 0.1


def test_cost() -> None:
    denoiser, measurement = gaussian_problem(1)
    method = PnPDM(3, sampler=DDPM(4))
    with counted(denoiser) as cost:
        method(denoiser, measurement, samples=2)
    assert cost.forwards == method.nfe == 12


def test_bad_input() -> None:
    with pytest.raises(UserError, match=r"eta_min 2\.0, eta_max 1\.0"):
        PnPDM(eta_min=2.0, eta_max=1.0)
    denoiser, measurement = half_seen(0.6, 0.2, EDM(sigma_min=0.2))
    with pytest.raises(UserError, match=r"eta_min: 0\.02 is not above the least noise of EDM, 0\.2; raise it"):
        PnPDM(4)(denoiser, measurement)

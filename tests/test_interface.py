"""The interface that stays put: what others build upon. A change here breaks them, and needs a major version."""

import inspect

import torch
from torch import nn

from diffusion_lit.analytic import EmpiricalDenoiser, GaussianDenoiser, GaussianMixtureDenoiser
from diffusion_lit.denoise import Denoiser, NetworkDenoiser, Posterior, Preconditioning
from diffusion_lit.inverse import GaussianNoise, LinearOperator, Measurement, methods
from diffusion_lit.noise import EDM, VE, VP, Cosine, DiscreteVP, Rectified, SubVP
from diffusion_lit.samplers import DDIM, DDPM, DPMSolverPP, Euler, Heun

f64 = torch.float64


def parameters(function: object) -> list[str]:
    """Its parameters as written: "name", "name=default", "*" before those by name only, "**rest"."""
    signature = inspect.signature(function)  # type: ignore[arg-type]
    written, by_name = [], False
    for p in signature.parameters.values():
        if p.kind is p.KEYWORD_ONLY and not by_name:
            by_name = True
            written.append("*")
        prefix = "**" if p.kind is p.VAR_KEYWORD else ""
        written.append(prefix + p.name + ("" if p.default is p.empty else f"={p.default}"))
    return [name for name in written if name != "self"]


def mixture() -> GaussianMixtureDenoiser:
    return GaussianMixtureDenoiser(torch.ones(2), torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]]), torch.ones(2), VP())


def test_schedules():
    t = torch.tensor([0.0, 0.5, 1.0])
    for schedule in (VP(), SubVP(), Cosine(), VE(), EDM(), Rectified(), DiscreteVP(torch.full((10,), 0.1))):
        alpha, sigma = schedule(t)
        assert alpha.shape == sigma.shape == t.shape
        assert alpha.dtype == sigma.dtype == t.dtype
        for derived in (schedule.drift, schedule.diffusion_squared, schedule.log_snr):
            assert derived(t[1:]).shape == (2,)
        assert schedule.time(schedule.log_snr(t[1:])).shape == (2,)
        assert schedule.betas(10).shape == (10,)


def test_denoisers():
    assert parameters(Denoiser.forward) == ["x_t", "t", "**condition"]
    assert parameters(Denoiser.score) == parameters(Denoiser.eps) == ["x_t", "t", "**condition"]
    assert Posterior._fields == ("mean", "variance")
    assert Posterior(torch.zeros(1)).variance is None
    assert parameters(NetworkDenoiser) == ["network", "schedule", "preconditioning=None", "variance=None"]
    *required, optional = parameters(Preconditioning)
    assert required == ["c_skip", "c_out", "c_in"]
    assert optional.startswith("c_noise=")
    x_t = torch.zeros(5, 3)
    network = NetworkDenoiser(nn.Identity(), VP())
    network.network.forward = lambda x, noise_level: x  # type: ignore[method-assign]
    for denoiser in (network, mixture()):
        assert isinstance(denoiser, Denoiser)
        assert isinstance(denoiser, nn.Module)
        assert isinstance(denoiser.schedule, VP)
        for t in (torch.tensor(0.5), torch.full((5,), 0.5)):
            assert denoiser(x_t, t).mean.shape == x_t.shape
            assert denoiser.score(x_t, t).shape == denoiser.eps(x_t, t).shape == x_t.shape


def test_exact_denoisers():
    assert parameters(GaussianMixtureDenoiser) == ["weights", "means", "covariances", "schedule"]
    assert parameters(GaussianDenoiser) == ["mean", "covariance", "schedule"]
    assert parameters(EmpiricalDenoiser) == ["data", "schedule"]
    prior = mixture()
    x = prior.sample(4, 0)
    assert x.shape == prior.sample(n=4, seed=0).shape == (4, 3)
    assert prior.log_prob(x).shape == (4,)
    full = GaussianMixtureDenoiser(torch.ones(2), prior.means, torch.eye(3).expand(2, 3, 3), VP())
    for p in (prior, full):
        posterior = p.posterior(measurement())
        assert isinstance(posterior, GaussianMixtureDenoiser)
        assert posterior.sample(4, 0).shape == (4, 3)
        assert posterior.log_prob(x).shape == (4,)


def test_samplers():
    for sampler in (DDPM, DDIM, Euler, Heun, DPMSolverPP):
        assert parameters(sampler)[0].startswith("steps=")
        assert parameters(sampler)[-1] == "grid=None"
        assert parameters(sampler.__call__) == ["denoiser", "shape", "*", "seed", "ids=None", "**condition"]
        made = sampler(steps=3)
        assert isinstance(made.nfe, int)
        ids = torch.tensor([7, 8])
        assert made(mixture(), (2, 3), seed=0).shape == made(mixture(), (2, 3), seed=0, ids=ids).shape == (2, 3)


def measurement(y: torch.Tensor | None = None) -> Measurement:
    operator = LinearOperator.from_matrix(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], dtype=f64))
    return Measurement(torch.zeros(2, dtype=f64) if y is None else y, operator, GaussianNoise(0.5))


def test_measurements():
    assert parameters(Measurement) == ["y", "operator", "noise"]
    assert parameters(GaussianNoise) == ["sigma"]
    assert isinstance(measurement().operator, LinearOperator)
    assert measurement().operator(torch.zeros(5, 3)).shape == (5, 2)
    assert measurement().log_likelihood(torch.zeros(5, 3, dtype=f64)).shape == (5,)


def test_posterior_methods():
    assert {"dps", "mmps", "pigdm", "repaint", "replacement"} <= methods.keys()
    for name, make in methods.items():
        call = parameters(make.__call__)
        assert call == ["denoiser", "measurement", "*", "samples=1", "seed=0", "ids=None", "**condition"], name
        assert "steps" in inspect.signature(make).parameters, name
    method = methods["mmps"](steps=2)
    assert isinstance(method.nfe, int)
    assert isinstance(method.vjps, int)
    assert method(mixture(), measurement(), samples=4, seed=0, ids=torch.arange(4)).shape == (4, 3)
    batch = measurement(torch.zeros(3, 2, dtype=f64))
    assert method(mixture(), batch, samples=4, seed=0).shape == (3, 4, 3)


def test_load_is_one_call():
    import diffusion_lit

    assert "load" in diffusion_lit.__all__
    signature = inspect.signature(diffusion_lit.load)
    assert list(signature.parameters) == ["path", "ema"]
    assert signature.parameters["ema"].default is None

"""Energies: of a Gaussian the exact one is a square; every objective trains one."""

import pytest
import torch
from torch import Tensor, nn

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.divergence import Hutchinson
from diffusion_lit.energy import EnergyDenoiser
from diffusion_lit.networks.mlp import MLP
from diffusion_lit.networks.rbm import GaussianBernoulliRBM
from diffusion_lit.networks.reconstruction import Reconstruction
from diffusion_lit.networks.unet import UNet
from diffusion_lit.noise import VE, VP
from diffusion_lit.objectives import (
    Continuous,
    DenoisingScoreMatching,
    DiscreteTime,
    EpsWeighting,
    ImplicitScoreMatching,
    SlicedScoreMatching,
    UniformTime,
    Variational,
)
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers import DDIM

PRECISION = torch.tensor([[1.5, 0.4], [0.4, 0.8]], dtype=torch.float64)
MEAN = torch.tensor([0.5, -1.0], dtype=torch.float64)
T = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)


class Quadratic(nn.Module):
    """The energy of N(m, C) in the noise of VP, whose level is told by log(sigma / alpha) / 4."""

    def __init__(self) -> None:
        super().__init__()
        self.covariance = nn.Parameter(PRECISION.inverse())

    def forward(self, x: Tensor, noise_level: Tensor) -> Tensor:
        ratio = (8 * noise_level).exp()
        alpha2 = (1 / (1 + ratio))[:, None]
        covariance = alpha2[..., None] * self.covariance + (1 - alpha2)[..., None] * torch.eye(2, dtype=x.dtype)
        centred = x - alpha2.sqrt() * MEAN.to(x)
        return (centred * torch.linalg.solve(covariance, centred)).sum(1) / 2


EXACT = GaussianDenoiser(MEAN, PRECISION.inverse(), VP())
X = Randomness(0, torch.arange(3)).normal(2, dtype=torch.float64)


@pytest.mark.parametrize("grad", [True, False])
def test_a_quadratic_energy_is_the_gaussian(grad: bool) -> None:
    denoiser = EnergyDenoiser(Quadratic(), VP())
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(denoiser(X, T).mean, EXACT(X, T).mean)
        torch.testing.assert_close(denoiser.score(X, T), EXACT.score(X, T))
        torch.testing.assert_close(denoiser.eps(X, T), EXACT.eps(X, T))
    moved = denoiser.log_density(X, T) - denoiser.log_density(0 * X, T)
    torch.testing.assert_close(moved, EXACT.log_density(X, T) - EXACT.log_density(0 * X, T))
    assert denoiser.score(X, T).requires_grad
    one = torch.tensor(0.5, dtype=torch.float64)
    torch.testing.assert_close(denoiser(X, one).mean, EXACT(X, one).mean)


def test_the_gradient_reaches_x() -> None:
    denoiser, x = EnergyDenoiser(Quadratic(), VP()), X.clone().requires_grad_()
    found, expected = (torch.autograd.grad(d(x, T).mean.square().sum(), x)[0] for d in (denoiser, EXACT))
    torch.testing.assert_close(found, expected)


def test_it_samples_in_inference_mode() -> None:
    with torch.inference_mode():
        x = DDIM(10)(EnergyDenoiser(Quadratic(), VP()), (4, 2), seed=0)
    torch.testing.assert_close(x, DDIM(10)(EXACT, (4, 2), seed=0))


OBJECTIVES = {
    "dsm": DenoisingScoreMatching(EpsWeighting(), UniformTime(0.05)),
    "ism": ImplicitScoreMatching(times=UniformTime(0.05)),
    "ssm": SlicedScoreMatching(times=UniformTime(0.05)),
    "ssm-vr": ImplicitScoreMatching(Hutchinson(), times=UniformTime(0.05)),
    "ddpm": DenoisingScoreMatching(EpsWeighting(), DiscreteTime(20)),
    "vlb": Variational(20, decoder=Continuous()),
}
every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


@every_objective
def test_losses_are_those_of_the_exact_denoiser(objective) -> None:
    positions = torch.arange(8)
    x_0 = EXACT.sample(8, seed=1)
    losses = [objective(d, x_0, seed=0, positions=positions) for d in (EnergyDenoiser(Quadratic(), VP()), EXACT)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-7, atol=1e-9)


def awake(network: nn.Module) -> nn.Module:
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network


NETWORKS = {
    "scalar": lambda: MLP(2, width=16, depth=1, outputs=1),
    "reconstruction": lambda: Reconstruction(MLP(2, width=16, depth=1)),
    "rbm": lambda: GaussianBernoulliRBM(2, 4),
}


@every_objective
@pytest.mark.parametrize("name", NETWORKS)
def test_every_objective_trains_every_energy(name: str, objective) -> None:
    torch.manual_seed(0)
    denoiser = EnergyDenoiser(awake(NETWORKS[name]()), VP())
    loss = objective(denoiser, EXACT.sample(8, seed=1).float(), seed=0, positions=torch.arange(8))
    loss.mean().backward()
    gradients = [p.grad for p in denoiser.parameters() if p.grad is not None]
    assert all(bool(g.isfinite().all()) for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients) > 0


def test_images_have_energies_too() -> None:
    torch.manual_seed(0)
    network = awake(UNet(channels=1, size=(8, 8), width=8, multipliers=(1, 2), blocks=1, attention=(2,)))
    denoiser, x_0 = EnergyDenoiser(Reconstruction(network), VP()), torch.rand(2, 1, 8, 8)
    loss = OBJECTIVES["dsm"](denoiser, x_0, seed=0, positions=torch.arange(2))
    loss.mean().backward()
    assert all(bool(p.grad.isfinite().all()) for p in denoiser.parameters() if p.grad is not None)


def test_a_machine_in_little_noise_is_its_network() -> None:
    """Data all but as they are: the loss at the lowest level of VE is the closed form."""
    torch.manual_seed(0)
    rbm = awake(GaussianBernoulliRBM(2, 4)).double()
    schedule, t = VE(1e-5, 1.0), torch.tensor(1e-12, dtype=torch.float64)
    torch.testing.assert_close(EnergyDenoiser(rbm, schedule).score(X, t), rbm.score(X), rtol=1e-8, atol=1e-8)

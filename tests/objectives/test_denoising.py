import math

import pytest
import torch
from torch import Tensor, nn

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.denoise import EPS, X0, Denoiser, NetworkDenoiser, Posterior, Preconditioning, V, expand
from diffusion_lit.noise import EDM, VP, DiscreteVP, Schedule
from diffusion_lit.objectives import (
    DenoisingScoreMatching,
    EDMWeighting,
    EpsWeighting,
    UniformTime,
    VWeighting,
    X0Weighting,
)
from diffusion_lit.randomness import Randomness


class Zero(nn.Module):
    def forward(self, x: Tensor, noise_level: Tensor) -> Tensor:
        return torch.zeros_like(x)


def images(n: int, *event: int, deviation: float = 1.0) -> Tensor:
    return deviation * Randomness(99, torch.arange(n)).normal(*event, dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.5, 2.0, 50.0])
def test_a_network_of_zeros_has_loss_one_at_every_noise_level(sigma: float):
    """EDM's preconditioning and weighting on N(0, 1/4)."""
    denoiser, n = NetworkDenoiser(Zero(), EDM()), 2000
    t = EDM().time(torch.tensor(-2 * math.log(sigma), dtype=torch.float64)).expand(n)
    x_0 = images(n, 4, deviation=0.5)
    loss = DenoisingScoreMatching().loss_at(denoiser, x_0, t, seed=0, positions=torch.arange(n))
    assert abs(loss.mean().item() - 1) < 3 * loss.std().item() / math.sqrt(n)
    # of 4 dimensions, each a squared standard normal
    assert loss.std().item() == pytest.approx(math.sqrt(2 / 4), rel=0.15)


def eps_mmse(schedule: Schedule, deviation: float, t: Tensor) -> Tensor:
    """E |eps - E[eps | x_t]|^2 = alpha^2 / sigma^2 Var[x_0 | x_t], which on Gaussian data does not depend on x_t."""
    denoiser = GaussianDenoiser(torch.zeros(1), torch.tensor(deviation**2), schedule)
    variance = denoiser(torch.zeros(len(t), 1, dtype=torch.float64), t).variance[:, 0]
    return EpsWeighting()(schedule, t) * variance


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (DiscreteVP.linear(1000), {1.0: 0.275513, 0.5: 0.173053, 2.0: 0.395407}),
        (DiscreteVP.cosine(1000), {1.0: 0.495578, 0.5: 0.327654, 2.0: 0.663539}),
    ],
    ids=["linear", "cosine"],
)
def test_the_least_noise_error_of_a_thousand_steps(schedule: DiscreteVP, values: dict[float, float]):
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    for deviation, value in values.items():
        assert eps_mmse(schedule, deviation, t).mean().item() == pytest.approx(value, abs=6e-7)


def test_the_least_noise_error_of_continuous_vp():
    t = UniformTime(1e-5)((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000, VP())
    assert eps_mmse(VP(), 1.0, t).mean().item() == pytest.approx(0.275988, abs=2e-6)


@pytest.mark.parametrize("deviation", [0.5, 2.0])
def test_the_loss_of_the_exact_denoiser_is_the_least_error(deviation: float):
    n = 4000
    denoiser = GaussianDenoiser(torch.zeros(2), torch.tensor(deviation**2), DiscreteVP.linear(1000))
    objective = DenoisingScoreMatching(EpsWeighting(), UniformTime())
    loss = objective(denoiser, images(n, 2, deviation=deviation), seed=0, positions=torch.arange(n))
    expected = {0.5: 0.173053, 2.0: 0.395407}[deviation]
    assert abs(loss.mean().item() - expected) < 3 * loss.std().item() / math.sqrt(n)


class Guess(Denoiser):
    """Says zero, whatever it sees."""

    def forward(self, x_t: Tensor, t: Tensor, **condition) -> Posterior:
        return Posterior(torch.zeros_like(x_t))


WEIGHTINGS = {
    "x0": (X0Weighting(), X0),
    "eps": (EpsWeighting(), EPS),
    "v": (VWeighting(), V),
    "edm": (EDMWeighting(0.5), Preconditioning.edm(0.5)),
}


@pytest.mark.parametrize("name", WEIGHTINGS)
@pytest.mark.parametrize("schedule", [VP(), EDM()], ids=["vp", "edm"])
def test_a_weighting_makes_the_error_of_its_prediction(name: str, schedule: Schedule):
    weighting, form = WEIGHTINGS[name]
    x_0, t, positions = images(9, 1, 2, 3), torch.linspace(0.05, 1, 9, dtype=torch.float64), torch.arange(9)
    loss = DenoisingScoreMatching(weighting).loss_at(Guess(schedule), x_0, t, seed=3, positions=positions)
    alpha, sigma = schedule(t)
    x_t = expand(alpha, x_0) * x_0 + expand(sigma, x_0) * Randomness(3, positions).normal(1, 2, 3, dtype=x_0.dtype)
    predicted, target = (form.output(mean, x_t, alpha, sigma) for mean in (torch.zeros_like(x_0), x_0))
    torch.testing.assert_close(loss, (predicted - target).square().flatten(1).mean(1), rtol=1e-8, atol=0)


def test_a_loss_depends_on_seed_and_position_only():
    denoiser, x_0, positions = NetworkDenoiser(Zero(), EDM()), images(16, 3), torch.arange(100, 116)
    objective = DenoisingScoreMatching()
    whole = objective(denoiser, x_0, seed=7, positions=positions)
    assert whole.shape == (16,)
    for order in (torch.arange(16).flip(0), torch.arange(0, 16, 5)):
        part = objective(denoiser, x_0[order], seed=7, positions=positions[order])
        torch.testing.assert_close(part, whole[order], rtol=1e-10, atol=0)
    assert not torch.isclose(objective(denoiser, x_0, seed=8, positions=positions), whole).any()
    assert not torch.isclose(objective(denoiser, x_0, seed=7, positions=positions + 16), whole).any()


def test_the_loss_teaches():
    """Gradient descent on one gain finds the best one, E[x_0 x_t] / E[x_t^2]."""
    torch.manual_seed(0)
    gain = nn.Conv1d(1, 1, 1, bias=False).double()

    class Gain(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = gain

        def forward(self, x: Tensor, noise_level: Tensor) -> Tensor:
            return self.gain(x)

    n = 4000
    denoiser, t = NetworkDenoiser(Gain(), EDM(), X0), EDM().time(torch.zeros(n, dtype=torch.float64))
    x_0 = images(n, 1, 2)
    optimiser = torch.optim.SGD(gain.parameters(), lr=0.2)
    for _ in range(30):
        loss = DenoisingScoreMatching(X0Weighting()).loss_at(denoiser, x_0, t, seed=0, positions=torch.arange(n)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # sigma = 1 and unit data: D = x_t / 2, and the network sees x_t / sqrt(2)
    assert gain.weight.item() == pytest.approx(math.sqrt(2) / 2, abs=0.03)
    assert loss.item() == pytest.approx(0.5, abs=0.03)

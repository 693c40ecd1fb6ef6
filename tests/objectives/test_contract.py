"""What holds for every objective: one loss a sample, named by seed and position; trained, pickled, evaluated."""

import pickle

import pytest
import torch
from torch import nn

from diffusion_lit.denoise import EPS, Interpolated, NetworkDenoiser
from diffusion_lit.divergence import Hutchinson
from diffusion_lit.networks.mlp import MLP
from diffusion_lit.noise import VP
from diffusion_lit.objectives import (
    DenoisingScoreMatching,
    DiscreteTime,
    EpsWeighting,
    FixedTime,
    Hybrid,
    ImplicitScoreMatching,
    ImportanceWeighting,
    Ladder,
    LikelihoodWeighting,
    LogSNRUniform,
    LossSecondMoment,
    MinSNRWeighting,
    Objective,
    SlicedScoreMatching,
    Variational,
)
from diffusion_lit.randomness import Randomness

LOG_SNR = LogSNRUniform(0.01)
OBJECTIVES = {
    "edm": DenoisingScoreMatching(),
    "ddpm": DenoisingScoreMatching(EpsWeighting(), DiscreteTime(20)),
    "fixed": DenoisingScoreMatching(EpsWeighting(), FixedTime(0.3)),
    "ladder": DenoisingScoreMatching(EpsWeighting(), Ladder(5)),
    "likelihood": DenoisingScoreMatching(ImportanceWeighting(LikelihoodWeighting(), LOG_SNR), LOG_SNR),
    "min-snr": DenoisingScoreMatching(MinSNRWeighting(), LOG_SNR),
    "implicit": ImplicitScoreMatching(times=FixedTime(0.3)),
    "sliced": SlicedScoreMatching(times=FixedTime(0.3)),
    "sliced-vr": ImplicitScoreMatching(Hutchinson(), times=FixedTime(0.3)),
    "vlb": Variational(20),
    "vlb-second-moment": Variational(20, times=LossSecondMoment(20)),
    "hybrid": Hybrid(20),
}
every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)

X = Randomness(1, torch.arange(8)).normal(2).clamp(-1, 1)
LABEL = torch.arange(8) % 3
PLACES = {"seed": 0, "positions": torch.arange(8)}


def denoiser() -> NetworkDenoiser:
    torch.manual_seed(0)
    network = MLP(2, width=16, depth=1, outputs=4, classes=3)
    nn.init.normal_(network.head.weight, std=0.1)
    return NetworkDenoiser(network, VP(), EPS, Interpolated(20))


@every_objective
def test_a_loss_belongs_to_its_sample(objective: Objective):
    assert isinstance(objective, Objective)
    with torch.no_grad():
        whole = objective(denoiser(), X, **PLACES, label=LABEL)
        part = objective(denoiser(), X[2:5], seed=0, positions=torch.arange(2, 5), label=LABEL[2:5])
        other = objective(denoiser(), X, seed=1, positions=torch.arange(8), label=LABEL)
    assert whole.shape == (8,)
    torch.testing.assert_close(part, whole[2:5])
    assert not torch.isclose(other, whole).any()


@every_objective
def test_it_trains_and_is_pickled(objective: Objective):
    model = denoiser()
    again = pickle.loads(pickle.dumps(objective))
    loss = again(model, X, **PLACES, label=LABEL)
    loss.mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    assert any(bool(p.grad.any()) for p in model.parameters())
    with torch.no_grad():
        torch.testing.assert_close(loss.detach(), objective(denoiser(), X, **PLACES, label=LABEL))


@every_objective
def test_it_evaluates_in_inference_mode(objective: Objective):
    model = denoiser()
    with torch.inference_mode():
        loss = objective(model, X.clone(), seed=0, positions=torch.arange(8), label=LABEL.clone())
    with torch.no_grad():
        torch.testing.assert_close(loss, objective(denoiser(), X, **PLACES, label=LABEL))


@every_objective
def test_at_given_times_it_is_sample_by_sample_too(objective: Objective):
    t = torch.linspace(0.1, 0.8, 8, dtype=torch.float64).mul(20).round() / 20  # of a chain of 20
    with torch.no_grad():
        loss = objective.loss_at(denoiser(), X, t, **PLACES, label=LABEL)
        single = objective.loss_at(denoiser(), X[3:4], t[3:4], seed=0, positions=torch.tensor([3]), label=LABEL[3:4])
    torch.testing.assert_close(single, loss[3:4])

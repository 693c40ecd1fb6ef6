"""The law that follows the losses: what it draws, how it weighs, that it resumes and is shared."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.noise import VP, DiscreteVP
from diffusion_lit.objectives import Continuous, FixedVariance, LossSecondMoment, Variational
from diffusion_lit.randomness import Randomness

TIMES = torch.tensor([1, 2, 3, 4], dtype=torch.float64) / 4


def filled() -> LossSecondMoment:
    law = LossSecondMoment(steps=4, history=2, uniform=0.0)
    law.record(TIMES, torch.tensor([3.0, 1.0, 0.0, 2.0]))
    law.record(TIMES, torch.tensor([4.0, 1.0, 0.0, 2.0]))
    return law


def test_it_is_uniform_until_all_steps_have_their_losses():
    law = LossSecondMoment(steps=4, history=2)
    law.record(TIMES[:3].repeat(5), torch.rand(15))
    torch.testing.assert_close(law.probabilities, torch.full((4,), 0.25, dtype=torch.float64))


def test_chances_are_root_mean_squares_of_the_latest_losses():
    law = filled()
    expected = torch.tensor([12.5**0.5, 1, 0, 2], dtype=torch.float64)
    torch.testing.assert_close(law.probabilities, expected / expected.sum())
    law.record(TIMES[:1], torch.tensor([1.0]))  # takes the place of 3
    assert law.probabilities[0] / law.probabilities[1] == pytest.approx(8.5**0.5)
    law.uniform = 0.1
    assert law.probabilities[2] == pytest.approx(0.1 / 4)


def test_times_are_quantiles_and_weights_undo_the_chances():
    law, n = filled(), 10_000
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    t = law(u, VP())
    assert bool((t.diff() >= 0).all())
    shares = torch.stack([(t == time).double().mean() for time in TIMES])
    torch.testing.assert_close(shares, law.probabilities, rtol=0, atol=1 / n)
    # the mean of a function over equal chances, of those that are drawn at all
    value = (t**2 / law.density(t, VP())).mean().item()
    assert value == pytest.approx((TIMES[[0, 1, 3]] ** 2).sum().item() / 4, abs=1e-3)


class Held(nn.Module):
    def __init__(self, objective: nn.Module):
        super().__init__()
        self.objective = objective


def bound_of(steps: int) -> tuple[Variational, GaussianDenoiser]:
    denoiser = GaussianDenoiser(torch.zeros(1), torch.tensor(1.0), DiscreteVP.linear(steps, beta_max=0.2))
    law = LossSecondMoment(steps, history=3)
    return Variational(steps, FixedVariance(steps, v=0.0), Continuous(), law), denoiser


def train(objective: Variational, denoiser: GaussianDenoiser, batches: range) -> Tensor:
    losses = []
    for batch in batches:
        positions = torch.arange(64 * batch, 64 * (batch + 1))
        x_0 = Randomness(5, positions).normal(1, dtype=torch.float64)
        losses.append(objective(denoiser, x_0, seed=0, positions=positions))
    return torch.stack(losses)


def test_training_learns_the_law_and_resumes_exactly():
    objective, denoiser = bound_of(10)
    train(objective, denoiser, range(8))
    assert objective.times.probabilities.std() > 0.01
    state = Held(objective).state_dict()
    again = Held(bound_of(10)[0])
    again.load_state_dict({name: value.clone() for name, value in state.items()})
    torch.testing.assert_close(
        train(again.objective, denoiser, range(8, 12)), train(objective, denoiser, range(8, 12)), rtol=0, atol=0
    )


def test_evaluation_teaches_it_nothing():
    objective, denoiser = bound_of(10)
    with torch.no_grad():
        train(objective, denoiser, range(2))
    assert not objective.times.counts.any()


def test_importance_keeps_the_mean_and_lowers_the_variance():
    objective, denoiser = bound_of(10)
    train(objective, denoiser, range(20))
    with torch.no_grad():
        adapted = train(objective, denoiser, range(100, 200)).flatten()
        equal = train(bound_of(10)[0], denoiser, range(100, 200)).flatten()
    error = (adapted.var() / len(adapted) + equal.var() / len(equal)).sqrt().item()
    assert abs((adapted.mean() - equal.mean()).item()) < 3 * error
    assert adapted.var() < 0.9 * equal.var()


def process(rank: int, file: str, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    law = LossSecondMoment(steps=4, history=2)
    law.record(TIMES[2 * rank : 2 * rank + 2], torch.tensor([3.0, 1.0]) + rank)
    torch.save(law.state_dict(), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_share_their_losses(tmp_path):
    torch.multiprocessing.spawn(process, (str(tmp_path / "group"), str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    alone = LossSecondMoment(steps=4, history=2)
    alone.record(TIMES, torch.tensor([3.0, 1.0, 4.0, 2.0]))
    for name, value in alone.state_dict().items():
        assert torch.equal(first[name], value)
        assert torch.equal(second[name], value)

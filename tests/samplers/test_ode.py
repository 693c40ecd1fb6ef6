import math

import pytest
import torch
from torch import Tensor

from diffusion_lit.denoise import expand
from diffusion_lit.samplers.ode import dormand_prince


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def circle(x: Tensor, t: Tensor) -> Tensor:
    """dx/dt = (-y, x) times cos(t): turns by sin(t)."""
    return torch.stack((-x[:, 1], x[:, 0]), dim=1) * expand(t.cos(), x)


@pytest.mark.parametrize("tolerance", [1e-5, 1e-8])
def test_a_known_solution_both_ways(tolerance: float):
    x = f64(1.0, 0.0).expand(3, 2)
    end = f64(0.5, 1.0, 4.0)
    there, evaluations = dormand_prince(circle, x, 0.0, end, rtol=tolerance, atol=tolerance)
    exact = torch.stack((end.sin().cos(), end.sin().sin()), dim=1)
    # errors of the steps add up: at most as many as there were steps
    assert (there - exact).abs().max().item() < tolerance * evaluations.max().item() / 6
    back, _ = dormand_prince(circle, there, end, 0.0, rtol=tolerance, atol=tolerance)
    assert (back - x).abs().max().item() < 2 * tolerance * evaluations.max().item() / 6
    assert bool((evaluations.diff() > 0).all())  # longer ways cost more
    assert bool(((evaluations - 2) % 6 == 0).all())


def test_the_error_falls_with_the_fifth_power_of_the_cost():
    x, costs, errors = f64(1.0, 0.0)[None], [], []
    for tolerance in (1e-6, 1e-11):
        there, evaluations = dormand_prince(circle, x, 0.0, 10.0, rtol=tolerance, atol=tolerance)
        costs.append(evaluations.item())
        errors.append((there[0] - f64(math.cos(math.sin(10.0)), math.sin(math.sin(10.0)))).norm().item())
    order = math.log(errors[0] / errors[1]) / math.log(costs[1] / costs[0])
    assert order == pytest.approx(5, abs=0.7)


def test_a_sample_does_not_depend_on_its_batch():
    """A stiff neighbour takes many short steps; the others do not."""

    def field(x: Tensor, t: Tensor) -> Tensor:
        return -x.abs().clamp_min(1.0) * x  # faster where x is large

    x = f64(0.1, 1.0, 300.0)[:, None]
    whole, cost = dormand_prince(field, x, 0.0, 1.0)
    for i in range(3):
        alone, its_cost = dormand_prince(field, x[i : i + 1], 0.0, 1.0)
        torch.testing.assert_close(alone, whole[i : i + 1], rtol=0, atol=0)
        assert its_cost.item() == cost[i].item()
    assert cost[2] > 2 * cost[0]


def test_nowhere_to_go_costs_nothing():
    x = f64(1.0, 2.0)[:, None]
    y, cost = dormand_prince(lambda x, t: x, x, 0.3, f64(0.3, 1.3))
    torch.testing.assert_close(y[:, 0], f64(1.0, 2.0 * math.e), rtol=1e-4, atol=0)
    assert cost[0] == 0 < cost[1]
    assert dormand_prince(lambda x, t: x, x[:0], 0.0, 1.0)[0].shape == (0, 1)


def test_single_precision_stays_single():
    x, _ = dormand_prince(lambda x, t: -x, torch.ones(2, 3), 0.0, 1.0)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x, torch.full((2, 3), math.exp(-1)), rtol=1e-4, atol=0)


def test_a_tolerance_that_is_not_met_is_an_error():
    x = torch.ones(2, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"not met at t = 0\.\d+ .* 3 steps are not enough"):
        dormand_prince(lambda x, t: x, x, 0.0, f64(1e-3, 100.0), max_steps=3)
    with pytest.raises(ValueError, match=r"at t = 1 with .*no step is short enough"):  # dx/dt = x^2 has a pole at t = 1
        dormand_prince(lambda x, t: x.square(), x, 0.0, 2.0)
    with pytest.raises(ValueError, match="look whether the field is finite"):
        dormand_prince(lambda x, t: x * float("nan"), x, 0.0, 1.0)
    with pytest.raises(ValueError, match="above 0"):
        dormand_prince(lambda x, t: x, x, 0.0, 1.0, rtol=0.0)

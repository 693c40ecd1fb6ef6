import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from diffusion_lit.assimilation import LinearChain, Lorenz63, Windows
from diffusion_lit.errors import UserError
from diffusion_lit.randomness import Randomness

A = torch.tensor([[0.8, 0.3], [-0.2, 0.7]], dtype=torch.float64)
STD = torch.tensor([0.5, 1.5], dtype=torch.float64)


def test_a_linear_chain_is_gaussian():
    chain = LinearChain(A, STD)
    noise = Randomness(0, torch.arange(50))
    x = chain.simulate(chain.start(noise), 6, noise)
    whole = torch.distributions.MultivariateNormal(torch.zeros(12, dtype=torch.float64), chain.covariance(6))
    first = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), chain.stationary)
    assert torch.allclose(first.log_prob(x[:, 0]) + chain.log_path(x), whole.log_prob(x.flatten(1)))
    assert torch.allclose(A @ chain.stationary @ A.mT + STD.square().diag(), chain.stationary)


def test_it_is_drawn_from_its_law():
    chain, n = LinearChain(A, STD), 20_000
    noise = Randomness(1, torch.arange(n))
    x = chain.simulate(chain.start(noise), 3, noise).flatten(1)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(chain.covariance(3)), x.mT, upper=False)
    assert (torch.cov(white) - torch.eye(6)).abs().max() < 4 * math.sqrt(2 / n)


def test_lorenz_takes_runge_kutta_steps():
    x = torch.tensor([[1.0, 2.0, 20.0], [-8.0, -3.0, 30.0]], dtype=torch.float64)

    def flow(t, v):
        a, b, c = v
        return [10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c]

    def errors(dt):
        truth = [solve_ivp(flow, (0, dt), row, rtol=1e-12, atol=1e-12).y[:, -1] for row in x.numpy()]
        return (Lorenz63(dt).mean(x) - torch.from_numpy(np.stack(truth))).norm(dim=1)

    # a step of an order 4 method is wrong by dt^5
    assert torch.allclose((errors(0.02) / errors(0.01)).log2(), torch.full((2,), 5.0, dtype=torch.float64), atol=0.3)


def test_its_states_are_about_normal_and_its_path_has_the_entropy_of_the_noise():
    chain, n = Lorenz63(burn_in=400), 1000
    noise = Randomness(0, torch.arange(n))
    x = chain.simulate(chain.start(noise), 9, noise)
    z = chain.normalised(x[:, 0])
    assert torch.allclose(chain.raw(z), x[:, 0])
    assert z.mean(0).abs().max() < 0.25
    assert (z.std(0) - 1).abs().max() < 0.1
    expected = -8 * 3 * (1 + math.log(2 * math.pi * 0.025)) / 2
    assert chain.log_path(x).mean().item() == pytest.approx(expected, abs=3 * math.sqrt(8 * 3 / 2 / n))
    assert torch.equal(x[:5], chain.simulate(chain.start(fresh := Randomness(0, torch.arange(5))), 9, fresh))


def test_windows_are_fresh_and_named_by_seed_and_id():
    windows = Windows(3, Lorenz63(burn_in=10), paths=8, snapshots=4)
    x = windows.draw(Randomness(0, torch.arange(100)))
    assert x.shape == (100, windows.size) == (100, 9)
    assert torch.equal(windows.draw(Randomness(0, torch.tensor([70])))[0], x[70])
    states = windows.chain.raw(x.reshape(100, 3, 3))
    assert len(states[:, 0].unique(dim=0)) <= len(windows.starts) == 32
    assert len(states[:, 1].unique(dim=0)) == 100
    residual = (states[:, 1] - windows.chain.mean(states[:, 0])) / windows.chain.std
    assert residual.square().mean().item() == pytest.approx(1, abs=4 * math.sqrt(2 / 300))


def test_bad_input():
    with pytest.raises(UserError, match=r"std: \[1.0, 0.0\]"):
        LinearChain(A, torch.tensor([1.0, 0.0], dtype=torch.float64))
    with pytest.raises(UserError, match=r"spectral radius 1\.1 >= 1"):
        LinearChain(1.1 * torch.eye(2, dtype=torch.float64), STD)
    with pytest.raises(UserError, match="length, paths, snapshots: 0, 4096, 32"):
        Windows(0)

"""The composition against the exact denoiser of whole trajectories, where that is Gaussian."""

import math

import pytest
import torch

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.assimilation import LinearChain, WindowedDenoiser
from diffusion_lit.cost import counted
from diffusion_lit.denoise import Denoiser, Posterior
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, Inpainting, Measurement, methods
from diffusion_lit.noise import VE, VP
from diffusion_lit.randomness import Randomness

LENGTH = 40
AR = LinearChain(torch.tensor([[0.9]], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64))
TURN = LinearChain(
    0.95 * torch.tensor([[math.cos(0.4), -math.sin(0.4)], [math.sin(0.4), math.cos(0.4)]], dtype=torch.float64),
    torch.tensor([0.2, 0.4], dtype=torch.float64),
)
WIDE = VE(1e-4, 1e4)  # relative noise of every size


def exact(chain, length, schedule):
    covariance = chain.covariance(length)
    return GaussianDenoiser(torch.zeros(len(covariance), dtype=torch.float64), covariance, schedule)


def composed(chain, k, schedule):
    return WindowedDenoiser(exact(chain, 2 * k + 1, schedule), k, chain.size)


def noised(chain, schedule, t, n=200, length=LENGTH):
    clean = exact(chain, length, schedule).sample(n, seed=1)
    alpha, sigma = schedule(t)
    return alpha * clean + sigma * Randomness(2, torch.arange(n)).normal(length * chain.size, dtype=torch.float64)


def time(noise, schedule=WIDE):
    return schedule.time(torch.tensor(-2 * math.log(noise), dtype=torch.float64))


def error(chain, k, noise):
    """RMS over interior states of composed minus exact mean, at relative noise sigma / alpha."""
    t = time(noise)
    x = noised(chain, WIDE, t)
    difference = composed(chain, k, WIDE)(x, t).mean - exact(chain, LENGTH, WIDE)(x, t).mean
    inside = difference.reshape(len(x), LENGTH, -1)[:, LENGTH // 3 : -LENGTH // 3]
    return inside.square().mean().sqrt().item()


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize("schedule", [VP(), WIDE], ids=["VP", "VE"])
def test_independent_states_are_exact(k, schedule):
    chain = LinearChain(torch.zeros(2, 2, dtype=torch.float64), torch.tensor([0.5, 2.0], dtype=torch.float64))
    for t in (torch.tensor(0.1), torch.tensor(0.8)):
        x = noised(chain, schedule, t)
        ours, truth = composed(chain, k, schedule)(x, t), exact(chain, LENGTH, schedule)(x, t)
        assert torch.allclose(ours.mean, truth.mean, atol=1e-10)
        assert torch.allclose(ours.variance, truth.variance, atol=1e-10)


def test_a_trajectory_of_one_window_is_that_window():
    t = torch.tensor(0.5, dtype=torch.float64)
    x = noised(TURN, VP(), t, length=7)
    assert torch.equal(composed(TURN, 3, VP())(x, t).mean, exact(TURN, 7, VP())(x, t).mean)


@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0, 10.0])
def test_the_error_falls_by_the_factor_of_the_smoother(noise):
    a, q = 0.9, 0.09
    trace = (1 + a**2 + q / noise**2) / a
    factor = (trace - math.sqrt(trace**2 - 4)) / 2  # l + 1 / l = trace
    errors = [error(AR, k, noise) for k in (3, 4, 5)]
    for nearer, farther in zip(errors[1:], errors):
        assert nearer / farther == pytest.approx(factor, rel=0.01)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_without_noise_neighbours_are_a_markov_blanket(k):
    def of_score(noise):
        return error(AR, k, noise) / noise**2

    # the error of the score goes as s^(2 k): with k = 0 it stays, however little noise there is
    assert of_score(1e-2) / of_score(2e-2) == pytest.approx(0.25**k, rel=0.05)


def test_in_pure_noise_nothing_is_to_be_seen():
    assert error(AR, 1, 1e3) < 1e-2 * error(AR, 1, 1.0)


def test_which_part_of_which_window_is_kept():
    class Marks(Denoiser):
        """Says in which window (the first number of its first state) and at which of its places a state was seen."""

        def forward(self, x_t, t, **condition):
            windows = x_t.reshape(len(x_t), 5, 2)
            places = torch.arange(5.0).expand(len(x_t), 5)
            return Posterior(torch.stack((windows[:, :1, 0].expand(-1, 5), places), 2).flatten(1))

    x = torch.arange(9.0)[:, None].expand(9, 2)[None]  # state i is (i, i)
    kept = WindowedDenoiser(Marks(VP()), 2, 2)(x, torch.tensor(0.5)).mean[0]
    assert kept[:, 0].tolist() == [0, 0, 0, 1, 2, 3, 4, 4, 4]
    assert kept[:, 1].tolist() == [0, 1, 2, 2, 2, 2, 2, 3, 4]


def test_events_may_be_flat_times_and_conditions_each_sample_s_own():
    denoiser, t = composed(TURN, 2, VP()), torch.tensor([0.1, 0.9], dtype=torch.float64)
    x = noised(TURN, VP(), t[:, None], n=2)
    flat = denoiser(x, t).mean
    with counted(denoiser) as cost:
        shaped = denoiser(x.reshape(2, LENGTH, 2), t).mean
    assert cost.forwards == 1
    assert torch.equal(shaped.flatten(1), flat)
    assert torch.allclose(flat[1], denoiser(x[1:], t[1]).mean[0])
    assert denoiser.reference.dtype == torch.float64

    class Labelled(Denoiser):
        def forward(self, x_t, t, label, **condition):
            return Posterior(label[:, None].expand_as(x_t))

    labels = WindowedDenoiser(Labelled(VP()), 2, 2)(x, t, label=torch.tensor([3.0, 4.0]), scale=1.0).mean
    assert torch.equal(labels, torch.tensor([[3.0], [4.0]]).expand_as(x))


def test_guidance_goes_through_it():
    mask = torch.zeros(LENGTH, 2, dtype=torch.bool)
    mask[::4, 0] = True
    truth = exact(TURN, LENGTH, WIDE)
    measurement = Measurement.simulate(Inpainting(mask), GaussianNoise(0.1), truth.sample(1, 5).reshape(LENGTH, 2), 0)
    t = time(0.5)
    x = noised(TURN, WIDE, t, n=20).reshape(20, LENGTH, 2)
    matrix = Inpainting(mask).matrix()
    covariance = TURN.covariance(LENGTH)
    gain = covariance @ matrix.mT @ torch.linalg.inv(matrix @ covariance @ matrix.mT + 0.01 * torch.eye(len(matrix)))
    posterior = covariance - gain @ matrix @ covariance
    of_y = GaussianDenoiser(gain @ measurement.values.double(), (posterior + posterior.mT) / 2, WIDE)
    guide = methods["mmps"](steps=2, iterations=len(matrix))
    errors = []
    for k in (1, 4, 8):
        guided = guide.guide(composed(TURN, k, WIDE), measurement)(x, t).mean
        errors.append((guided - of_y(x.flatten(1), t).mean.reshape(x.shape)).square().mean().sqrt().item())
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 0.01


def test_bad_input():
    with pytest.raises(UserError, match="k, features: -1, 2"):
        WindowedDenoiser(exact(TURN, 1, VP()), -1, 2)
    denoiser = composed(TURN, 2, VP())
    for shape, said in (((9,), "4.5 states of 2"), ((4, 2), "at least the 5 of a window")):
        with pytest.raises(UserError, match=said):
            denoiser(torch.zeros(1, *shape), torch.tensor(0.5))

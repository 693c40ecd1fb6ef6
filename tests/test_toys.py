import math

import pytest
import torch
from sklearn.datasets import make_moons

from diffusion_lit import toys
from diffusion_lit.noise import VP
from diffusion_lit.randomness import Randomness

ENTROPIES = {  # nats; the mixtures' by Monte Carlo with 2e6 draws, so known to about 0.002
    "gaussian": (toys.gaussian(2), 1 + math.log(2 * math.pi)),
    "ring": (toys.ring(), 1.6973),
    "grid": (toys.grid(), 1.4502),
    "moons": (toys.moons(), 1.0111),
    "checkerboard": (toys.Checkerboard(), math.log(8)),
}


def draw(toy, n, seed=0):
    return toy.draw(Randomness(seed, torch.arange(n)))


@pytest.mark.parametrize("name", ENTROPIES)
def test_entropies(name):
    toy, entropy = ENTROPIES[name]
    nll = -toy.log_prob(draw(toy, 20_000))
    # three standard errors of the mean, and what the reference is known to
    assert nll.mean().item() == pytest.approx(entropy, abs=3 * nll.std().item() / 20_000**0.5 + 0.005)


@pytest.mark.parametrize("name", ENTROPIES)
def test_densities_integrate_to_one(name):
    toy, _ = ENTROPIES[name]
    # cell centres of a fine board: the squares' edges are cell edges, and the rule is exact on smooth densities
    line = (torch.arange(600, dtype=torch.float64) + 0.5) / 50 - 6
    cells = torch.cartesian_prod(line, line).split(50_000)
    mass = sum(toy.log_prob(x).exp().sum() for x in cells) / 50**2
    assert mass.item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", ENTROPIES)
def test_a_sample_depends_on_its_own_id_only(name):
    toy, _ = ENTROPIES[name]
    alone = toy.draw(Randomness(0, torch.tensor([7])))
    assert torch.equal(alone[0], draw(toy, 20)[7])


def test_moons_are_scikit_learns():
    theirs, _ = make_moons(20_000, noise=0.1, random_state=0)
    ours = draw(toys.moons(), 20_000).numpy()
    # first and second moments within three standard errors (sd <= 1.1 of x, x^2 <= 2)
    assert ours.mean(0) == pytest.approx(theirs.mean(0), abs=3 * 1.1 * (2 / 20_000) ** 0.5)
    assert (ours**2).mean(0) == pytest.approx((theirs**2).mean(0), abs=3 * 2 * (2 / 20_000) ** 0.5)


def test_the_exact_denoiser_has_the_toys_density():
    toy = toys.ring()
    x = draw(toy, 10)
    assert toy.exact(VP()).log_prob(x) == pytest.approx(toy.log_prob(x), abs=1e-10)


def test_checkerboard_draws_black_squares_alike():
    board = toys.Checkerboard()
    x = draw(board, 8_000)
    assert board.inside(x).all()
    squares = torch.bincount((x[:, 0].floor() + 2).long() * 4 + (x[:, 1].floor() + 2).long(), minlength=16)
    # binomial(8000, 1/8): standard deviation 30
    assert squares[squares > 0].numpy() == pytest.approx([1000] * 8, abs=4 * 30)
    assert board.log_prob(torch.tensor([[-1.5, -0.5], [3.0, 0.5]])).tolist() == [-math.inf, -math.inf]


def test_a_width_must_be_positive():
    with pytest.raises(ValueError, match=r"std: 0\.0"):
        toys.ring(std=0.0)

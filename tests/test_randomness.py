import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from diffusion_lit.randomness import Randomness, weyl

N = 4000


def ids(n: int = N) -> Tensor:
    return torch.arange(n)


def correlation(a: Tensor, b: Tensor) -> float:
    """In units of its standard error under independence."""
    return float(torch.corrcoef(torch.stack((a.double(), b.double())))[0, 1]) * math.sqrt(len(a))


@pytest.mark.parametrize("seed", [0, 1, -5, 2**62])
def test_uniform_over_ids_and_over_draws(seed: int):
    over_ids = Randomness(seed, ids()).uniform(1).flatten()
    over_draws = Randomness(seed, ids(1)).uniform(N).flatten()
    for u in (over_ids, over_draws):
        assert 0 < float(u.min()) < float(u.max()) < 1
        assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", [0, 3])
def test_normal_over_ids_and_over_draws(seed: int, dtype: torch.dtype):
    over_ids = Randomness(seed, ids()).normal(2, dtype=dtype)
    over_draws = Randomness(seed, ids(1)).normal(N, dtype=dtype)
    for z in (over_ids[:, 0], over_ids[:, 1], over_draws.flatten()):
        assert z.dtype == dtype
        assert stats.kstest(z.numpy(), "norm").pvalue > 1e-3


def test_half_precision_is_the_same_number_rounded():
    wide, narrow = Randomness(0, ids(9)).normal(5), Randomness(0, ids(9)).normal(5, dtype=torch.bfloat16)
    torch.testing.assert_close(narrow, wide.bfloat16(), rtol=0, atol=0)


def test_normals_reach_their_tails():
    # of a million, 2 * Phi(-4.5) * 1e6 = 6.8 lie beyond 4.5
    z = Randomness(0, ids(1000)).normal(1000)
    beyond = int((z.abs() > 4.5).sum())
    assert 1 <= beyond <= 16
    assert float(z.abs().max()) <= math.sqrt(2 * 33 * math.log(2)) + 1e-5


def test_draws_ids_and_seeds_are_independent():
    first = Randomness(0, ids())
    z = first.normal(3)
    later = first.normal(3)
    pairs = {
        "one pair of Box-Muller": (z[:, 0], z[:, 1]),
        "its squares": (z[:, 0] ** 2, z[:, 1] ** 2),
        "two words": (z[:, 0], z[:, 2]),
        "two calls": (z[:, 0], later[:, 0]),
        "two seeds": (z[:, 0], Randomness(1, ids()).normal(3)[:, 0]),
        "seeds far apart": (z[:, 0], Randomness(2**40, ids()).normal(3)[:, 0]),
        "neighbours": (z[:-1, 0], z[1:, 0]),
        "squares of neighbours": (z[:-1, 0] ** 2, z[1:, 0] ** 2),
        "seed and id swapped": (Randomness(7, ids() + 8).normal(1)[:, 0], Randomness(8, ids() + 7).normal(1)[:, 0]),
    }
    for name, (a, b) in pairs.items():
        assert abs(correlation(a, b)) < 4, name


def test_a_draw_does_not_move_along_the_next():
    # a counter shared between streams would make draw c of one id draw c + k of another
    u = Randomness(0, ids(50)).uniform(200)
    assert len(u.flatten().unique()) == u.numel()


def test_any_batch_gives_the_same_numbers():
    whole = Randomness(3, ids(64)).normal(2, 3)
    for i in (0, 17, 63):
        torch.testing.assert_close(Randomness(3, torch.tensor([i])).normal(2, 3), whole[i : i + 1], rtol=0, atol=1e-6)
    reverse = Randomness(3, ids(64).flip(0)).normal(2, 3)
    torch.testing.assert_close(reverse.flip(0), whole, rtol=0, atol=1e-6)


def test_a_sample_may_have_several_names():
    grid = torch.cartesian_prod(torch.arange(40), torch.arange(40))
    z = Randomness(0, grid).normal(1).flatten()
    assert len(z.unique()) > 1590  # float32 repeats a number now and then, a shared stream would repeat 780
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-3
    square = z.reshape(40, 40)
    mirrored = square.mT[~torch.eye(40, dtype=torch.bool)]
    assert abs(correlation(square[~torch.eye(40, dtype=torch.bool)], mirrored)) < 4 * math.sqrt(2)  # each pair twice
    one = Randomness(0, torch.tensor([[5, 7]])).normal(1)
    torch.testing.assert_close(one[0, 0], square[5, 7], rtol=0, atol=1e-6)


def test_draws_are_counted_in_shape():
    noise = Randomness(0, ids(2))
    assert noise.uniform().shape == (2,)
    assert noise.normal(3, 1).shape == (2, 3, 1)
    assert Randomness(0, ids(0)).normal(3).shape == (0, 3)


@pytest.mark.parametrize("seed", [0, 11])
def test_weyl_is_evenly_spread_over_any_run(seed: int):
    for start in (0, 123_456):
        for n in (64, 1000):
            u = weyl(seed, torch.arange(start, start + n))
            # golden ratio: the discrepancy of n points is O(log n / n), not the 1 / sqrt(n) of random ones
            discrepancy = stats.kstest(u.numpy(), "uniform").statistic
            assert discrepancy < (2 + math.log(n)) / (2 * n)


def test_weyl_depends_on_seed_and_position_only():
    whole = weyl(4, torch.arange(100))
    torch.testing.assert_close(weyl(4, torch.tensor([99, 3])), whole[[99, 3]], rtol=0, atol=0)
    shifts = torch.stack([weyl(seed, torch.tensor([0]))[0] for seed in range(500)])
    assert stats.kstest(shifts.numpy(), "uniform").pvalue > 1e-3
    assert 0 < float(whole.min()) < float(whole.max()) < 1

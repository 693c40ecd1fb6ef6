"""The Frechet distance has its closed form, and moments add up over batches and processes."""

import pytest
import torch
from scipy.linalg import sqrtm

from diffusion_lit.errors import UserError
from diffusion_lit.metrics.frechet import Moments, floor, frechet_distance, identity


def moments(*batches):
    metric = Moments(batches[0].shape[1])
    for batch in batches:
        metric.update(batch)
    return metric


def population(n, seed=0, dim=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=generator) @ torch.diag(torch.arange(1.0, dim + 1)) + 3


def test_commuting_gaussians():
    mean1, mean2 = torch.zeros(3), torch.tensor([1.0, 2.0, -2.0])
    var1, var2 = torch.tensor([1.0, 4.0, 9.0]), torch.tensor([4.0, 4.0, 0.0])
    expected = 9 + ((var1.sqrt() - var2.sqrt()) ** 2).sum().item()
    assert frechet_distance(mean1, torch.diag(var1), mean2, torch.diag(var2)) == pytest.approx(expected, rel=1e-12)


def test_general_gaussians_against_the_matrix_root():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(8, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    cov1, cov2 = a @ a.T, b @ b.T
    expected = torch.trace(cov1 + cov2).item() - 2 * sqrtm((cov1 @ cov2).numpy()).trace().real
    zero = torch.zeros(8, dtype=torch.float64)
    assert frechet_distance(zero, cov1, zero, cov2) == pytest.approx(expected, rel=1e-9)
    rotation = torch.linalg.qr(a)[0]
    turned = frechet_distance(zero, rotation @ cov1 @ rotation.T, zero, rotation @ cov2 @ rotation.T)
    assert turned == pytest.approx(expected, rel=1e-9)


def test_equal_populations_have_distance_zero_even_when_rank_deficient():
    few = moments(population(4, dim=32)).compute()
    assert frechet_distance(few.mean, few.covariance, few.mean, few.covariance) < 1e-9 * few.covariance.trace()


def test_moments_are_those_of_numpy_in_any_batches():
    x = population(300)
    whole = moments(x).compute()
    assert whole.count == 300
    torch.testing.assert_close(whole.mean, x.double().mean(dim=0))
    torch.testing.assert_close(whole.covariance, torch.cov(x.double().T))
    for part, other in zip(moments(x[:7], x[7:100], x[100:]).compute(), whole):
        torch.testing.assert_close(torch.as_tensor(part), torch.as_tensor(other), rtol=1e-12, atol=1e-10)


def test_two_processes_merge_to_one_population():
    x = population(300)
    other = moments(x[110:])
    others = iter([other.count, other.total, other.outer])
    mine = Moments(6, dist_sync_fn=lambda state, group: [state, next(others)], distributed_available_fn=lambda: True)
    mine.update(x[:110])
    for merged, whole in zip(mine.compute(), moments(x).compute()):
        torch.testing.assert_close(torch.as_tensor(merged), torch.as_tensor(whole), rtol=1e-12, atol=1e-10)


def test_the_floor_falls_with_n_and_a_shift_shows_above_it():
    reference = moments(population(4000, seed=1)).compute()
    held_out = population(2000, seed=2)
    floors = [floor(reference, held_out, n) for n in (100, 500, 2000)]
    assert floors[0] > floors[1] > floors[2] > 0
    assert floor(reference, held_out + 1, 2000) == pytest.approx(6, abs=1.5)  # |shift|^2 = 6, four standard errors
    with pytest.raises(UserError, match="2000 held-out images < n = 2001"):
        floor(reference, held_out, 2001)


def test_identity_and_too_few_images():
    assert identity("fd", "alex-256@64", 1000) == "fd/alex-256@64/n=1000"
    with pytest.raises(UserError, match="not 1"):
        moments(population(1)).compute()

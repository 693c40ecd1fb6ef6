"""Traces of Jacobians: linear and nonlinear fields of known divergence, batches, and training through them."""

import pytest
import torch

from diffusion_lit.divergence import Exact, GaussianProbe, Hutchinson, Rademacher, Sphere
from diffusion_lit.networks.unet import UNet
from diffusion_lit.randomness import Randomness

MATRIX = torch.tensor([[2.0, 1.0, 0.0], [-1.0, 0.5, 3.0], [0.3, -2.0, -1.0]], dtype=torch.float64)
X = Randomness(0, torch.arange(5)).normal(3, dtype=torch.float64)


def cubes(x: torch.Tensor) -> torch.Tensor:  # divergence 3 sum x_i^2 + tr MATRIX
    return x**3 + x @ MATRIX.mT


@pytest.mark.parametrize("chunk", [None, 1, 2])
@pytest.mark.parametrize("grad", [True, False])
def test_exact(chunk: int | None, grad: bool) -> None:
    with torch.set_grad_enabled(grad):
        value, divergence = Exact(chunk)(cubes, X)
    torch.testing.assert_close(value.detach(), cubes(X))
    torch.testing.assert_close(divergence.detach(), 3 * (X**2).sum(1) + MATRIX.trace())
    assert divergence.requires_grad == grad


def test_exact_on_images() -> None:
    x = Randomness(1, torch.arange(3)).normal(2, 4, 4, dtype=torch.float64)
    _, divergence = Exact(chunk=5)(lambda x: x.sin(), x)
    torch.testing.assert_close(divergence, x.cos().flatten(1).sum(1))


@pytest.mark.parametrize("law", [Rademacher(), GaussianProbe(), Sphere()])
def test_projections_are_unbiased_and_have_unit_covariance(law) -> None:
    n = 40_000
    x = X[:1].expand(n, -1)
    hutchinson = Hutchinson(law)
    with torch.no_grad():
        _, v, forms = hutchinson.forms(cubes, x, Randomness(2, torch.arange(n)))
    exact = 3 * (X[0] ** 2).sum() + MATRIX.trace()
    assert abs(forms.mean() - exact) < 3 * forms.std() / n**0.5  # three standard errors
    products = v[:, 0, :, None] * v[:, 0, None, :]
    error = products.std(0) / n**0.5
    assert bool(((products.mean(0) - torch.eye(3)).abs() <= 4 * error + 1e-12).all())  # nine of them: four


def test_projections_follow_the_sample_and_are_averaged() -> None:
    ids = torch.arange(5)
    hutchinson = Hutchinson(projections=4)
    together = hutchinson(cubes, X, Randomness(3, ids))[1]
    alone = torch.cat([hutchinson(cubes, X[i : i + 1], Randomness(3, ids[i : i + 1]))[1] for i in range(5)])
    torch.testing.assert_close(together, alone)
    _, v, forms = hutchinson.forms(cubes, X, Randomness(3, ids))
    jacobian = torch.diag_embed(3 * X**2) + MATRIX
    torch.testing.assert_close(forms, torch.einsum("bmi,bij,bmj->bm", v, jacobian, v))
    torch.testing.assert_close(together, forms.mean(1))


def test_signs_see_a_diagonal_exactly() -> None:
    _, divergence = Hutchinson()(lambda x: x**3, X, Randomness(4, torch.arange(5)))
    torch.testing.assert_close(divergence, 3 * (X**2).sum(1))


@pytest.mark.parametrize(
    "divergence", [Exact(), Exact(chunk=None), Hutchinson(projections=1), Hutchinson(projections=2)]
)
def test_trains_through(divergence) -> None:
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x = X.clone().requires_grad_()
    _, trace = divergence(lambda x: scale * x**3, x, Randomness(5, torch.arange(5)))
    by_scale, by_x = torch.autograd.grad(trace.sum(), (scale, x))
    torch.testing.assert_close(by_scale, 3 * (X**2).sum())
    torch.testing.assert_close(by_x, 6 * scale.detach() * X)


def test_a_unet_has_the_trace_of_its_jacobian() -> None:
    torch.manual_seed(0)
    network = UNet(channels=1, size=(8, 8), width=8, multipliers=(1, 2), blocks=1, attention=(2,))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, level = torch.randn(2, 1, 8, 8), torch.zeros(2)
    with torch.no_grad():
        trace = Exact()(lambda x: network(x, level), x)[1]
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x, level).sum(0).flatten(), x)  # (64, 2, 1, 8, 8)
    expected = torch.stack([jacobian[:, i].flatten(1).trace() for i in range(2)])
    assert float(expected.abs().min()) > 1e-4
    torch.testing.assert_close(trace, expected, rtol=1e-4, atol=1e-5)  # float32
    _, estimate = Hutchinson()(lambda x: network(x, level), x, Randomness(0, torch.arange(2)))
    estimate.sum().backward()  # attention too can be differentiated twice
    assert network.stem.weight.grad is not None
    assert bool(network.stem.weight.grad.isfinite().all())


@pytest.mark.parametrize("divergence", [Exact(), Hutchinson()])
def test_no_graph_is_needed_nor_made_in_inference_mode(divergence) -> None:
    with torch.inference_mode():
        x = X.clone()
        _, trace = divergence(lambda x: x**3, x, Randomness(4, torch.arange(5)))
    torch.testing.assert_close(trace, 3 * (X**2).sum(1))
    assert not trace.requires_grad


def test_projections_need_randomness() -> None:
    with pytest.raises(ValueError, match="drawn from a Randomness"):
        Hutchinson()(cubes, X, None)

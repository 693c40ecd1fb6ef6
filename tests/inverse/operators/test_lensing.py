"""The lens: its deflection is the gradient of its mass, a point becomes a ring, and light keeps its brightness."""

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.operators.lensing import deflection


@pytest.mark.parametrize(("q", "angle"), [(1.0, 0.0), (0.7, 0.0), (0.5, 37.0)])
def test_deflection_solves_poissons_equation(q: float, angle: float) -> None:
    x = torch.linspace(-2.1, 2.3, 12, dtype=torch.float64).repeat(9, 1).requires_grad_()
    y = torch.linspace(-1.7, 1.4, 9, dtype=torch.float64)[:, None].repeat(1, 12).requires_grad_()
    alpha_x, alpha_y = deflection(x, y, 1.3, q, angle)
    xx, xy = torch.autograd.grad(alpha_x.sum(), (x, y), retain_graph=True)
    yx, yy = torch.autograd.grad(alpha_y.sum(), (x, y))
    torch.testing.assert_close(xy, yx)
    turn = torch.deg2rad(torch.tensor(angle, dtype=torch.float64))
    u, v = turn.cos() * x + turn.sin() * y, -turn.sin() * x + turn.cos() * y
    # kappa is 1/2 on the ellipse with the area of the circle of the Einstein radius
    kappa = 1.3 * q**0.5 / (2 * (q**2 * u**2 + v**2).sqrt())
    torch.testing.assert_close(xx + yy, 2 * kappa)


def test_the_sphere_is_the_limit_of_the_ellipsoid() -> None:
    x, y = torch.tensor([[0.3, -1.2]]).double(), torch.tensor([[0.9, 0.4]]).double()
    sphere, nearly = deflection(x, y, 1.0, 1.0), deflection(x, y, 1.0, 0.99999)
    torch.testing.assert_close(torch.stack(nearly), torch.stack(sphere), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.stack(sphere).norm(dim=0), torch.ones(1, 2).double())


def test_a_point_behind_a_sphere_becomes_a_ring() -> None:
    source = torch.zeros(1, 1, 41, 41)
    source[..., 19:22, 19:22] = 1
    image = operators["gravitational_lens"](shape=(1, 41, 41), einstein_radius=12, axis_ratio=1.0)(source)[0, 0]
    y, x = torch.meshgrid(torch.arange(41) - 20.0, torch.arange(41) - 20.0, indexing="ij")
    radius = (x**2 + y**2).sqrt()
    assert float(image[(radius - 12).abs() > 3].abs().max()) == 0
    assert float(image[(radius - 12).abs() < 0.5].min()) > 0.8
    assert float(image.sum()) > 5 * float(source.sum())  # it magnifies


def test_surface_brightness_is_kept_and_the_outside_is_dark() -> None:
    shape = (2, 24, 30)
    image = operators["gravitational_lens"](shape=shape, psf=torch.full((3, 3), 1 / 9))(torch.ones(1, *shape))
    assert float(image.max()) < 1 + 1e-6
    assert float(image[0, 0, 12, 15]) == pytest.approx(1)
    small = operators["gravitational_lens"](shape=shape, source_scale=0.2, centre=(2, -1))(torch.ones(1, *shape))
    assert 0 < float((small > 0.5).double().mean()) < 0.5


@pytest.mark.parametrize(
    "settings",
    [
        {"einstein_radius": 0},
        {"axis_ratio": 1.5},
        {"axis_ratio": 0.0},
        {"source_scale": 0},
        {"centre": (1e6, 0.0), "einstein_radius": 1e5},
    ],
)
def test_bad_input(settings: dict) -> None:
    with pytest.raises(UserError, match="gravitational_lens: "):
        operators["gravitational_lens"](shape=(1, 8, 8), **settings)

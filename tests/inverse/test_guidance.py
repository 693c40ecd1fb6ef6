"""Guided denoisers on Gaussian data, where J is a known matrix and D_y has a closed form."""

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.cost import counted
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, Measurement, Operator, methods
from diffusion_lit.inverse.guidance import MMPS, PiGDM
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.solvers import conjugate_gradient, minimal_residual
from diffusion_lit.noise import VP
from tests.inverse.problems import gaussian_problem, image_problem

T = torch.tensor([0.02, 0.2, 0.5, 0.9], dtype=torch.float64)


def points(*event: int) -> Tensor:
    return torch.randn(len(T), *event, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("iterations", [2, 4])
def test_mmps_is_the_exact_conditional_mean(iterations: int) -> None:
    """With d_y iterations, and unharmed by more, D_y = E[x_0 | x_t, y]: the denoiser of the exact posterior."""
    denoiser, measurement = gaussian_problem(3)
    exact = denoiser.posterior(measurement)(points(4), T).mean
    guided = MMPS(iterations=iterations).guide(denoiser, measurement)
    torch.testing.assert_close(guided(points(4), T).mean, exact, atol=1e-6, rtol=1e-6)


def test_mmps_is_exact_on_images_through_every_operator() -> None:
    denoiser, x = image_problem(1)
    for operator in (
        operators["inpaint_random"](shape=(2, 5, 4), fraction=0.7),
        operators["gaussian_blur"](shape=(2, 5, 4), sigma=0.6),
    ):
        measurement = Measurement.simulate(operator, GaussianNoise(0.3), x[0], seed=1)
        exact = denoiser.posterior(measurement)(points(2, 5, 4), T).mean
        guided = MMPS(iterations=30).guide(denoiser, measurement)
        torch.testing.assert_close(guided(points(2, 5, 4), T).mean, exact, atol=1e-5, rtol=1e-5)


def test_mmps_improves_with_iterations_in_float32() -> None:
    denoiser, x = image_problem(1)
    operator = operators["inpaint_box"](shape=(2, 5, 4), size=2)
    measurement = Measurement.simulate(operator, GaussianNoise(0.3), x[0], seed=1)
    exact = denoiser.posterior(measurement)(points(2, 5, 4), T).mean
    errors = []
    for iterations in (1, 2, 4, 8, 30):
        guided = MMPS(iterations=iterations).guide(denoiser, measurement)
        mean = guided(points(2, 5, 4).float(), T).mean
        assert mean.dtype == torch.float32
        errors.append(float((mean - exact).norm()))
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[4] < 1e-3  # rounding in the solver does no harm


def test_pigdm_is_its_formula() -> None:
    denoiser, measurement = gaussian_problem(3)
    a, v = measurement.operator.matrix(), 0.9
    alpha, sigma = VP()(T)
    for i, x in enumerate(points(4)):
        mean = denoiser(x[None], T[i]).mean[0]
        jacobian = torch.func.jacrev(lambda p, i=i: denoiser(p[None], T[i]).mean[0])(x)
        s2 = (sigma[i] / alpha[i]) ** 2
        system = s2 * v / (s2 + v) * a @ a.mT + 0.3**2 * torch.eye(2, dtype=torch.float64)
        score = jacobian.mT @ a.mT @ torch.linalg.solve(system, measurement.y - a @ mean)
        expected = mean + sigma[i] ** 2 / alpha[i] * score
        guided = PiGDM(data_variance=v).guide(denoiser, measurement)
        torch.testing.assert_close(guided(x[None], T[i]).mean[0], expected, atol=1e-8, rtol=1e-8)


def test_pigdm_is_exact_for_isotropic_data() -> None:
    _, measurement = gaussian_problem(3)
    denoiser = GaussianDenoiser(torch.zeros(4), torch.tensor(0.7), VP())
    exact = denoiser.posterior(measurement)(points(4), T).mean
    guided = PiGDM(data_variance=0.7).guide(denoiser, measurement)
    torch.testing.assert_close(guided(points(4), T).mean, exact, atol=1e-6, rtol=1e-6)


def test_one_measurement_a_sample_in_inference_mode() -> None:
    denoiser, x = image_problem(4)
    operator = operators["average_pool"](shape=(2, 5, 4), factor=1)
    measurement = Measurement.simulate(operator, GaussianNoise(0.3), x, seed=1)
    guided = MMPS(iterations=2).guide(denoiser, measurement)
    with torch.inference_mode():
        together = guided(points(2, 5, 4), T).mean
    for i in range(4):
        alone = MMPS(iterations=2).guide(denoiser, Measurement(measurement.y[i], operator, measurement.noise))
        torch.testing.assert_close(alone(points(2, 5, 4)[i : i + 1], T[i]).mean[0], together[i])


def test_cost_of_one_call() -> None:
    denoiser, measurement = gaussian_problem(1)
    for method, vjps in ((MMPS(iterations=3), 3), (PiGDM(), 1)):
        with counted(denoiser) as cost:
            method.guide(denoiser, measurement)(points(4), T)
        assert (cost.forwards, cost.vjps) == (1, vjps)


def test_solvers_against_dense_and_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(3, 6, 6, generator=generator, dtype=torch.float64)
    b = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    symmetric = factor @ factor.mT + torch.eye(6)
    solution = conjugate_gradient(lambda p: (symmetric @ p[..., None])[..., 0], b)
    torch.testing.assert_close(solution, torch.linalg.solve(symmetric, b), atol=1e-8, rtol=1e-8)
    skew = symmetric + factor - factor.mT  # not symmetric
    solution = minimal_residual(lambda p: ((skew @ p[..., None])[..., 0], p), b, iterations=9)
    torch.testing.assert_close(solution, torch.linalg.solve(skew, b), atol=1e-8, rtol=1e-8)
    # after n iterations: the least residual of the Krylov space
    krylov = torch.stack([b[0], skew[0] @ b[0], skew[0] @ skew[0] @ b[0]], dim=1)
    best = torch.linalg.lstsq(skew[0] @ krylov, b[0]).solution
    solution = minimal_residual(lambda p: ((skew @ p[..., None])[..., 0], p), b, iterations=3)
    torch.testing.assert_close(solution[0], krylov @ best, atol=1e-6, rtol=1e-6)


def test_bad_input() -> None:
    denoiser, _ = gaussian_problem(1)

    class Square(Operator):
        def forward(self, x: Tensor) -> Tensor:
            return x**2

    nonlinear = Measurement(torch.zeros(4), Square((4,), (4,)), GaussianNoise(0.1))
    with pytest.raises(UserError, match="MMPS works with LinearOperator operators, not with Square"):
        methods["mmps"](2)(denoiser, nonlinear)
    with pytest.raises(UserError, match="Square is not a LinearOperator"):
        MMPS().guide(denoiser, nonlinear)(points(4), T)
    assert methods["dps"](2)(denoiser, nonlinear, samples=2).shape == (2, 4)
    with pytest.raises(UserError, match="iterations: 0"):
        MMPS(iterations=0)
    with pytest.raises(UserError, match="data_variance: 0"):
        PiGDM(data_variance=0.0)

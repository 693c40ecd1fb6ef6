import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianMixtureDenoiser
from diffusion_lit.cost import counted
from diffusion_lit.denoise import Denoiser, Posterior
from diffusion_lit.noise import EDM, VP, DiscreteVP, Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers import DDIM, DDPM, Fixed, Learned, Strided, Uniform
from diffusion_lit.samplers.ancestral import slerp

from .exact import Impulses, gain, independent, propagate

CHAIN = DiscreteVP.linear(1000)


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("v", "expected"),
    [(1.0, (0.999900, 0.250752, 3.990569, 0.0)), (0.0, (0.991067, 0.246125, 3.974777, 0.0))],
    ids=["beta", "beta-tilde"],
)
def test_ddpm_chain_of_a_thousand_steps(v: float, expected: tuple[float, ...]):
    """Final variances for data of variance 1, 1/4, 4 and for a point, from x_T ~ N(0, 1)."""
    denoiser = independent(f64(1.0, 0.25, 4.0, 0.0), CHAIN)
    times = Uniform()(CHAIN, 1000)
    variance = propagate(DDPM(1000, v=v), denoiser, times, 1.0)
    torch.testing.assert_close(variance, f64(*expected), rtol=0, atol=6e-7)


def strided(steps: int) -> Tensor:
    """DDIM's sub-sequence 0, T/S, 2T/S, ... of the indices 0..T-1, whose index i is our time (i + 1)/T; then data."""
    return Strided(1000)(CHAIN, steps)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (10, (0.69172, 0.68755, 0.66428, 0.54821)),
        (20, (0.83271, 0.82883, 0.80740, 0.71073)),
        (50, (0.92945, 0.92705, 0.91388, 0.85743)),
        (100, (0.96403, 0.96260, 0.95476, 0.92160)),
    ],
)
def test_ddim_final_variance(steps: int, expected: tuple[float, ...]):
    denoiser = independent(f64(1.0), CHAIN)
    for eta, value in zip((0.0, 0.2, 0.5, 1.0), expected):
        variance = propagate(DDIM(steps, eta=eta), denoiser, strided(steps), 1.0)
        assert variance.item() == pytest.approx(value, abs=6e-6)


@pytest.mark.usefixtures("unchecked")
def test_ddim_final_variance_of_a_thousand_deterministic_steps():
    denoiser = independent(f64(1.0, 0.25), CHAIN)
    torch.testing.assert_close(gain(DDIM(1000), denoiser, strided(1000)) ** 2, f64(0.99625, 0.24850), rtol=0, atol=6e-6)


@pytest.mark.parametrize(("steps", "expected"), [(10, 0.13997), (20, 0.18813), (50, 0.22320), (100, 0.23618)])
def test_ddim_final_variance_of_narrow_data(steps: int, expected: float):
    assert gain(DDIM(steps), independent(f64(0.25), CHAIN), strided(steps)).item() ** 2 == pytest.approx(
        expected, abs=6e-6
    )


def test_a_ddim_step_on_white_data_turns_by_the_angle():
    schedule, times = VP(), f64(0.8, 0.3)
    before, after = schedule(times)[0].acos()
    turn = gain(DDIM(1), independent(f64(1.0), schedule), times)
    assert turn.item() == pytest.approx((after - before).cos().item(), rel=1e-12)


@pytest.mark.parametrize("schedule", [VP(), EDM(), CHAIN], ids=["vp", "edm", "ddpm"])
def test_ddim_with_eta_one_is_ddpm_with_the_posterior_variance(schedule: Schedule):
    denoiser, times = independent(f64(1.0, 0.3), schedule), Uniform()(schedule, 12)
    ddim, ddpm = (propagate(sampler, denoiser, times, 1.0) for sampler in (DDIM(12, eta=1.0), DDPM(12, v=0.0)))
    torch.testing.assert_close(ddim, ddpm)


def test_ddpm_between_its_variances_is_their_geometric_mean():
    times, denoiser = f64(0.5, 0.4), independent(f64(1.0), VP())
    spread = {v: propagate(DDPM(2, v=v), denoiser, times, 0.0).item() ** 0.5 for v in (0.0, 0.5, 1.0)}
    assert spread[0.5] == pytest.approx((spread[0.0] * spread[1.0]) ** 0.5)
    # beta of the step is 1 - alpha_t^2 / alpha_s^2 for a variance-preserving schedule
    alpha_t, alpha_s = VP()(times)[0]
    assert spread[1.0] ** 2 == pytest.approx(1 - (alpha_t / alpha_s).item() ** 2)


@pytest.mark.parametrize("steps", [4, 50])
def test_the_learned_variance_makes_gaussian_samples_exact(steps: int):
    """With Var[x_0 | x_t] every step draws from p(x_s | x_t) itself; only the last gives the mean."""
    schedule, data = VP(), f64(4.0, 1.0, 0.25, 0.0)
    times = Uniform()(schedule, steps)
    alpha, sigma = schedule(times)
    start = data * alpha[0] ** 2 + sigma[0] ** 2
    # from the exact law at t = 1: scale the first row, what the start does
    x = torch.zeros(steps + 1, 4, dtype=torch.float64)
    x[0] = start.sqrt()
    sampler = DDPM(steps, variance=Learned())
    reached = sampler.integrate(independent(data, schedule), x, times, Impulses(steps + 1)).square().sum(0)
    last = data * sigma[-2] ** 2 / (data * alpha[-2] ** 2 + sigma[-2] ** 2)  # Var[x_0 | x_t_min], left out
    torch.testing.assert_close(reached, data - last, rtol=1e-6, atol=2e-5)


def test_a_learned_variance_is_each_entrys_own():
    class Told(Denoiser):
        def forward(self, x_t: Tensor, t: Tensor, **condition) -> Posterior:
            return Posterior(torch.zeros_like(x_t), torch.tensor([0.0, 0.5], dtype=x_t.dtype).expand(len(x_t), 2))

    schedule, times = VP(), f64(0.6, 0.5)
    (alpha_t, alpha_s), (sigma_t, sigma_s) = schedule(times)
    tau = 1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2
    x = DDPM(2, variance=Learned()).integrate(
        Told(schedule), torch.zeros(2, 2, dtype=torch.float64), times, Impulses(2)
    )
    expected = sigma_s**2 * tau + (alpha_s * tau) ** 2 * f64(0.0, 0.5)
    torch.testing.assert_close(x[1].square(), expected)


def test_a_learned_variance_must_have_been_learned():
    class MeanOnly(Denoiser):
        def forward(self, x_t: Tensor, t: Tensor, **condition) -> Posterior:
            return Posterior(x_t)

    with pytest.raises(ValueError, match=r"Learned\(\) needs a denoiser.*use Fixed"):
        DDPM(3, variance=Learned())(MeanOnly(VP()), (2, 2), seed=0)


def test_v_is_short_for_a_fixed_variance():
    assert DDPM(4, v=0.3).variance == DDPM(4, variance=Fixed(0.3)).variance == Fixed(0.3)


def test_sigma_hat_of_the_ddim_paper_is_the_variance_beta():
    """Mean of eta = 1, noise sqrt(1 - abar_t / abar_s) (DDIM, section 5.1)."""
    denoiser, times = independent(f64(0.25), CHAIN), f64(0.5, 0.4)
    abar_t, abar_s = (CHAIN(times)[0] ** 2).tolist()
    with_noise = propagate(DDPM(2, v=1.0), denoiser, times, 1.0).item()
    with_less = propagate(DDIM(2, eta=1.0), denoiser, times, 1.0).item()
    beta_tilde = (1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s)
    assert with_noise - with_less == pytest.approx(1 - abar_t / abar_s - beta_tilde, rel=1e-9)


def mixture() -> GaussianMixtureDenoiser:
    return GaussianMixtureDenoiser(f64(0.4, 0.6), f64(-1.0, 0.2, 1.0, 0.0).reshape(2, 2), f64(0.2, 0.3), VP())


def test_inversion_then_decoding_is_of_first_order():
    denoiser, errors = mixture(), []
    x = denoiser.sample(32, seed=0)
    for steps in (100, 200):
        latents = DDIM(steps).invert(denoiser, x)
        errors.append((DDIM(steps).decode(denoiser, latents) - x).norm().item())
    assert errors[1] < 0.05 * x.norm().item()
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)


def test_latents_are_noise():
    """For Gaussian data the latents of data are N(0, sigma_1^2 + alpha_1^2 C) in the limit."""
    schedule = VP()
    denoiser = independent(f64(0.25, 4.0), schedule)
    alpha, sigma = schedule(f64(1.0))
    spread = (f64(0.25, 4.0) * alpha**2 + sigma**2).sqrt() / f64(0.5, 2.0)
    with counted(denoiser) as cost:
        latents = DDIM(400).invert(denoiser, torch.ones(1, 2, dtype=torch.float64))
    torch.testing.assert_close(latents[0], spread, rtol=0.02, atol=0)
    assert cost.forwards == 400


def test_interpolation_ends_at_the_ends_and_follows_the_circle():
    denoiser, noise = mixture(), Randomness(0, torch.arange(3))
    x, z = (noise.normal(2, dtype=torch.float64) for _ in range(2))
    path = DDIM(20).interpolate(denoiser, x, z, f64(0.0, 0.5, 1.0))
    torch.testing.assert_close(path[0], DDIM(20).decode(denoiser, x))
    torch.testing.assert_close(path[2], DDIM(20).decode(denoiser, z))
    middle = slerp(x, z, f64(0.5)[0])
    torch.testing.assert_close(path[1], DDIM(20).decode(denoiser, middle))
    # the middle has equal angles to both ends, and between unit vectors length 1
    unit = torch.nn.functional.normalize
    torch.testing.assert_close(slerp(unit(x), unit(z), f64(0.3)[0]).norm(dim=1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(slerp(x, 2 * x, f64(0.25)[0]), 1.25 * x)


def test_only_the_deterministic_map_has_latents():
    with pytest.raises(ValueError, match=r"eta: 0\.5 > 0"):
        DDIM(5, eta=0.5).invert(mixture(), torch.zeros(1, 2, dtype=torch.float64))

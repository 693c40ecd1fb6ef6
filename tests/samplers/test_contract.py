from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from diffusion_lit.analytic import GaussianMixtureDenoiser
from diffusion_lit.cost import counted
from diffusion_lit.denoise import NetworkDenoiser, Posterior, expand
from diffusion_lit.errors import UserError
from diffusion_lit.noise import EDM, VE, VP, Cosine, DiscreteVP, Rectified, Schedule, SubVP
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers import (
    DDIM,
    DDPM,
    MALA,
    RK45,
    ULA,
    AnnealedLangevin,
    ConsistentAnnealed,
    DPMSolverPP,
    Euler,
    EulerMaruyama,
    ExponentialAB,
    Foellmer,
    Heun,
    Karras,
    Langevin,
    LogSNR,
    PredictorCorrector,
    Quadratic,
    Relative,
    ReverseDiffusion,
    Sampler,
    SignalShare,
    SignalToNoise,
    Strided,
    Uniform,
)
from diffusion_lit.samplers.grids import Grid

Make = Callable[[int], Sampler]

FROM_NOISE_TO_THE_MEAN: dict[str, Make] = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "ddim-eta": lambda n: DDIM(n, eta=0.5),
    "euler": Euler,
    "euler-churn": lambda n: Euler(n, churn=n / 2),
    "heun": Heun,
    "heun-churn": lambda n: Heun(n, churn=n / 2),
    "dpm": DPMSolverPP,
    "eab": ExponentialAB,
    "euler-maruyama": EulerMaruyama,
    "reverse-diffusion": ReverseDiffusion,
    "pc": lambda n: PredictorCorrector(ReverseDiffusion(n), Langevin(SignalToNoise(0.16), moves=2)),
    "pc-dpm": lambda n: PredictorCorrector(DPMSolverPP(n), Langevin(Relative())),
    "cas": lambda n: ConsistentAnnealed(n, eta=0.95),
}
ANY_DENOISER = FROM_NOISE_TO_THE_MEAN | {
    "flow": lambda n: EulerMaruyama(n, lam=0.0),
    "corrector-only": lambda n: AnnealedLangevin(n, inner=2, step_size=SignalToNoise(0.16)),
    "ald": lambda n: AnnealedLangevin(n, inner=2),
    "foellmer": Foellmer,
    "ula": lambda n: ULA(n, 0.1),
}
COUNTED = ANY_DENOISER | {"mala": lambda n: MALA(n, 0.1)}
SAMPLERS = COUNTED | {"rk45": lambda n: RK45(1e-2, 1e-2)}
SCHEDULES = {
    "vp": VP(),
    "sub-vp": SubVP(),
    "cosine": Cosine(),
    "ve": VE(),
    "edm": EDM(),
    "rectified": Rectified(),
    "ddpm": DiscreteVP.linear(),
}


def each(samplers: dict[str, Make]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", samplers.values(), ids=samplers)


every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
every_grid = pytest.mark.parametrize(
    "grid", [Uniform(), Quadratic(), Karras(), LogSNR()], ids=lambda g: type(g).__name__
)


def mixture(schedule: Schedule) -> GaussianMixtureDenoiser:
    means = torch.tensor([[-1.0, 0.0, 0.5], [1.0, 0.3, 0.0]])
    return GaussianMixtureDenoiser(torch.ones(2), means, torch.tensor([0.1, 0.2]), schedule)


@each(SAMPLERS)
def test_a_sample_depends_on_its_seed_and_id_only(make: Make):
    sampler, denoiser, ids = make(6), mixture(VP()), torch.arange(64)
    whole = sampler(denoiser, (64, 3), seed=5)
    reverse = sampler(denoiser, (64, 3), seed=5, ids=ids.flip(0)).flip(0)
    torch.testing.assert_close(reverse, whole, rtol=0, atol=1e-9)
    halves = torch.cat([sampler(denoiser, (32, 3), seed=5, ids=part) for part in ids.split(32)])
    torch.testing.assert_close(halves, whole, rtol=0, atol=1e-9)
    for i in (0, 31, 63):
        alone = sampler(denoiser, (1, 3), seed=5, ids=ids[i : i + 1])
        torch.testing.assert_close(alone, whole[i : i + 1], rtol=0, atol=1e-9)
    assert not torch.allclose(sampler(denoiser, (64, 3), seed=6), whole)
    assert len(whole.unique(dim=0)) == 64


class Shifted(nn.Module):
    """A tiny network, in float32, that insists on its condition."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor, noise_level: Tensor, shift: Tensor) -> Tensor:
        return self.linear(x) + expand(noise_level.tanh(), x) + shift


@each(ANY_DENOISER | {"rk45": lambda n: RK45(1e-2, 1e-2)})
@every_schedule
def test_samples_are_finite_conditioned_and_without_gradient(make: Make, schedule: Schedule):
    torch.manual_seed(0)
    sampler, denoiser = make(6), NetworkDenoiser(Shifted(), schedule)
    x = sampler(denoiser, (4, 3, 2), seed=0, shift=torch.ones(4, 3, 2))
    assert x.shape == (4, 3, 2)
    assert x.dtype == torch.float32
    assert bool(x.isfinite().all())
    assert not x.requires_grad
    assert not torch.allclose(x, sampler(denoiser, (4, 3, 2), seed=0, shift=torch.zeros(4, 3, 2)))


@each(COUNTED)
@pytest.mark.parametrize("schedule", [VP(), EDM()], ids=["vp", "edm"])
def test_the_declared_cost_is_the_cost(make: Make, schedule: Schedule):
    sampler, denoiser = make(6), mixture(schedule)
    with counted(denoiser) as cost:
        sampler(denoiser, (2, 3), seed=0)
    assert (cost.forwards, cost.vjps) == (sampler.nfe, 0)


@each(FROM_NOISE_TO_THE_MEAN)
def test_one_step_goes_from_noise_to_the_mean(make: Make):
    denoiser = mixture(Cosine())
    x = make(1)(denoiser, (5, 3), seed=0)
    torch.testing.assert_close(x, denoiser.means.mean(0).expand(5, 3), rtol=0, atol=1e-2)


@each(FROM_NOISE_TO_THE_MEAN | {"foellmer": Foellmer, "rk45": lambda n: RK45(1e-3, 1e-3)})
@pytest.mark.parametrize("schedule", [VP(), EDM()], ids=["vp", "edm"])
def test_both_modes_are_met(make: Make, schedule: Schedule):
    # noise alone, or one mode alone, fails: both modes lie 1 from 0 along the first axis with deviation .4 at most
    x = make(30)(mixture(schedule), (200, 3), seed=0)
    assert 60 <= int((x[:, 0] > 0).sum()) <= 140  # within 5 standard errors
    assert x[:, 0].abs().mean().item() == pytest.approx(1, abs=0.15)
    assert x[:, 1].mean().item() == pytest.approx(0.15, abs=0.15)


@pytest.mark.parametrize("steps", [0, -3])
def test_a_sampler_takes_a_step(steps: int):
    with pytest.raises(ValueError, match="at least one step"):
        Heun(steps)


@every_grid
@every_schedule
@pytest.mark.parametrize("steps", [1, 2, 18, 1000])
def test_grids_fall_from_one_to_the_data(grid: Grid, schedule: Schedule, steps: int):
    times = grid(schedule, steps)
    assert times.shape == (steps + 1,)
    assert times.dtype == torch.float64
    assert times[0].item() == pytest.approx(1, abs=1e-12)
    assert times[0] <= 1
    assert times[-1] == 0
    assert bool((times.diff() < 0).all())
    if steps > 1:
        assert times[-2].item() == pytest.approx(schedule.t_min, rel=1e-3, abs=1e-11)


def test_grids_that_do_not_ask_at_t_min():
    times = SignalShare()(EDM(), 8)
    alpha, sigma = EDM()(times)
    torch.testing.assert_close(
        1 / (1 + (sigma / alpha) ** 2), torch.arange(9) / 8.0, rtol=0, atol=2e-4, check_dtype=False
    )
    assert times[0] == 1
    chain = DiscreteVP.linear(1000)
    assert (Strided()(chain, 3) * 1000).tolist() == [667, 334, 1, 0]
    torch.testing.assert_close(Strided()(chain, 1000), Uniform()(chain, 1000))
    with pytest.raises(ValueError, match="1001 > 1000"):
        Strided()(chain, 1001)


def test_grids_are_even_in_their_own_variable():
    schedule = VP()
    variables = {
        Uniform(): lambda t: t,
        Quadratic(): lambda t: t.sqrt(),
        Karras(rho=5.0): lambda t: (-schedule.log_snr(t) / 10).exp(),
        LogSNR(): schedule.log_snr,
    }
    for grid, variable in variables.items():
        strides = variable(grid(schedule, 20)[:-1]).diff()
        torch.testing.assert_close(strides, strides.mean().expand(19), rtol=1e-8, atol=0)


def test_karras_grid_is_edms():
    sigma = EDM()(Karras()(EDM(), 18))[1]
    ramp = torch.arange(18, dtype=torch.float64) / 17
    expected = (80 ** (1 / 7) + ramp * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    torch.testing.assert_close(sigma[:-1], expected, rtol=1e-9, atol=0)


def test_a_thousand_uniform_steps_are_ddpms_chain():
    chain = torch.arange(1000, -1, -1, dtype=torch.float64) / 1000
    torch.testing.assert_close(Uniform()(DiscreteVP.linear(1000), 1000), chain, rtol=0, atol=1e-14)


@each(COUNTED)
def test_a_network_that_breaks_names_the_step_and_t(make: Make):
    class Breaks(GaussianMixtureDenoiser):
        """NaN for one sample below t = .5."""

        def forward(self, x_t: Tensor, t: Tensor, **condition) -> Posterior:
            mean = super().forward(x_t, t).mean.clone()
            mean[1] = torch.where(t.expand(len(x_t))[1] < 0.5, torch.nan, mean[1])
            return Posterior(mean)

        def log_density(self, x_t: Tensor, t: Tensor, **condition) -> Tensor:
            return super().log_density(x_t, t) + self(x_t, t).mean.sum(1)

    denoiser = Breaks(torch.ones(1), torch.zeros(1, 3), torch.ones(1), VP())
    with pytest.raises(UserError, match=r"1 of 4 (samples are not finite after step \d of 6, from|.*at) t = \d"):
        make(6)(denoiser, (4, 3), seed=0)


def test_times_must_fall_inside_their_range():
    denoiser, x, noise = mixture(VP()), torch.zeros(2, 3, dtype=torch.float64), Randomness(0, torch.arange(2))
    for times, found in (
        ([0.5, 0.6, 0.1], r"times\[0\] = 0.5, times\[1\] = 0.6"),
        ([0.5, 0.5], r"times\[1\] = 0.5"),
        ([1.2, 0.5], r"times\[0\] = 1.2"),
        ([0.5, -0.1], r"times\[1\] = -0.1"),
        ([0.5, float("nan")], r"times\[1\] = nan"),
    ):
        with pytest.raises(UserError, match=f"grid: .*{found}.*fall strictly"):
            DDIM(2).integrate(denoiser, x, torch.tensor(times, dtype=torch.float64), noise)


def test_a_schedule_whose_snr_rises_is_refused():
    class Rises(VP):
        def log_alpha(self, t: Tensor) -> Tensor:
            return -((t - 0.5).square() + 0.1)

    with pytest.raises(
        UserError, match=r"Rises: log-SNR goes from .* at t = 0.4006 to .* at t = 0.2008.* falls with t"
    ):
        Heun(6, grid=Uniform())(mixture(Rises()), (2, 3), seed=0)

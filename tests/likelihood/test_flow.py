from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser, GaussianMixtureDenoiser
from diffusion_lit.denoise import Denoiser, NetworkDenoiser, Posterior
from diffusion_lit.divergence import Exact, Hutchinson
from diffusion_lit.errors import UserError
from diffusion_lit.likelihood import HEUN, RK4, DormandPrince, FixedSteps, GaussianPrior, ProbabilityFlowNLL, Solver
from diffusion_lit.networks import haar
from diffusion_lit.networks.mlp import MLP
from diffusion_lit.noise import EDM, VE, VP, Cosine, Rectified, Schedule, SubVP

from .exact import ExactPrior, gaussian, ring

Data = Callable[[Schedule], GaussianMixtureDenoiser]
every_data = pytest.mark.parametrize("data", [ring, gaussian])
every_schedule = pytest.mark.parametrize(
    "schedule",
    [VP(), SubVP(), VE(), EDM(), Cosine(), Rectified()],
    ids=["vp", "subvp", "ve", "edm", "cosine", "rectified"],
)
FINE = DormandPrince()


@every_data
@every_schedule
def test_every_schedule_gives_the_exact_density(data: Data, schedule: Schedule):
    exact = data(schedule)
    x = exact.sample(16, seed=1)
    nll = ProbabilityFlowNLL(Exact(None), FINE, prior=ExactPrior(exact))(exact, x)
    torch.testing.assert_close(nll, -exact.log_prob(x), rtol=0, atol=1e-3)


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_the_scale_is_only_a_choice_of_coordinates(scale: float):
    exact = ring(VP())
    x = exact.sample(16, seed=1)
    nll = ProbabilityFlowNLL(Exact(None), FINE, scale=scale, prior=ExactPrior(exact))(exact, x)
    torch.testing.assert_close(nll, -exact.log_prob(x), rtol=0, atol=1e-3)


def test_for_data_of_the_scale_nothing_moves():
    """One step is exact, and what is left is the prior."""
    exact = GaussianDenoiser(torch.zeros(3), torch.tensor(0.49, dtype=torch.float64), VP())
    x = exact.sample(8, seed=0)
    nll = ProbabilityFlowNLL(Exact(), FixedSteps(1), scale=0.7, prior=GaussianPrior(0.0, 0.49))(exact, x)
    torch.testing.assert_close(nll, -exact.log_prob(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("tableau", "order", "steps"), [(HEUN, 2, 12), (RK4, 4, 12)], ids=["heun", "rk4"])
def test_order_of_convergence(tableau, order: int, steps: int):
    exact = gaussian(VP())
    x = exact.sample(16, seed=1)

    def nll(steps: int) -> Tensor:
        return ProbabilityFlowNLL(Exact(None), FixedSteps(steps, tableau))(exact, x)

    coarse, middle, fine = nll(steps), nll(2 * steps), nll(4 * steps)
    measured = ((coarse - middle).norm() / (middle - fine).norm()).log2().item()
    assert measured == pytest.approx(order, abs=0.2)


def test_random_projections_are_unbiased():
    exact = gaussian(VP())
    x = exact.sample(1, seed=1)
    solver = FixedSteps(10)
    expected = ProbabilityFlowNLL(Exact(None), solver)(exact, x)
    draws = ProbabilityFlowNLL(Hutchinson(), solver)(exact, x.expand(2000, -1), seed=3)
    error = draws.mean() - expected[0]
    assert abs(error.item()) <= 3 * draws.std().item() / 2000**0.5  # 3 SE
    assert draws.std() > 0.1  # there is an error to bound


def test_the_ends_it_does_not_know():
    """With N(0, sigma_1^2) for x_1 the error is that prior's: what alpha_1 leaves of the data's mean and variance."""
    exact, schedule = gaussian(VE()), VE()
    x = exact.sample(64, seed=1)
    truth = -exact.log_prob(x)
    plain = (ProbabilityFlowNLL(Exact(None), FINE)(exact, x) - truth).abs().max()
    moments = GaussianPrior(exact.means[0], exact.covariance(x[:1], torch.tensor(1.0))[0].diagonal())
    matched = (ProbabilityFlowNLL(Exact(None), FINE, prior=moments)(exact, x) - truth).abs().max()
    assert 0.01 < plain < 0.1  # a shift of |mean| / sigma_1 = 1.2 / 50 against a normal number of size up to 3
    assert matched < 3e-3  # the variances off the axes over sigma_1^2, 1 / 2500
    assert schedule(torch.tensor(1.0))[1] == pytest.approx(50)


@pytest.mark.parametrize("solver", [FixedSteps(5), DormandPrince(1e-2, 1e-2)], ids=["fixed", "adaptive"])
def test_a_sample_depends_on_seed_and_id_only(solver: Solver):
    exact = ring(VP())
    x, ids = exact.sample(6, seed=1), torch.tensor([7, 1, 5, 0, 2, 9])
    estimate = ProbabilityFlowNLL(Hutchinson(projections=2), solver)
    together = estimate(exact, x, seed=4, ids=ids)
    torch.testing.assert_close(
        estimate(exact, x[[4, 2]], seed=4, ids=ids[[4, 2]]), together[[4, 2]], rtol=1e-10, atol=1e-10
    )
    assert not torch.allclose(estimate(exact, x, seed=5, ids=ids), together)


def test_a_network_with_labels_in_float32():
    torch.manual_seed(0)
    network = MLP(features=3, width=16, depth=1, classes=2)
    torch.nn.init.normal_(network.head.weight, std=0.2)
    assert network.embedding.label is not None
    torch.nn.init.normal_(network.embedding.label.weight)
    torch.nn.init.normal_(network.blocks[0].outer.weight, std=0.2)
    denoiser = NetworkDenoiser(network, EDM())
    x, label = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 1, 0])
    nll = ProbabilityFlowNLL(solver=FixedSteps(12), scale=0.5)
    together = nll(denoiser, x, label=label)
    assert together.dtype == torch.float64
    assert not torch.allclose(together, nll(denoiser, x, label=1 - label), atol=1e-3)
    wide = nll(NetworkDenoiser(network.double(), EDM()), x, label=label)
    torch.testing.assert_close(together, wide, rtol=0, atol=1e-3)


class Broken(Denoiser):
    """NaN below t = 0.5."""

    def forward(self, x_t: Tensor, t: Tensor, **condition) -> Posterior:
        return Posterior(torch.where(t.reshape(-1, *[1] * (x_t.ndim - 1)) < 0.5, x_t * torch.nan, x_t))


def test_bad_input_is_told():
    with pytest.raises(UserError, match=r"Broken: not finite at t = 0\.001"):
        ProbabilityFlowNLL()(Broken(VP()), torch.zeros(2, 3))
    with pytest.raises(UserError, match=r"t_min: 1\.5"):
        ProbabilityFlowNLL(t_min=1.5)(ring(VP()), torch.zeros(2, 2))
    with pytest.raises(UserError, match=r"scale: 0\.0"):
        ProbabilityFlowNLL(scale=0.0)
    with pytest.raises(UserError, match="steps: 0"):
        FixedSteps(0)


def test_an_orthonormal_folding_keeps_the_likelihood():
    """Noise stays white under the Haar transform, so its flow is the flow of the images, folded."""
    means = torch.randn(3, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mixture = GaussianMixtureDenoiser(torch.ones(3), means, torch.full((3,), 0.3), VP())

    class Folded(Denoiser):
        def forward(self, x_t, t, **condition):
            return Posterior(haar.fold(mixture(haar.unfold(x_t), t).mean))

    x = mixture.sample(6, seed=1)
    nll = ProbabilityFlowNLL(Exact(), FixedSteps(10))
    torch.testing.assert_close(nll(Folded(VP()), haar.fold(x)), nll(mixture, x), rtol=1e-6, atol=1e-6)

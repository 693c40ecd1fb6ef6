"""Images of sizes that a network does not take are parts of larger ones, and nothing is made up at their border."""

import pytest
import torch

from diffusion_lit.denoise import Denoiser, NetworkDenoiser, Posterior
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, Inpainting, LinearOperator, Measurement, Operator, methods
from diffusion_lit.inverse.operators import check_adjoint, operators
from diffusion_lit.networks.dit import DiT
from diffusion_lit.networks.unet import UNet
from diffusion_lit.noise import VP
from diffusion_lit.restoration.sizes import Sizes, enlarge

f64 = torch.float64


def sizes(network: torch.nn.Module) -> Sizes:
    return Sizes(NetworkDenoiser(network, VP()), (1, 8, 8))


def test_a_size_is_rounded_up_as_far_as_the_network_needs():
    free = sizes(UNet(size=(8, 8), width=8, blocks=1, attention=(), fold=0))
    assert free(13, 9) == (13, 9)
    folded = sizes(UNet(size=(8, 8), width=8, blocks=1, attention=(), fold=2))
    assert folded(13, 9) == (16, 12)
    assert folded(8, 8) == (8, 8)
    assert sizes(DiT(size=(8, 8), patch=4, width=16, depth=1))(5, 9) == (8, 12)


class _Fixed(Denoiser):
    """Takes 8 x 8 and nothing else."""

    def forward(self, x_t, t, **condition):
        return Posterior(x_t * torch.ones(8, 8))


def test_a_network_of_one_size_takes_what_fits_in():
    fixed = Sizes(_Fixed(VP()), (1, 8, 8))
    assert fixed(8, 8) == (8, 8)
    assert fixed(5, 7) == (8, 8)
    with pytest.raises(UserError, match=r"no image of 11 x 9.*size=trained, or crop the images to 8 x 8"):
        fixed(11, 9)


def test_inpainting_stays_inpainting_and_hides_the_rest():
    operator = operators["inpaint_box"](shape=(1, 6, 5), size=2)
    larger, y = enlarge(operator, torch.ones(2, 1, 6, 5), (8, 8))
    assert isinstance(larger, Inpainting)
    assert y.shape == (2, 1, 8, 8)
    assert torch.equal(larger.observed[:, :6, :5], operator.observed)
    assert larger.y_size == operator.y_size
    same, y = enlarge(operator, torch.ones(2, 1, 6, 5), (6, 5))
    assert same is operator


@pytest.mark.parametrize("name", ["gaussian_blur", "average_pool", "fourier_mask", "gaussian_sensing"])
def test_a_linear_operator_of_a_part_is_one_of_the_whole(name):
    arguments = {"gaussian_blur": {"sigma": 1.0}, "average_pool": {"factor": 2}}
    operator = operators[name](shape=(1, 6, 4), **arguments.get(name, {}))
    assert isinstance(operator, LinearOperator)
    y = torch.randn(2, *operator.y_shape, dtype=f64, generator=torch.Generator().manual_seed(0))
    y = operator.place(operator.observe(y))
    larger, same = enlarge(operator, y, (8, 8))
    assert same is y
    assert isinstance(larger, LinearOperator)
    check_adjoint(larger)
    matrix = larger.matrix()
    torch.testing.assert_close(matrix.reshape(-1, 8, 8)[:, :6, :4].flatten(1), operator.matrix())
    assert float(matrix.reshape(-1, 8, 8)[:, 6:].abs().max()) == 0
    pinv = larger.pinv(y)
    torch.testing.assert_close(pinv.flatten(1), larger.observe(y) @ torch.linalg.pinv(matrix).mT, rtol=0, atol=1e-8)
    solved = larger.gram_solve(y, torch.tensor(2.0, dtype=f64), torch.tensor(0.3, dtype=f64))
    gram = 2.0 * matrix @ matrix.mT + 0.3 * torch.eye(len(matrix), dtype=f64)
    expected = torch.linalg.solve(gram, larger.observe(y).mT).mT
    torch.testing.assert_close(larger.observe(solved), expected, rtol=0, atol=1e-8)


def test_a_non_linear_operator_sees_the_part():
    operator = Operator.from_function(lambda x: x.square(), (1, 3, 3))
    larger, _ = enlarge(operator, torch.zeros(1, 1, 3, 3), (4, 4))
    assert not isinstance(larger, LinearOperator)
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    torch.testing.assert_close(larger(x), x[..., :3, :3].square())


def test_a_method_restores_the_part_as_if_it_were_the_whole():
    """A prior of independent pixels: what is around does not matter."""

    class White(Denoiser):
        def forward(self, x_t, t, **condition):
            alpha, sigma = self.schedule(t)
            return Posterior(alpha * x_t / (alpha**2 + sigma**2))

    operator = operators["gaussian_blur"](shape=(1, 4, 4), sigma=0.6)
    y = torch.randn(1, *operator.y_shape, generator=torch.Generator().manual_seed(1))
    means = []
    for size in ((4, 4), (6, 6)):
        larger, seen = enlarge(operator, y, size)
        drawn = methods["mmps"](steps=30, iterations=8)(
            White(VP()), Measurement(seen, larger, GaussianNoise(0.2)), samples=256, seed=0
        )
        means.append(drawn[0, ..., :4, :4].double().mean(0))
    assert float((means[0] - means[1]).abs().max()) < 0.3  # of two times 256 samples with a deviation below 1
    assert float((means[0] - means[1]).square().mean().sqrt()) < 0.08

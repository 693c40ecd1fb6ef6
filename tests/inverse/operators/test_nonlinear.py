"""Operators that are not linear: their closed forms, their symmetries, and that they are not linear."""

import numpy as np
import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, LinearOperator, Measurement, methods
from diffusion_lit.inverse.operators import check_linear, operators
from diffusion_lit.inverse.operators.nonlinear import _decode, _encode
from tests.inverse.problems import image_problem

X = torch.rand(2, 1, 8, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("name", ["nonlinear_blur", "hdr", "phase_retrieval"])
def test_they_are_not_linear_and_say_so(name: str) -> None:
    settings = {"length": 3} if name == "nonlinear_blur" else {}
    operator = operators[name](shape=(1, 8, 7), **settings)
    assert not isinstance(operator, LinearOperator)
    with pytest.raises(UserError, match="not linear"):
        check_linear(operator)
    denoiser, _ = image_problem()
    with pytest.raises(UserError, match="choose another method"):
        methods["mmps"](steps=2)(denoiser, Measurement(operator(X)[0], operator, GaussianNoise(0.1)))


def test_blur_of_light() -> None:
    u = torch.linspace(-0.5, 1.5, 201, dtype=torch.float64)
    torch.testing.assert_close(_encode(_decode(u)), u, atol=2e-4, rtol=0)  # the standard's joint is rounded
    assert float(_decode(torch.tensor(0.5, dtype=torch.float64))) == pytest.approx(0.2140, abs=1e-4)
    operator = operators["nonlinear_blur"](shape=(1, 8, 7), length=4, angle=0)
    flat = torch.full((1, 1, 8, 7), 0.3, dtype=torch.float64)
    torch.testing.assert_close(operator(flat), flat, atol=1e-4, rtol=0)
    edge = torch.full((1, 1, 8, 7), -1.0, dtype=torch.float64)
    edge[..., 4:] = 1
    linear = operators["motion_blur"](shape=(1, 8, 7), length=4, angle=0, boundary="reflect")(edge)
    assert float((operator(edge) - linear).min()) > -1e-3  # bright spreads into dark
    assert float((operator(edge) - linear).max()) > 0.3


def test_clipping() -> None:
    torch.testing.assert_close(operators["hdr"](shape=(1, 8, 7), gain=3)(X), (3 * X).clamp(-1, 1))


def test_the_modulus_and_what_it_cannot_see() -> None:
    operator = operators["phase_retrieval"](shape=(1, 8, 7), oversampling=2)
    padded = np.zeros((2, 1, 16, 14))
    padded[..., 4:12, 3:10] = X.numpy()
    expected = np.fft.fftshift(np.abs(np.fft.fft2(padded, norm="ortho")), axes=(-2, -1))
    torch.testing.assert_close(operator(X), torch.from_numpy(expected))
    torch.testing.assert_close(operator(-X), operator(X))
    torch.testing.assert_close(operator(X.flip(-1, -2)), operator(X))
    assert not torch.allclose(operator(X.flip(-1)), operator(X))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: operators["hdr"](shape=(1, 8, 7), gain=1.0), "clips nothing"),
        (lambda: operators["phase_retrieval"](shape=(1, 8, 7), oversampling=0.5), "would crop"),
        (lambda: operators["nonlinear_blur"](shape=(1, 8, 7), length=0), "length 0"),
        (lambda: operators["nonlinear_blur"](shape=(1, 8, 7), kernel=torch.zeros(3, 3)), "0 everywhere"),
    ],
)
def test_bad_input(make, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()

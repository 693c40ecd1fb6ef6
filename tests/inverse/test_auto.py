"""What `auto` picks, and that it says so."""

import logging

import pytest

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, LaplaceNoise, Measurement, NoNoise
from diffusion_lit.inverse.auto import Auto
from diffusion_lit.inverse.operators import operators
from tests.inverse.problems import gaussian_problem, image_problem, whitened


def picked(auto: Auto, operator: str, noise, **arguments) -> str:
    _, x = image_problem(1)
    measurement = Measurement.simulate(operators[operator](shape=(2, 5, 4), **arguments), noise, x[0], seed=1)
    return type(auto.choose(measurement).method).__name__


@pytest.mark.parametrize(
    ("operator", "noise", "products", "name"),
    [
        ("inpaint_half", GaussianNoise(0.1), 3, "DPS"),
        ("inpaint_half", GaussianNoise(0.1), 100, "MMPS"),
        ("inpaint_half", NoNoise(), 100, "DPS"),
        ("inpaint_half", LaplaceNoise(0.1), 3, "DPS"),
        ("inpaint_half", GaussianNoise(0.1), 0, "DiffPIR"),
        ("inpaint_half", NoNoise(), 0, "DDNM"),
        ("hdr", GaussianNoise(0.1), 3, "DPS"),
        ("hdr", GaussianNoise(0.1), 0, "DAPS"),
    ],
)
def test_choice(operator: str, noise, products: int, name: str) -> None:
    assert picked(Auto(products=products), operator, noise) == name


def test_it_says_what_it_picked_once(caplog: pytest.LogCaptureFixture) -> None:
    denoiser, measurement = gaussian_problem(1)
    auto = Auto(steps=4)
    with caplog.at_level(logging.INFO, logger="diffusion_lit"):
        auto(denoiser, measurement, samples=2)
        auto(denoiser, measurement, samples=2, seed=1)
    assert [record.getMessage() for record in caplog.records] == [
        "auto: MMPS, 2 measured values: Tweedie's covariance is inverted exactly"
    ]
    assert (auto.nfe, auto.vjps) == (4, 8)


def test_few_values_are_exact_on_gaussian_data() -> None:
    denoiser, measurement = gaussian_problem(2)
    x = Auto(steps=100)(denoiser, measurement, samples=4000, seed=7)
    assert whitened(x, denoiser.posterior(measurement))[1] < 0.13


def test_bad_input() -> None:
    with pytest.raises(UserError, match="products: -1"):
        Auto(products=-1)
    with pytest.raises(UserError, match="when it has seen a measurement"):
        _ = Auto().nfe

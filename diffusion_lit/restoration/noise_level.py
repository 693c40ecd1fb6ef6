"""The noise level of a measurement that nobody knows: from the finest details of y, or by maximum likelihood."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffusion_lit.inverse import GaussianNoise, Measurement, Operator

__all__ = ["by_likelihood", "from_details", "keeps_images"]

_MEDIAN = 0.6744898  # of |z|, z ~ N(0, 1)
_ENOUGH = 64  # details for a median


def from_details(y: Float[Tensor, "c h w"], observed: Bool[Tensor, "c h w"] | None = None) -> float | None:
    """median |d| / .6745 of the diagonal Haar details d = (a - b - c + d) / 2 of all 2 x 2 blocks.

    White noise of standard deviation sigma keeps it in d; a smooth image has next to nothing there, and edges are few,
    so that the median does not see them (Donoho & Johnstone 1994, section 4.2; the rule of
    skimage.restoration.estimate_sigma, here with the Haar wavelet, whose blocks keep clear of a mask). Blocks with a
    pixel at -1 or 1, where pixels are clipped, and blocks that are not measured whole do not count.

    Args:
        y: a measurement that looks like an image.
        observed: what is measured of it.

    Returns:
        sigma, or None if fewer than 64 blocks count.
    """
    counts = y.abs() != 1
    if observed is not None:
        counts = counts & observed.to(y.device)
    whole = counts[:, :-1, :-1] & counts[:, :-1, 1:] & counts[:, 1:, :-1] & counts[:, 1:, 1:]
    details = (y[:, :-1, :-1] - y[:, :-1, 1:] - y[:, 1:, :-1] + y[:, 1:, 1:]) / 2
    if int(whole.sum()) < _ENOUGH:
        return None
    return float(details[whole].abs().median()) / _MEDIAN


def keeps_images(operator: Operator) -> bool:
    """Whether A makes an image of an image: of one colour, of one colour, but perhaps for its border."""
    shape = operator.y_shape
    if len(shape) != 3 or min(shape[1:]) < 2:
        return False
    with torch.no_grad():
        plain = operator(torch.full((1, *operator.x_shape), 0.25))[0]
    found = from_details(plain, operator.observed)
    seen = operator.observe(plain[None])
    return found is not None and found < 1e-3 * float(seen.abs().median())


def by_likelihood(
    draw: Callable[[Measurement], Float[Tensor, "samples *x_shape"]],
    y: Float[Tensor, "*y_shape"],
    operator: Operator,
    rounds: int = 10,
    tolerance: float = 0.03,
) -> float:
    """The maximum of p(y | sigma) over sigma by EM (Dempster, Laird & Rubin 1977), with samples of the posterior.

    sigma^2 <- E[ ||y - A x||^2 | y, sigma ] / d_y: the noise that samples of the posterior leave, begun at the standard
    deviation of y. It is as right as the samples are.

    Args:
        draw: samples of p(x | y).
        y: the measurement.
        operator: A.
        rounds: at most so many times.
        tolerance: stops when sigma changes by a smaller part.
    """
    sigma = max(float(operator.observe(y[None]).std()), 1e-3)
    for _ in range(rounds):
        measurement = Measurement(y, operator, GaussianNoise(sigma))
        residual = operator.observe(measurement.residual(draw(measurement)))
        last, sigma = sigma, float(residual.square().mean().sqrt())
        if abs(sigma - last) < tolerance * last:
            break
    return sigma

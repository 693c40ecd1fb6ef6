"""Sigma^-1/2, after which the noise of a measurement is white: for methods that know white noise only."""

from torch import Tensor

from diffusion_lit.inverse.noise import Gaussian
from diffusion_lit.inverse.operators.linear import LinearOperator

__all__ = ["Whitening"]


class Whitening(LinearOperator):
    """z = Sigma^-1/2 y, symmetric, on the measured entries of y; 0 elsewhere.

    Args:
        noise: N(0, Sigma) of the measured entries, the same for every image of a batch.
        like: the operator whose y it is.
    """

    def __init__(self, noise: Gaussian, like: LinearOperator):
        super().__init__(like.y_shape, like.y_shape, like.observed)
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        return self.place(self.noise.whiten(self.observe(x)))

    def transpose(self, y: Tensor) -> Tensor:
        return self.forward(y)

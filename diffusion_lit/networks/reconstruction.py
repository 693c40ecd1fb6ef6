"""An energy made of a network that reconstructs: how far it moves its input."""

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Reconstruction"]


class Reconstruction(nn.Module):
    """E(x) = |x - f(x)|^2 / 2, never negative, of a network f that returns its input's shape.

    Salimans & Ho 2021, "Should EBMs model the energy or the score?", Sec. 2 (as recalled, not checked).

    Args:
        network: f(x (B, *), noise_level (B,), **condition) -> (B, *).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, x: Float[Tensor, "batch *event"], noise_level: Float[Tensor, " batch"], **condition: Tensor
    ) -> Float[Tensor, " batch"]:
        """Return the energy of each x (B, *), already scaled by c_in."""
        return (x - self.network(x, noise_level, **condition)).square().flatten(1).sum(1) / 2

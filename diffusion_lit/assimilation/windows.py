"""A denoiser of short windows becomes a denoiser of trajectories (Rozet & Louppe 2023, section 3.1, algorithm 2)."""

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, Posterior
from diffusion_lit.errors import UserError

__all__ = ["WindowedDenoiser"]


class WindowedDenoiser(Denoiser):
    """E[x_i | the noisy states i - k .. i + k] for each state i of a trajectory of any length L >= 2 k + 1.

    Every window of 2 k + 1 states is denoised; of the first the states up to its centre are kept, of the last those
    from its centre on, of the others the centre (algorithm 2). Of the states i - k .. i + k those at hand are then
    seen, so that an end state, which has neighbours on one side only, sees 2 k of them.

    The score of x_i given all other noisy states is taken for the score given a "pseudo-blanket" of 2 k of them. For
    independent states that is exact. For a Markov chain it is exact without noise if k >= 1, since the two neighbours
    are then a Markov blanket, and in the limit of pure noise; between, a noisy neighbour does not screen off the states
    behind it. On a linear-Gaussian chain x_{i+1} = a x_i + N(0, q), seen at relative noise s = sigma_t / alpha_t, the
    error of D falls by the smoother's factor l with each state of k,

        l + 1 / l = (1 + a^2 + q / s^2) / a,    l ~ a s^2 / q for small s, l -> |a| for large s,

    and with it that of the score, as s^(2 k): a window must be longer than the memory of the chain, or than the number
    of steps in which noise of the size of s has been forgotten.

    Args:
        denoiser: of windows, which it is given flat, (N, (2 k + 1) features): an MLP, or `GaussianDenoiser`.
        k: the reach, >= 0: 0 takes states for independent.
        features: numbers of one state. Events are (L, features), flat (L * features,), or have any shape whose
            row-major order is that.
    """

    def __init__(self, denoiser: Denoiser, k: int, features: int):
        super().__init__(denoiser.schedule)
        if k < 0 or features < 1:
            raise UserError(f"k, features: {k}, {features}; a window has 2 k + 1 >= 1 states of at least 1 number")
        self.denoiser, self.k, self.features = denoiser, k, features

    @property
    def reference(self) -> Tensor:
        return self.denoiser.reference

    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        """Denoise trajectories.

        Args:
            x_t: (B, *event).
            t: () or (B,).
            condition: of each trajectory, tensors (B, *), or for all; passed on with every window.

        Raises:
            UserError: the event is not a whole number of states, or shorter than a window.
        """
        width, size = 2 * self.k + 1, x_t[0].numel()
        length = size // self.features
        if length * self.features != size or length < width:
            raise UserError(
                f"trajectory: events of {tuple(x_t.shape[1:])} are {size / self.features:g} states of {self.features}; "
                f"give a whole number, at least the {width} of a window"
            )
        windows = x_t.reshape(len(x_t), length, self.features).unfold(1, width, 1)  # (B, L - 2 k, C, 2 k + 1)
        count = windows.shape[1]
        each = {
            key: value.repeat_interleave(count, 0) if isinstance(value, Tensor) and value.ndim else value
            for key, value in condition.items()
        }
        times = t.repeat_interleave(count) if t.ndim else t
        posterior = self.denoiser(windows.mT.reshape(len(x_t) * count, width * self.features), times, **each)
        mean, variance = (v if v is None else self._compose(v, count).reshape(x_t.shape) for v in posterior)
        assert mean is not None
        return Posterior(mean, variance)

    def _compose(self, windows: Tensor, count: int) -> Tensor:
        """(B (L - 2 k), (2 k + 1) C) -> (B, L, C)."""
        k = self.k
        windows = windows.reshape(-1, count, 2 * k + 1, self.features)
        return torch.cat((windows[:, 0, :k], windows[:, :, k], windows[:, -1, k + 1 :]), 1)

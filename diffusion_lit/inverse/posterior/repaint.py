"""RePaint: replacement that goes back and forth to let hidden and measured pixels agree (Lugmayr et al. 2022)."""

from diffusion_lit.inverse.posterior.jumps import Jumps
from diffusion_lit.inverse.posterior.replacement import Replacement
from diffusion_lit.samplers.grids import Grid

__all__ = ["RePaint"]


class RePaint(Replacement):
    """Replacement with resampling: after every `jump_length` levels it diffuses back up and comes down again.

    Args:
        steps: levels of the grid; the paper's 250.
        jump_length: levels of one jump up.
        jump_n_sample: passes over each stretch; 1 is plain replacement.
        grid: of times, as for Replacement.

    Raises:
        UserError: jump_length or jump_n_sample is below 1.
    """

    def __init__(self, steps: int = 250, jump_length: int = 10, jump_n_sample: int = 10, grid: Grid | None = None):
        super().__init__(steps, grid)
        self.jumps = Jumps(steps, jump_length, jump_n_sample)

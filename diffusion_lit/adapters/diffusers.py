"""A diffusers model folder as a denoiser: UNet2DModel in safetensors, and the betas of its scheduler's configuration.

The one place that imports diffusers, and only when a folder is loaded: pip install diffusion_lit[diffusers].
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffusion_lit.adapters.function import FunctionDenoiser
from diffusion_lit.denoise import Denoiser, Interpolated
from diffusion_lit.errors import UserError
from diffusion_lit.noise import DiscreteVP

__all__ = ["DiffusersFolder", "load_diffusers"]

_PREDICTS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
_BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")


def load_diffusers(path: str | Path) -> Denoiser:
    """Return the denoiser of a diffusers folder, on the CPU and in eval mode.

    It is the mean that the network's prediction says, at t = (step + 1) / T. What a scheduler does besides when it
    samples (clip_sample, thresholding, its spacing of steps) is a sampler's affair here: see `Clipped`.

    Args:
        path: a pipeline's folder, with unet/ and scheduler/, or one that holds config.json, the weights and
            scheduler_config.json side by side. Class labels are the condition `label`.

    Raises:
        UserError: diffusers is missing, or a file, or the model is of another kind; the message names the key.
    """
    return DiffusersFolder.read(path).load()


@dataclass(frozen=True)
class DiffusersFolder:
    """What the JSON files of a diffusers folder say.

    Attributes:
        unet: the folder of the network.
        network: its config.json.
        scheduler: scheduler_config.json.
    """

    unet: Path
    network: Mapping[str, Any]
    scheduler: Mapping[str, Any]

    @staticmethod
    def is_one(path: str | Path) -> bool:
        """Whether `path` is a folder of a diffusers network."""
        return any((Path(path) / inner / "config.json").is_file() for inner in ("unet", "."))

    @classmethod
    def read(cls, path: str | Path) -> "DiffusersFolder":
        """Read the two configurations; raises UserError if one is missing or of another kind of model."""
        path = Path(path)
        unet = path / "unet" if (path / "unet").is_dir() else path
        network = _json(unet / "config.json")
        if network.get("_class_name") != "UNet2DModel":
            raise UserError(
                f"{unet / 'config.json'}: _class_name is {network.get('_class_name')!r}, but only a UNet2DModel is "
                f"read; make any other network a FunctionDenoiser"
            )
        places = [path / "scheduler" / "scheduler_config.json", path / "scheduler_config.json"]
        scheduler = next((place for place in places if place.is_file()), None)
        if scheduler is None:
            raise UserError(f"{path}: has no scheduler_config.json, so its noise is unknown; put it beside the network")
        return cls(unet, network, _json(scheduler))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images it was trained on."""
        size = self.network.get("sample_size")
        if size is None:
            raise UserError(f"{self.unet / 'config.json'}: sample_size is null; set it to the size of the images")
        height, width = (size, size) if isinstance(size, int) else size
        return int(self.network.get("in_channels", 3)), int(height), int(width)

    @property
    def weights(self) -> Path:
        """The file of the weights."""
        found = sorted(self.unet.glob("*.safetensors"))
        if not found:
            raise UserError(
                f"{self.unet}: holds no .safetensors file; other formats could run any program and are not read. "
                f"Save the model again with save_pretrained(path, safe_serialization=True)"
            )
        return found[0]

    @property
    def schedule(self) -> DiscreteVP:
        """The chain of its betas.

        Raises:
            UserError: betas that are not known here, or a chain that ends without signal.
        """
        given = self.scheduler
        steps, kind = int(given.get("num_train_timesteps", 1000)), given.get("beta_schedule", "linear")
        if given.get("rescale_betas_zero_snr"):
            raise UserError(
                "scheduler_config.json: rescale_betas_zero_snr is true, so alpha = 0 at the last step, where no mean "
                "of x_0 follows from eps; such models are not read"
            )
        if given.get("trained_betas") is not None:
            return DiscreteVP(torch.tensor(given["trained_betas"], dtype=torch.float64))
        if "beta_schedule" not in given or kind not in _BETAS:
            name = given.get("_class_name", "this scheduler")
            found = repr(kind) if "beta_schedule" in given else "missing"
            raise UserError(
                f"scheduler_config.json: beta_schedule of {name} is {found}; known are {', '.join(_BETAS)} and "
                f"trained_betas. Make the network a FunctionDenoiser with the schedule it was trained for"
            )
        if kind == "squaredcos_cap_v2":
            return DiscreteVP.cosine(steps)
        low, high = float(given.get("beta_start", 1e-4)), float(given.get("beta_end", 0.02))
        if kind == "linear":
            return DiscreteVP.linear(steps, low, high)
        return DiscreteVP(torch.linspace(low**0.5, high**0.5, steps, dtype=torch.float64).square())

    def load(self) -> Denoiser:
        """Build the network, read its weights and make it a denoiser; see `load_diffusers`."""
        predicts, schedule = self.scheduler.get("prediction_type", "epsilon"), self.schedule
        if predicts not in _PREDICTS:
            raise UserError(f"scheduler_config.json: prediction_type is {predicts!r}; known are {', '.join(_PREDICTS)}")
        try:
            from diffusers.models.unets.unet_2d import UNet2DModel
        except ImportError as error:
            raise UserError(
                f"{self.unet}: a diffusers folder needs diffusers ({error}): pip install 'diffusion_lit[diffusers]'"
            ) from error
        weights, variance = self.weights, self._variance(schedule.steps)
        try:
            unet: Any = UNet2DModel.from_pretrained(
                self.unet, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
            )
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise UserError(f"{weights}: does not load ({' '.join(str(error).split())})") from error
        return FunctionDenoiser(
            lambda x, step, label=None: unet(x, step, class_labels=label).sample,
            _PREDICTS[predicts],
            schedule,
            time="index" if self.network.get("time_embedding_type") == "learned" else "step",
            variance=variance,
            network=unet,
        ).eval()

    def _variance(self, steps: int) -> Interpolated | None:
        channels, kind = int(self.network.get("in_channels", 3)), self.scheduler.get("variance_type")
        if int(self.network.get("out_channels", 3)) == channels:
            return None
        if kind != "learned_range":
            raise UserError(
                f"{self.unet / 'config.json'}: out_channels is {self.network.get('out_channels')} with in_channels "
                f"{channels}, and variance_type is {kind!r}; more channels than images have are read as a variance of "
                f"the type 'learned_range'"
            )
        return Interpolated(steps)


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); give a folder as diffusers' save_pretrained writes it"
        ) from error

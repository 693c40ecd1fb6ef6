"""Read checkpoints: tensors and plain Python only, in one call, without a configuration."""

import pickle
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from torch import Tensor

from diffusion_lit.adapters import DiffusersFolder
from diffusion_lit.denoise import Denoiser
from diffusion_lit.errors import UserError

__all__ = [
    "FORMAT",
    "LAST",
    "PREVIOUS",
    "Prior",
    "assemble",
    "load",
    "load_prior",
    "locate",
    "put",
    "read",
    "saved",
    "weights",
]

FORMAT = 1  # of what checkpoints of this version hold; higher ones are refused, lower ones are read
LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


class Prior(NamedTuple):
    """A denoiser and where it is from.

    Attributes:
        denoiser: on the CPU and in eval mode.
        shape: of the samples that it was trained on, such as (C, H, W).
        file: of its weights.
        folder: of the run or the model.
    """

    denoiser: Denoiser
    shape: tuple[int, ...]
    file: Path
    folder: Path


def load(path: str | Path, ema: float | None = None) -> Denoiser:
    """Return the denoiser of a checkpoint, of a run folder or of a diffusers folder, on the CPU and in eval mode.

    Args:
        path: a .ckpt file, a run folder, whose last checkpoint is taken, or a folder that diffusers wrote.
        ema: width of the averaged weights; None takes the first that was kept, 0 the weights of the last step.

    Raises:
        UserError: no such file, a damaged one, one that holds pickled code (which is never executed), or no such
            average.
    """
    return load_prior(path, ema).denoiser


def load_prior(path: str | Path, ema: float | None = None) -> Prior:
    """Return the denoiser and what is known of it; see `load`."""
    path = Path(path)
    if DiffusersFolder.is_one(path):
        if ema:
            raise UserError(f"{path}: a diffusers folder holds no averages; leave out ema, or set it to 0")
        folder = DiffusersFolder.read(path)
        return Prior(folder.load(), folder.shape, folder.weights, path)
    file = locate(path)
    checkpoint = read(file)
    denoiser = assemble(checkpoint, ema, file)
    return Prior(denoiser, tuple(checkpoint["diffusion_lit"].get("shape", ())), file, file.parent.parent)


def assemble(checkpoint: Mapping[str, Any], ema: float | None, file: Path) -> Denoiser:
    """Build the denoiser of a checkpoint that was read from `file`; see `load`."""
    config = checkpoint.get("diffusion_lit", {}).get("model")
    if config is None:
        raise UserError(f"{file}: does not say how its denoiser is built; only checkpoints of `diffusion-lit train` do")
    _check_targets(config, file)
    try:
        denoiser = instantiate(config)
    except InstantiationException as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{file}: its denoiser cannot be built ({reason}); was it written by another version of diffusion_lit?"
        ) from error
    put(weights(checkpoint, ema, file), denoiser, file)
    return denoiser.eval()


def saved(run: str | Path) -> list[Path]:
    """The checkpoints of a run folder, from new to old: the last, the one before, those that were kept."""
    folder = Path(run) / "checkpoints"
    kept = sorted(folder.glob("images-*.ckpt"), reverse=True)
    return [file for file in (folder / LAST, folder / PREVIOUS, *kept) if file.is_file()]


def locate(path: str | Path) -> Path:
    """The checkpoint that `path` means: itself, or the last one of a run folder; UserError if there is none."""
    path = Path(path)
    file = next(iter(saved(path)), path / "checkpoints" / LAST) if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{file}: no such checkpoint; give a .ckpt file or a run folder, such as runs/demo")
    return file


def read(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        UserError: it is damaged (a checksum of its parts differs), holds anything but tensors and plain Python, or was
            written by a later version that this one does not understand.
    """
    try:
        if zipfile.is_zipfile(path):  # torch writes the CRC-32 of each tensor, and does not look at it
            with zipfile.ZipFile(path) as archive:
                if (part := archive.testzip()) is not None:
                    raise ValueError(f"the checksum of {part} differs")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"{path}: holds pickled objects other than tensors and plain Python, and was not opened: they could run "
            f"any program. Use checkpoints written by `diffusion-lit train`, or save the other project's state_dict "
            f"alone. ({reason})"
        ) from error
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path}: is damaged or not a checkpoint ({reason}); take another one of the same folder, if there is one"
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{path}: is not a checkpoint of `diffusion-lit train`: it has no state_dict")
    about = checkpoint.get("diffusion_lit", {})
    if about.get("format", 0) > FORMAT:
        raise UserError(
            f"{path}: was written by diffusion_lit {about.get('version')} in format {about['format']}; this one reads "
            f"formats up to {FORMAT}: install that version or a later one"
        )
    return checkpoint


def weights(checkpoint: Mapping[str, Any], ema: float | None, path: Path) -> dict[str, Tensor]:
    """The denoiser's state_dict, with the averaged weights of width `ema` in place; UserError if there are none."""
    prefix = "denoiser."
    state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    averages = checkpoint.get("ema", {})
    if ema is None:
        ema = next(iter(averages), 0.0)
    if ema == 0:
        return state
    if ema not in averages:
        raise UserError(f"{path}: has no average of width {ema}; ema is one of {[0, *averages]}, 0 being without")
    return state | averages[ema]


def put(state: Mapping[str, Tensor], denoiser: Denoiser, path: Path) -> None:
    """Load a state_dict into a denoiser of the same architecture; UserError names the first difference."""
    own = denoiser.state_dict()
    differences = [
        f"{name}: {tuple(state[name].shape) if name in state else 'missing'} in the checkpoint, "
        f"{tuple(own[name].shape) if name in own else 'missing'} here"
        for name in sorted({*own, *state})
        if name not in own or name not in state or own[name].shape != state[name].shape
    ]
    if differences:
        raise UserError(
            f"{path}: is of another architecture ({differences[0]}; {len(differences)} of {len(own)} tensors differ). "
            f"Give the model of that run, whose config.yaml stands beside its checkpoints, or another checkpoint."
        )
    denoiser.load_state_dict(state)


def _check_targets(config: Any, path: Path) -> None:
    """Refuse to build anything but our own denoisers: a checkpoint may come from anywhere."""
    if isinstance(config, Mapping):
        target = config.get("_target_")
        if target is not None and not _is_ours(target):
            raise UserError(
                f"{path}: asks to build {target!r}, which is no denoiser of diffusion_lit; it was not built"
            )
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        for value in config:
            _check_targets(value, path)


def _is_ours(target: Any) -> bool:
    """Whether a target is defined, not only found, in our mathematics: a module's dots lead to all that it imports."""
    if not isinstance(target, str) or not re.fullmatch(
        r"diffusion_lit\.(networks|noise|denoise|reverse|analytic|energy)(\.\w+)+", target
    ):
        return False
    try:
        return str(getattr(get_object(target), "__module__", "")).startswith("diffusion_lit.")
    except ImportError:
        return False

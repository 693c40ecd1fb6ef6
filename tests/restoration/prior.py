"""An exact prior in the form of a checkpoint: an untrained U-Net, whose head is zero, in EDM's preconditioning.

F = 0 makes D = .25 alpha x_t / (.25 alpha^2 + sigma^2): the denoiser of N(0, .25 I), for images of any even size.
"""

from pathlib import Path

import torch

from diffusion_lit.denoise import NetworkDenoiser
from diffusion_lit.networks.unet import UNet
from diffusion_lit.noise import VP

SPREAD = 0.5  # standard deviation of a pixel


def write_prior(folder: Path, channels: int = 1) -> Path:
    """Write the run folder of an untrained network for 8x8 images."""
    network = {"channels": channels, "size": [8, 8], "width": 8, "blocks": 1, "attention": [], "fold": 1}
    model = {
        "_target_": "diffusion_lit.denoise.NetworkDenoiser",
        "schedule": {"_target_": "diffusion_lit.noise.VP"},
        "preconditioning": {"_target_": "diffusion_lit.denoise.Preconditioning.edm", "sigma_data": SPREAD},
        "network": {"_target_": "diffusion_lit.networks.unet.UNet", **network},
    }
    state = NetworkDenoiser(UNet(**network), VP()).state_dict()
    file = folder / "checkpoints" / "last.ckpt"
    file.parent.mkdir(parents=True)
    about = {"model": model, "shape": [channels, 8, 8], "images_seen": 0}
    torch.save({"state_dict": {f"denoiser.{k}": v for k, v in state.items()}, "diffusion_lit": about}, file)
    return folder

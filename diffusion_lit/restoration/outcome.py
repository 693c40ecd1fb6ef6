"""What a restored image leaves: a row of the table, arrays and pictures."""

import numpy as np
from torch import Tensor

from diffusion_lit.callbacks.pictures import to_bytes, write_png
from diffusion_lit.files import writing
from diffusion_lit.inverse import GaussianNoise, Measurement
from diffusion_lit.metrics.image import WINDOW, psnr, ssim
from diffusion_lit.restoration.case import Case
from diffusion_lit.restoration.folder import Folder

__all__ = ["describe", "write"]


def describe(case: Case, samples: Tensor) -> dict[str, float | str]:
    """What is said of one image by its samples (n, C, H, W); scores are of what would be shown, clamped to [-1, 1]."""
    mean, operator = samples.mean(0).clamp(-1, 1)[None], case.operator
    row: dict[str, float | str] = {"size": " x ".join(map(str, operator.x_shape[1:])), "sigma": case.sigma}
    if case.how:
        row["sigma_from"] = case.how
    if case.truth is not None:
        truth = case.truth[None]
        row |= {"psnr": float(psnr(mean, truth)), "psnr_sample": float(psnr(samples[:1].clamp(-1, 1), truth))}
        if operator.hidden is not None:
            row["psnr_hidden"] = float(psnr(mean, truth, operator.hidden))
        if min(truth.shape[-2:]) >= WINDOW:
            row["ssim"] = float(ssim(mean, truth))
    if case.sigma > 0:
        measurement = Measurement(case.y, operator, GaussianNoise(case.sigma))
        row["misfit_ratio"] = float(measurement.misfit(samples).mean()) / measurement.expected_misfit
    if len(samples) > 1:
        row["deviation"] = float(samples.var(0).mean().sqrt())
    return row


def write(case: Case, samples: Tensor, row: dict[str, float | str], folder: Folder) -> None:
    """Write the arrays and the pictures of an image into the folder, and its row: it is finished then."""
    mean = samples.mean(0)
    arrays = {"samples": samples, "mean": mean}
    pictures = {"measured": case.y, "truth": case.truth, "sample": samples[0], "mean": mean}
    if len(samples) > 1:
        arrays["deviation"] = samples.std(0)
        # over the colours, so bright that it can be seen
        deviation = samples.var(0).mean(0, keepdim=True).sqrt()
        white = max(float(deviation.flatten().quantile(0.999)) if deviation.numel() < 2**24 else 1.0, 1e-6)
        row["deviation_white"] = white
        pictures["deviation"] = 2 * deviation / white - 1
    with writing(folder.place("arrays", case.entry, ".npz")) as aside, open(aside, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{name: values.numpy() for name, values in arrays.items()})
    for kind, image in pictures.items():
        if image is not None and image.ndim == 3 and image.shape[0] in (1, 3):
            write_png(folder.place(kind, case.entry, ".png"), to_bytes(image).permute(1, 2, 0))
    folder.finish(case.entry, case.digest, row)

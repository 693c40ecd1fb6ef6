"""A run folder such as training leaves behind, made up in a moment, for the tests of everything that reads one."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from diffusion_lit.tracking import RunRecord, lines

__all__ = ["CONFIG", "SUMMARY", "make_run"]

CONFIG = {
    "task_name": "demo",
    "tags": ["mnist"],
    "seed": 0,
    "batch_size": 128,
    "max_images": 12_800,
    "model": {"network": {"width": 32, "attention": [7]}, "objective": {"weighting": "edm"}},
    "data": {"name": "mnist5k", "root": "/somewhere", "num_workers": 2},
    "paths": {"run": "/somewhere/runs/demo"},
}
SUMMARY = {
    "psnr_hidden/posterior_mean": 14.123,
    "psnr_hidden/sample": 12.5,
    "psnr_hidden/biharmonic": 7.41,
    "psnr_hidden/mean_image": 7.52,
    "psnr_hidden/gaussian": 10.53,
    "lpips/sample": 0.0712,
    "lpips/biharmonic": 0.214,
    "lpips/gaussian": 0.181,
    "misfit_ratio": 1.013,
    "fd_alex/model": 9.91,
    "fd_alex/gaussian": 41.2,
    "fd_alex/floor": 2.37,
    "images_seen": 12_800,
    "train_seconds": 251.3,
    "nfe_per_sample": 35,
}
COLUMNS = ["truth", "measurement", "sample 1", "sample 2", "sample 3", "mean", "standard deviation"]


def make_run(folder: Path, **changes: object) -> Path:
    """Fill `folder` with the record, metrics and pictures of a run whose config has the given changes."""
    rng = np.random.default_rng(int(changes.get("seed", 0)))
    config = CONFIG | changes
    record = RunRecord(folder)
    network = {"parameters": 1_043_712, "flops": 2.1e8, "memory_bytes": 4_174_848, "text": "UNet\n  in  1 x 28 x 28"}
    shards = [{"file": f"train-{i:04d}.tar", "count": 1250, "sha256": "0" * 64} for i in range(4)]
    data = {"name": "mnist5k", "shape": [1, 28, 28], "counts": {"train": 4000}, "shards": shards}
    record.start(config, network=network, data=data)
    text = []
    for step in range(1, 101):
        seen, fall = 128 * step, 1 / (1 + step / 8)
        line = {"images_seen": seen, "time": 1.7e9 + step, "train/loss": 0.05 + fall * (1 + 0.2 * rng.normal())}
        text.append(lines.encode(line | {"train/images_per_second": 480 + 9 * rng.normal()}))
        if step % 20 == 0:
            line = {"images_seen": seen, "time": 1.7e9 + step}
            for ema in ("ema-0.05", "ema-0.10"):
                line |= {f"validation/loss/{ema}": 0.06 + fall, f"fd/alex-256/n=1000/{ema}/heun-18": 8 + 300 * fall}
            line |= {f"loss_by_noise/ema-0.05/{k:02d}": 0.01 * 2.2**k * (1 + 4 * fall) for k in range(8)}
            for method, gain in {"dps": 12, "mmps": 14}.items():
                line[f"restoration/box12/{method}/psnr_hidden"] = gain - 8 * fall
                line[f"restoration/box12/{method}/lpips"] = 0.07 + 0.3 * fall
            text.append(lines.encode(line))
            _pictures(folder, rng, seen, noise=fall)
    (folder / "metrics.jsonl").write_text("\n".join(text) + "\n")
    record.finish(251.3, seen)
    record.write_summary(SUMMARY)
    return folder


def _pictures(folder: Path, rng: np.random.Generator, seen: int, noise: float) -> None:
    _save(folder / "samples" / f"{seen:09d}.png", _grid(rng, 8, 8, noise))
    about = {"sampler": "heun-18", "n": 64, "weights": "ema-0.05"}
    (folder / "samples" / f"{seen:09d}.json").write_text(json.dumps(about))
    for operator in ("box12", "downsample4"):
        for gain, method in enumerate(("dps", "mmps")):
            path = folder / "restorations" / f"{seen:09d}" / f"{operator}--{method}.png"
            _save(path, _grid(rng, 4, 7, noise))
            psnr = {"psnr": 18.0 + gain - noise, "psnr_hidden": 12.0 + gain - noise, "ssim": 0.8 + 0.05 * gain}
            fit = {"lpips": 0.09 - 0.01 * gain, "misfit": 25.4, "misfit_expected": 25.1}
            cost = {"nfe": 100, "vjps": 100, "seconds": 8.25}
            about = {"operator": operator, "method": method, "columns": COLUMNS, "ids": [3, 14, 15, 92]}
            about |= {"metrics": psnr | fit | cost, "images_seen": seen}
            path.with_suffix(".json").write_text(json.dumps(about))


def _grid(rng: np.random.Generator, rows: int, columns: int, noise: float) -> np.ndarray:
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    cells = [
        [np.exp(-40 * (np.hypot(x - 0.2 * rng.normal(), y) - 0.3 - 0.3 * rng.random()) ** 2) for _ in range(columns)]
        for _ in range(rows)
    ]
    image = np.block([[np.pad(cell + noise * rng.normal(size=cell.shape), 1) for cell in row] for row in cells])
    return (255 * image.clip(0, 1)).astype(np.uint8)


def _save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)

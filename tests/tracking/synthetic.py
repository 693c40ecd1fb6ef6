"""A run folder such as training leaves behind, made up in a moment, for the tests of everything that reads one."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from diffusion_lit.tracking import RunRecord, lines

__all__ = ["CONFIG", "SUMMARY", "make_run", "make_sweep", "measured"]

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


def make_run(folder: Path, gain: float = 0.0, pictures: bool = True, **changes: object) -> Path:
    """Fill `folder` with the record, metrics and pictures of a run whose config has the given changes.

    Args:
        folder: the run folder.
        gain: how much better than others it is, in dB; its distances and losses are smaller accordingly.
        pictures: whether it has any, which takes most of the time.
        changes: of `CONFIG`.
    """
    rng = np.random.default_rng(int(changes.get("seed", 0)))
    config = CONFIG | changes
    record = RunRecord(folder)
    network = {"parameters": 1_043_712, "flops": 2.1e8, "memory_bytes": 4_174_848, "text": "UNet\n  in  1 x 28 x 28"}
    data = {"name": "mnist5k", "shape": [1, 28, 28], "splits": {"train": {"shards": 4, "images": 4321}}}
    record.start(config, network=network, data=data)
    text = []
    for step in range(1, 101):
        seen, fall = 128 * step, 1 / (1 + step / 8)
        line = {
            "images_seen": seen,
            "time": 1.7e9 + step,
            "train/loss": 0.05 + fall * (1 + 0.2 * rng.normal() - gain / 4),
        }
        text.append(lines.encode(line | {"train/images_per_second": 480 + 9 * rng.normal()}))
        if step % 20 == 0:
            line = {"images_seen": seen, "time": 1.7e9 + step}
            for ema in ("ema-0.05", "ema-0.10"):
                line |= {f"validation/loss/{ema}": 0.06 + fall * (1 - gain / 4)}
                line |= {f"fd/alex-256/n=1000/{ema}/heun-18": 8 + 300 * fall * (1 - gain / 4)}
            line |= {f"loss_by_noise/ema-0.05/{k:02d}": 0.01 * 2.2**k * (1 + 4 * fall) for k in range(8)}
            for method, decibels in {"dps": 12, "mmps": 14}.items():
                line[f"restoration/box12/{method}/psnr_hidden"] = decibels + gain - 8 * fall
                line[f"restoration/box12/{method}/lpips"] = 0.07 + 0.3 * fall - 0.01 * gain
            text.append(lines.encode(line))
            if pictures:
                _pictures(folder, rng, seen, noise=fall * (1 - gain / 2))
    (folder / "metrics.jsonl").write_text("\n".join(text) + "\n")
    record.finish(251.3, seen)
    record.write_summary(SUMMARY)
    return folder


def _pictures(folder: Path, rng: np.random.Generator, seen: int, noise: float) -> None:
    _save(folder / "samples" / f"{seen:09d}.png", _grid(rng, 8, 8, noise))
    about = {"sampler": "heun-18", "n": 64, "weights": "ema-0.05"}
    (folder / "samples" / f"{seen:09d}.json").write_text(json.dumps(about))
    for operator in ("box12", "downsample4"):
        for better, method in enumerate(("dps", "mmps")):
            path = folder / "restorations" / f"{seen:09d}" / f"{operator}--{method}.png"
            given = _grid(np.random.default_rng(0), 4, 2, 0.0)  # truth and measurement are the same in all runs
            gap = np.full((len(given), 2), 255, dtype=np.uint8)
            _save(path, np.concatenate([given, gap, _grid(rng, 4, 5, noise)], axis=1))
            psnr = {"psnr": 18.0 + better - noise, "psnr_hidden": 12.0 + better - noise, "ssim": 0.8 + 0.05 * better}
            fit = {"lpips": 0.09 - 0.01 * better, "misfit": 25.4, "misfit_expected": 25.1}
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
    image = np.block([[np.pad(cell + noise * rng.normal(size=cell.shape), ((0, 2), (0, 2)), constant_values=1.0)
                       for cell in row] for row in cells])  # fmt: skip
    return (255 * image[:-2, :-2].clip(0, 1)).astype(np.uint8)


def _save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def make_sweep(folder: Path, seeds: int = 5, rates: tuple[float, ...] = (1e-3, 2e-3)) -> list[Path]:
    """Make the runs of an ablation over schedule and learning rate: cosine is better by 0.6 dB, the rates are alike."""
    folders = []
    for i, (name, rate) in enumerate((name, rate) for name in ("Cosine", "VP") for rate in rates):
        for seed in range(seeds):
            model = CONFIG["model"] | {
                "schedule": {"_target_": f"diffusion_lit.noise.{name}"} | ({"beta_max": 20.0} if name == "VP" else {}),
                "optimizer": {"lr": rate},
            }
            model |= {"denoiser": {"schedule": model["schedule"]}, "module": {"seed": seed, **model}}
            rng = np.random.default_rng(100 * i + seed)
            gain = (0.6 if name == "Cosine" else 0.0) + 0.15 * rng.normal()
            path = make_run(folder / f"run-{i}-{seed}", gain, seed == 0, seed=seed, model=model, **measured())
            change = {"psnr_hidden/posterior_mean": gain, "psnr_hidden/sample": gain, "fd_alex/model": -gain}
            change |= {"lpips/sample": -0.004 * gain, "misfit_ratio": 0.01 * rng.normal()}
            RunRecord(path).write_summary(SUMMARY | {key: SUMMARY[key] + by for key, by in change.items()})
            folders.append(path)
    return folders


def measured(n: int = 64) -> dict[str, object]:
    """Return the part of a configuration that says how a run is measured."""
    restoration = {"_target_": "diffusion_lit.callbacks.Restoration", "n": n, "sigma": 0.05, "split": "test"}
    sampling = {"_target_": "diffusion_lit.callbacks.Sampling", "n": 1000, "sampler": {"steps": 12}}
    loss = {"_target_": "diffusion_lit.callbacks.NoiseLevels", "n": 64}
    entries = {
        name: {"_target_": "diffusion_lit.callbacks.Periodic", "ema": 0.05, "evaluator": evaluator}
        for name, evaluator in {"restoration": restoration, "generation": sampling, "loss": loss}.items()
    }
    return {"evaluation": entries, "callbacks": entries}

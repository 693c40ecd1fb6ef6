"""diffusion-lit ema RUN [width=W,W,...] [metric=NAME,...] [save=true] [key=value ...]

Find averages of the weights of any width after training (Karras et al. 2024, EDM2, section 3.2), from the snapshots of
a run that was trained with callbacks=posthoc, and show how good each is: a table, RUN/ema.json and a chart a metric.

    diffusion-lit ema runs/mnist width=0.02,0.05,0.1,0.2
    diffusion-lit ema runs/mnist width=0.03,0.13 metric=loss,generation   entries of `evaluation` of the run
    diffusion-lit ema runs/mnist width=0.13 save=true    into RUN/checkpoints/posthoc.ckpt, for load(..., ema=0.13)
"""

from pathlib import Path
from typing import Any

from diffusion_lit.errors import UserError

__all__ = ["run"]

WIDTHS = "0.02,0.035,0.05,0.07,0.1,0.14,0.2"


def run(words: list[str]) -> int:
    import json

    import torch
    from omegaconf import OmegaConf

    from diffusion_lit import checkpoint
    from diffusion_lit.callbacks.share import Share
    from diffusion_lit.callbacks.snapshots import read_snapshots, synthesize
    from diffusion_lit.commands.build import build_data, quiet
    from diffusion_lit.configuration import override, settled, split_arguments
    from diffusion_lit.files import write_text, writing
    from diffusion_lit.tracking.charts import Line, draw
    from diffusion_lit.tracking.record import RunRecord
    from diffusion_lit.tracking.table import Table

    quiet()
    folders = [Path(word) for word in words if "=" not in word]
    defaults = {"width": WIDTHS, "metric": "loss", "save": "false"}
    arguments, overrides = split_arguments([word for word in words if "=" in word], defaults)
    if len(folders) != 1 or arguments["save"] not in ("true", "false"):
        raise UserError("ema: expected one run folder, such as `diffusion-lit ema runs/mnist width=0.05,0.1 save=true`")
    [folder] = folders
    widths = _widths(arguments["width"])
    snapshots, file = read_snapshots(folder / "snapshots"), checkpoint.locate(folder)
    state = checkpoint.read(file)
    last, trained = snapshots[-1].images_seen, state["diffusion_lit"]["images_seen"]
    if last != trained:
        raise UserError(
            f"{folder}: its last snapshot is of {last:,} images, its checkpoint of {trained:,}; training was cut off "
            f"between the two: finish it with resume=auto, then ask again"
        )
    there = RunRecord(folder).config
    config = settled(override(OmegaConf.create(there), overrides), there, folder)
    data, denoiser = build_data(config), checkpoint.assemble(state, 0.0, file)
    weights = checkpoint.weights(state, 0.0, file)
    evaluators = [_evaluator(config, name) for name in arguments["metric"].split(",")]

    found: dict[float, dict[str, float]] = {}
    averages = {}
    for width in widths:
        averages[width], made = synthesize(snapshots, width)
        checkpoint.put(weights | averages[width], denoiser, file)
        found[width] = {"profile error": made.error}
        for evaluator in evaluators:
            with torch.no_grad():
                found[width] |= evaluator(denoiser, data, Share(), "ema").metrics
    shown = [name for name in found[widths[0]] if not name.startswith("loss_by_noise/")]
    print(Table(["width", *shown], [[f"{w:g}", *(f"{found[w][name]:.4g}" for name in shown)] for w in widths]).text())
    write_text(folder / "ema.json", json.dumps({f"{w:g}": metrics for w, metrics in found.items()}, indent=2) + "\n")
    for name in shown[1:]:
        line = Line(name, [100 * w for w in widths], [found[w][name] for w in widths])
        chart = draw([line], x_label="width of the average, % of training", y_label=name)
        path = folder / "ema" / f"{name.replace('/', '-')}.svg"
        write_text(path, chart)
        print(path)
    if arguments["save"] == "true":
        kept = {key: state[key] for key in ("state_dict", "diffusion_lit")}
        with writing(path := file.parent / "posthoc.ckpt") as aside:
            torch.save(kept | {"ema": state.get("ema", {}) | averages}, aside)
        print(f"{path}: ema = {', '.join(f'{width:g}' for width in widths)}")
    return 0


def _widths(text: str) -> list[float]:
    from diffusion_lit.profiles import exponent

    try:
        widths = sorted({float(word) for word in text.split(",")})
    except ValueError as error:
        raise UserError(f"width={text}: expected numbers with commas between them, such as width=0.05,0.1") from error
    for width in widths:
        exponent(width)  # says what a width may be
    return widths


def _evaluator(config: Any, name: str) -> Any:
    from diffusion_lit.commands.build import build

    if name not in config.evaluation:
        raise UserError(f"metric={name}: the run's `evaluation` has {', '.join(config.evaluation)}")
    return build(config.evaluation[name]).evaluator

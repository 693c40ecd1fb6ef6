"""diffusion-lit evaluate checkpoint=RUN [key=value ...]

Measure generation and restoration with a trained run, and write its summary.json. The entries of `evaluation` in the
run's config.yaml are used; any key of it can be changed.

    diffusion-lit evaluate checkpoint=runs/demo
    diffusion-lit evaluate checkpoint=runs/demo evaluation.restoration.evaluator.samples=16
    diffusion-lit evaluate checkpoint=runs/demo trainer.devices=2 trainer.strategy=ddp
    diffusion-lit evaluate checkpoint=runs/demo ~evaluation.generation        leave one out
"""

from pathlib import Path
from typing import Any

from diffusion_lit.errors import UserError

__all__ = ["run"]


def run(words: list[str]) -> int:
    import yaml
    from omegaconf import OmegaConf

    from diffusion_lit import checkpoint
    from diffusion_lit.callbacks import EMA, Periodic
    from diffusion_lit.commands.build import build_all, build_data, build_module, build_trainer, quiet
    from diffusion_lit.configuration import override, plain, settled, split_arguments
    from diffusion_lit.files import write_text
    from diffusion_lit.tracking.record import RunRecord
    from diffusion_lit.tracking.summary import summarize_run
    from diffusion_lit.tracking.table import Table
    from diffusion_lit.tracking.wandb import WandbLogger

    quiet()
    arguments, overrides = split_arguments([w for w in words if not w.startswith("~")], {"checkpoint": ""})
    if not arguments["checkpoint"]:
        raise UserError("evaluate: which run? checkpoint=runs/demo")
    path = checkpoint.locate(arguments["checkpoint"])
    record = RunRecord(path.parent.parent)
    there = record.config
    config = OmegaConf.create(there)
    if not there:
        raise UserError(f"{record.folder}: has no config.yaml, so it is no run; evaluate takes a run folder")
    for word in (word[1:] for word in words if word.startswith("~")):
        parent, _, key = word.rpartition(".")
        if OmegaConf.select(config, word) is None:
            raise UserError(f"~{word}: {record.folder}/config.yaml has no such key to leave out")
        (OmegaConf.select(config, parent) if parent else config).pop(key)
    override(config, overrides)
    config = settled(config, there, record.folder)

    state = checkpoint.read(path)
    data, module = build_data(config), build_module(config)
    checkpoint.put(checkpoint.weights(state, 0.0, path), module.denoiser, path)
    module.trained_images = state["diffusion_lit"]["images_seen"]
    ema = EMA(list(state.get("ema", {})))
    ema.averages = state.get("ema", {})
    evaluations = build_all(config.evaluation)
    trainer = build_trainer(config, {"ema": ema, **evaluations})
    if "test" not in data.splits:
        raise UserError(f"{config.data.root}: has no test split, so there is nothing held out to evaluate on; pack one")
    [test] = trainer.test(module, datamodule=data, verbose=False)
    if not trainer.is_global_zero:
        return 0

    metrics: dict[str, Any] = dict(test)
    baselines: list[str] = []
    for evaluation in evaluations.values():
        assert isinstance(evaluation, Periodic)
        metrics |= evaluation.latest
        baselines += getattr(evaluation.evaluator, "baselines", {})
    facts = {"images_seen": module.trained_images, "train_seconds": record.run["train_seconds"]}
    summary = summarize_run(metrics, baselines, **facts)
    told = record.folder / "evaluation.yaml"  # how each number was measured, for those who compare it
    before = yaml.safe_load(told.read_text(encoding="utf-8")) if told.exists() else {}
    write_text(told, yaml.safe_dump(before | plain(config)["evaluation"]))
    record.write_summary(summary)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.update()
    print(Table(["metric", "value"], [[key, f"{value:.4g}"] for key, value in summary.items()]).text())
    print(f"\n{Path(record.folder) / 'summary.json'}")
    return 0

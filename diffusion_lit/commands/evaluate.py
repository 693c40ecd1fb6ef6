"""diffusion-lit evaluate checkpoint=RUN [key=value ...]
diffusion-lit evaluate --follow RUN [every=30] [key=value ...]

Measure generation and restoration with a trained run, and write its summary.json. The entries of `evaluation` in the
run's config.yaml are used; any key of it can be changed. While a run is not finished, what is measured stands in
followed.jsonl: training alone writes its metrics.jsonl.

    diffusion-lit evaluate checkpoint=runs/demo
    diffusion-lit evaluate checkpoint=runs/demo evaluation.restoration.evaluator.samples=16
    diffusion-lit evaluate checkpoint=runs/demo trainer.devices=2 trainer.strategy=ddp
    diffusion-lit evaluate checkpoint=runs/demo ~evaluation.generation        leave one out
    diffusion-lit evaluate --follow runs/mnist trainer.accelerator=gpu

--follow evaluates each new checkpoint of a run while it trains elsewhere: it looks every 30 seconds, logs to the run by
images seen (followed.jsonl, which W&B, compare and report read too), and ends when training has finished and its last
checkpoint is evaluated. It waits for a run that has not started, or that crashed and will go on. Stopped by Ctrl-C or
SIGTERM, it finishes the evaluation under way; the same command goes on. One process with one device follows a run.
A run that is followed need not evaluate itself: train ... every.evaluation=null callbacks.checkpoint.keep_every=64_000
"""

import time

from diffusion_lit.errors import UserError

__all__ = ["run"]


def run(words: list[str]) -> int:
    from diffusion_lit import checkpoint
    from diffusion_lit.commands.build import quiet
    from diffusion_lit.commands.evaluations import Evaluations, evaluation_config, update_wandb
    from diffusion_lit.commands.follow import follow
    from diffusion_lit.configuration import split_arguments
    from diffusion_lit.tracking.record import RunRecord
    from diffusion_lit.tracking.summary import summarize_run
    from diffusion_lit.tracking.table import Table

    quiet()
    if "--follow" in words:
        return follow(words)
    left_out = [word for word in words if word.startswith("~")]
    arguments, overrides = split_arguments([w for w in words if w not in left_out], {"checkpoint": ""})
    if not arguments["checkpoint"]:
        raise UserError("evaluate: which run? checkpoint=runs/demo")
    path = checkpoint.locate(arguments["checkpoint"])
    record = RunRecord(path.parent.parent)
    config = evaluation_config(record, [*left_out, *overrides])
    state, loggers = checkpoint.read(path), config.logger
    if beside := not record.run["finished"]:
        config.logger = {}
    evaluations = Evaluations(config)
    metrics = evaluations.at(path, state)
    if not evaluations.trainer.is_global_zero:
        return 0

    images_seen = evaluations.module.trained_images
    if beside:
        record.log_followed({"images_seen": images_seen, "time": time.time(), **metrics})
    facts = {"images_seen": images_seen, "train_seconds": record.run["train_seconds"]}
    summary = summarize_run(metrics, evaluations.baselines, **facts)
    evaluations.describe(record.folder)
    record.write_summary(summary)
    update_wandb(loggers)
    print(Table(["metric", "value"], [[key, f"{value:.4g}"] for key, value in summary.items()]).text())
    print(f"\n{record.folder / 'summary.json'}")
    return 0

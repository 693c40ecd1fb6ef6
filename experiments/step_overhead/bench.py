"""Time a training step of the framework against a bare PyTorch loop of the same network, batch, optimiser and averages.

Both run in this process, step by step in turns, so that a noisy machine slows both alike. Prints the median of each and
the ratio of medians.

    python experiments/step_overhead/bench.py [batch] [steps]
"""

import statistics
import sys
import tempfile
import time

import torch
from lightning.pytorch import Callback

from diffusion_lit.commands.build import build, build_all, build_data, build_module, build_trainer, quiet
from diffusion_lit.configuration import run_config
from diffusion_lit.profiles import exponent


def bare(config, data, steps):
    """The loop that one would write without a framework; yields the seconds of each step."""
    module = build_module(config)
    denoiser, objective = module.denoiser.train(), module.objective
    optimizer = build(config.model.optimizer)(denoiser.parameters())
    averages = {w: [p.detach().clone() for p in denoiser.parameters()] for w in (0.05, 0.10)}
    batches = iter(data.train_dataloader())
    for step in range(1, steps + 1):
        began = time.perf_counter()
        batch = next(batches)
        for group in optimizer.param_groups:
            group["lr"] = config.model.optimizer.lr * module.learning_rate(step * config.batch_size)
        loss = objective(denoiser, batch["image"], seed=config.seed, positions=batch["position"]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for width, average in averages.items():
                beta = (1 - 1 / step) ** (exponent(width) + 1)
                torch._foreach_lerp_(average, list(denoiser.parameters()), 1 - beta)
        yield time.perf_counter() - began


class Turns(Callback):
    """After each step of the framework, let the bare loop take one, and time both."""

    def __init__(self, other):
        self.other, self.framework, self.bare = other, [], []
        self.began = time.perf_counter()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        now = time.perf_counter()
        self.framework.append(now - self.began)
        self.bare.append(next(self.other))
        self.began = time.perf_counter()


def main(batch=64, steps=120):
    quiet()
    with tempfile.TemporaryDirectory() as folder:
        words = ["experiment=demo", f"batch_size={batch}", "logger=none", "callbacks=minimal", f"paths.run={folder}"]
        config = run_config([*words, f"max_images={batch * steps}", "callbacks.checkpoint.every=1_000_000_000"])
        data, module = build_data(config), build_module(config)
        callbacks = build_all(config.callbacks)
        turns = Turns(bare(config, data, steps))
        # last of the callbacks, so that all that the framework does in a step is inside its time
        trainer = build_trainer(config, {**callbacks, "turns": turns}, max_steps=steps)
        trainer.fit(module, datamodule=data)
    skip = steps // 6
    ours, theirs = statistics.median(turns.framework[skip:]), statistics.median(turns.bare[skip:])
    print(
        f"\nframework {1e3 * ours:.1f} ms, bare loop {1e3 * theirs:.1f} ms a step of {batch}; ratio {ours / theirs:.3f}"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""Time training with W&B online, its server stopped half-way, against training without W&B.

Trainings of the two kinds take turns in this process, so that a noisy machine slows both alike. The server is the
tests' stand-in, in a process of its own. Prints the ratio of throughputs, and what was at the server when it stopped
and after `diffusion-lit upload`.

    python experiments/wandb_overhead/bench.py [pairs] [steps]
"""

import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from lightning.pytorch import Callback

from diffusion_lit.callbacks import Record
from diffusion_lit.commands.build import build_all, build_data, build_module, build_trainer, quiet
from diffusion_lit.configuration import plain, run_config
from diffusion_lit.tracking.wandb import WandbLogger

ROOT = Path(__file__).parents[2]
SERVE = """
import sys, time
from tests.tracking.wandb_server import Server
server = Server(int(sys.argv[1]))
print(server.port, flush=True)
sys.stdin.readline()
[run] = server.runs.values()
print(len(run.rows), run.overwritten, flush=True)
"""


class Stand:
    """The stand-in server, in another process."""

    def __init__(self, port=0):
        words = [sys.executable, "-c", SERVE, str(port)]
        self.process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def end(self):
        """Stop it and return (rows, rows that came twice)."""
        self.process.stdin.write("\n")
        self.process.stdin.close()
        rows = self.process.stdout.read().split()
        self.process.wait()
        return tuple(map(int, rows)) or (0, 0)


class Timed(WandbLogger):
    """The logger, and the seconds of its calls."""

    seconds = 0.0

    def log_metrics(self, metrics, step=None):
        began = time.perf_counter()
        super().log_metrics(metrics, step)
        self.seconds += time.perf_counter() - began


class Clock(Callback):
    """What a training took, and something to do half-way."""

    def __init__(self, half, action):
        self.half, self.action = half, action

    def on_train_start(self, *_):
        self.wall = time.perf_counter()

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.half:
            self.action()

    def on_train_end(self, *_):
        self.ended = time.perf_counter()
        self.wall = self.ended - self.wall


def train(folder, logger, batch, steps, action):
    """Train; return the seconds of it, of the logger's calls, of CPU beside it, and of the wait at the end."""
    words = ["experiment=demo", f"batch_size={batch}", f"logger={logger}", "callbacks=minimal", f"paths.run={folder}"]
    words += ["model.denoiser.network.width=16", "model.denoiser.network.attention=[]"]
    words += [f"max_images={batch * steps}", f"every.log={10 * batch}", "callbacks.checkpoint.every=1_000_000_000"]
    words += ["logger.wandb.patience=10.0", "logger.wandb._target_=__main__.Timed"] if logger == "wandb" else []
    config = run_config(words)
    data, module = build_data(config), build_module(config)
    clock = Clock(steps // 2, action)
    callbacks = {"record": Record(str(folder), plain(config), config.max_images), **build_all(config.callbacks)}
    trainer = build_trainer(config, callbacks | {"clock": clock}, max_steps=steps)
    before = _children()
    trainer.fit(module, datamodule=data)
    calls = sum(logger.seconds for logger in trainer.loggers if isinstance(logger, Timed))
    return clock.wall, calls, _children() - before, time.perf_counter() - clock.ended


def _children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(pairs=12, steps=400, batch=32):
    quiet()
    torch.set_num_threads(1)  # as on a GPU, a core is left for what is beside the training
    took = {"none": [], "wandb": []}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {"WANDB_API_KEY": "0" * 40, "WANDB_CONFIG_DIR": scratch}
        for pair in range(pairs):
            for logger in ("none", "wandb") if pair % 2 else ("wandb", "none"):
                folder, stand, seen = Path(scratch) / f"{logger}-{pair}", Stand(), []
                os.environ["WANDB_BASE_URL"] = f"http://127.0.0.1:{stand.port}"
                wall, calls, beside, wait = train(
                    folder, logger, batch, steps, lambda s=stand, a=seen: a.append(s.end())
                )
                took[logger].append(wall)
                print(
                    f"{logger:6} {batch * steps / wall:7.1f} images/s, {1e3 * calls:.1f} ms in its calls, "
                    f"{beside:.1f} s of CPU beside it, {wait:.1f} s at the end",
                    flush=True,
                )
                if logger == "wandb":
                    stand = Stand(stand.port)  # it has forgotten all, as a server that is set up anew
                    subprocess.run([sys.executable, "-m", "diffusion_lit.cli", "upload", str(folder)], check=True)
                    lines = len((folder / "metrics.jsonl").read_text().splitlines())
                    print(f"       rows at the server: {seen[0][0]} half-way, {stand.end()[0]} of {lines} after upload")
                shutil.rmtree(folder)
    ratios = [none / wandb for none, wandb in zip(took["none"], took["wandb"], strict=True)]
    error = statistics.stdev(map(math.log, ratios)) / len(ratios) ** 0.5
    print(
        f"\nthroughput with W&B over that without, {pairs} pairs of {steps} steps: geometric mean "
        f"{statistics.geometric_mean(ratios):.3f} +- {error:.3f}, median {statistics.median(ratios):.3f}"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

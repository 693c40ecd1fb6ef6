"""Kill a training again and again, and see that it ends as one that was left alone.

    python -m tests.cluster.torture --kills 30 --seed 0        (make torture)

A run of small digits is disturbed at random moments, in turn by SIGKILL while a checkpoint is being written, a disk
that is full while one is being written, a checkpoint torn after a kill, SIGTERM, SIGKILL, a shard that is truncated
while it trains, SIGUSR1.
After each it is started again by the same command with resume=auto, reading by 0 or 2 worker processes. At the end the
weights, averages and optimiser must be those of an undisturbed run bit by bit, and so must the log, whose digests name
every image that was learnt from.
"""

import argparse
import json
import os
import random
import resource
import signal
import time
from collections import Counter
from pathlib import Path

from tests.cluster.training import Finished, Training, run_script, same

LIMIT = 48_000  # bytes of a file on the full disk: the log fits, a checkpoint does not


def killed(training: Training) -> None:
    training.kill(signal.SIGKILL, -signal.SIGKILL)


def terminated(training: Training) -> None:
    training.kill(signal.SIGTERM, 128 + signal.SIGTERM)


def preempted(training: Training) -> None:
    training.kill(signal.SIGUSR1, os.EX_TEMPFAIL)


def killed_while_writing(training: Training) -> None:
    training.wait_for(lambda: any(training.checkpoints.glob(".last.ckpt.*.part")))
    training.kill(signal.SIGKILL, -signal.SIGKILL)


def disk_full(training: Training) -> None:
    printed = training.log.stat().st_size
    assert (training.run / "metrics.jsonl").stat().st_size < LIMIT / 2
    resource.prlimit(training.pid, resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
    training.wait_for(lambda: b"could not be written" in training.log.read_bytes()[printed:])
    training.kill(signal.SIGKILL, -signal.SIGKILL)


def shard_truncated(training: Training) -> None:
    shard = min(training.data.glob("*/train-*.tar"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    try:
        code = training.finish()
        assert code == 2, f"a truncated shard: ended with {code}\n{training.said()}"
        assert f"{shard}: the shard is missing, truncated or damaged" in training.said()
    finally:
        shard.write_bytes(whole)


def checkpoint_torn(training: Training) -> None:
    training.wait_for(lambda: (training.checkpoints / "previous.ckpt").exists())
    training.kill(signal.SIGKILL, -signal.SIGKILL)
    last = training.checkpoints / "last.ckpt"
    torn = last.read_bytes()[:-1000]
    last.unlink()  # previous.ckpt may be the same file
    last.write_bytes(torn)


DISTURBANCES = [killed_while_writing, disk_full, checkpoint_torn, terminated, killed, shard_truncated, preempted]


def torture(folder: Path, kills: int, seed: int) -> None:
    """Disturb a run `kills` times and compare it with one that was left alone."""
    began, images = time.monotonic(), 960 * (kills + 2)
    dropout = "+model.denoiser.network.dropout=0.1"  # which draws from the global generator
    alone, tortured = (Training(folder / name, images, dropout) for name in ("alone", "tortured"))
    alone.start()
    assert alone.finish() == 0, alone.said()
    print(f"undisturbed: {images:,} images in {time.monotonic() - began:.0f} s")

    dice = random.Random(seed)
    done: Counter[str] = Counter()
    for number in range(kills):
        disturb = DISTURBANCES[number % len(DISTURBANCES)]
        try:
            tortured.start(f"data.num_workers={dice.choice([0, 0, 2])}")
            line, pause = tortured.lines + dice.randrange(10), dice.uniform(0, 0.1)
            tortured.wait_for(lambda: tortured.lines >= line)  # noqa: B023 (called at once)
            time.sleep(pause)
            disturb(tortured)
        except Finished as end:
            raise AssertionError(f"over after {number} kills ({end}): more images are needed") from end
        done[disturb.__name__] += 1
        seen = json.loads((tortured.run / "run.json").read_text())["attempts"][-1]["images_seen"]
        print(f"{number + 1:3d}  {disturb.__name__:<22} saved at {seen:,} images", flush=True)
    tortured.start()
    assert tortured.finish() == 0, tortured.said()

    one, two = alone.saved(), tortured.saved()
    for key in ("state_dict", "ema", "optimizer_states", "lr_schedulers", "training_log", "global_step"):
        assert same(one[key], two[key]), f"{key} differs"
    assert alone.log_lines() == tortured.log_lines(), "the logs differ"
    left = [path.name for path in tortured.checkpoints.iterdir() if path.name.startswith(".")]
    assert not left, f"halves were left: {left}"
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in done.items())
    print(
        f"{kills} kills ({told}), {kills} recoveries: weights, averages and optimiser are bit-identical, "
        f"{len(alone.log_lines())} lines of the log equal with the digests of all images; "
        f"{time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=30)
    run_script(parser, lambda folder, options: torture(folder, options.kills, options.seed))

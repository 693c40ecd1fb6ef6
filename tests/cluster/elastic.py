"""Stop a training and go on with other numbers of processes, and see that it learns from the same images all the same.

    python -m tests.cluster.elastic            (part of make torture)

One process is stopped by SIGTERM, two go on until one of them, whichever, is killed, four until one of them gets
SIGUSR1, two that share out the weights until one is stopped, and one process with a compiled network ends the run;
every other attempt accumulates gradients over two parts of a batch. The log must have the digests of the images that an
undisturbed run has, line by line, and its losses to 1e-5.
"""

import argparse
import os
import random
import signal
import time
from pathlib import Path

from tests.cluster.training import Training, run_script

SHARDED = ["trainer=fsdp", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.devices=2"]
WORLDS = {  # name -> number of processes, and what is appended to the command
    "1": (1, []),
    "2": (2, ["trainer=ddp_sim"]),
    "4": (4, ["trainer=ddp_sim", "trainer.devices=4"]),
    "2-sharded": (2, SHARDED),
    "1-compiled": (1, ["compile=default", "callbacks.compile.backend=eager"]),
}


def ranks(training: Training) -> list[int]:
    """The process ids of an attempt's ranks, in order."""
    found = {0: training.pid}
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            told = dict(pair.split("=", 1) for pair in environ.read_text().split("\0") if "=" in pair)
            parent = int((environ.parent / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # it has ended, or is not ours to read
            continue
        if parent == training.pid and "LOCAL_RANK" in told:
            found[int(told["LOCAL_RANK"])] = int(environ.parent.name)
    return [found[rank] for rank in sorted(found)]


def stop(training: Training, world: int, number: signal.Signals, rank: int) -> None:
    """Let an attempt log three lines, then signal one of its ranks; all must end, and none but by a kill crash."""
    line = training.lines + 3
    training.wait_for(lambda: training.lines >= line)
    pids = ranks(training)
    assert len(pids) == world, f"{len(pids)} of {world} processes found"
    os.kill(pids[rank], number)
    code = training.finish()
    if number is not signal.SIGKILL:
        assert code in (os.EX_TEMPFAIL, 128 + number), f"{number.name}: ended with {code}\n{training.said()}"
    else:
        assert code != 0
    end = time.monotonic() + 60
    while left := [
        pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_text()
    ]:
        assert time.monotonic() < end, f"processes {left} did not end with the others"
        time.sleep(0.05)


def elastic(folder: Path, worlds: list[str], seed: int) -> None:
    """Run through these numbers of processes, one attempt each, and compare with a run of one that was left alone."""
    began, images = time.monotonic(), 64 * 4 * (len(worlds) + 1)
    alone, changing = (Training(folder / name, images) for name in ("alone", "changing"))
    alone.start()
    assert alone.finish() == 0, alone.said()
    dice, numbers = random.Random(seed), [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1]
    for turn, world in enumerate(worlds[:-1]):
        processes, words = WORLDS[world]
        number = numbers[turn % 3] if processes > 1 else signal.SIGTERM
        rank = dice.randrange(processes)
        changing.start(*words, *(["trainer.accumulate_grad_batches=2"] if turn % 2 else []))
        stop(changing, processes, number, rank)
        print(f"{world}: {number.name} to rank {rank} after {changing.lines} lines", flush=True)
    changing.start(*WORLDS[worlds[-1]][1])
    assert changing.finish() == 0, changing.said()

    one, two = alone.log_lines(), changing.log_lines()
    for key in ("images_seen", "train/images_digest", "train/learning_rate"):
        assert [line[key] for line in one] == [line[key] for line in two], f"{key} differs"
    worst = max(abs(a["train/loss"] / b["train/loss"] - 1) for a, b in zip(one, two))
    assert worst < 1e-5, f"the losses differ by {worst:.1e}"
    states = zip(alone.saved()["state_dict"].values(), changing.saved()["state_dict"].values())
    apart = max(float((a - b).abs().max()) for a, b in states)
    print(
        f"{' -> '.join(worlds)} processes: {len(one)} digests of the global batches equal, "
        f"losses to {worst:.1e}, weights to {apart:.1e}; {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--worlds", nargs="+", default=["1", "2", "4", "2-sharded", "1-compiled"], choices=list(WORLDS))
    run_script(parser, lambda folder, options: elastic(folder, options.worlds, options.seed))

"""Start a stream of 10,000 shards, and let 10^6 small images flow: seconds, and resident memory from beginning to end.

Makes its shards in a temporary folder. The first part reads no image: a manifest of 10^4 shards and 10^8 images, whose
shards are there with the sizes that it tells. The second streams a pack of 10^5 images of 4 x 4 pixels again and again,
and adds up the resident memory of this process and of its reading processes. In the third a shard takes 50 ms to come
and a step 0.1 s, with and without reading ahead.

    python experiments/streaming_scale/bench.py [images] [workers] [shards]
"""

import os
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

from diffusion_lit.data import Manifest, Shard, StreamLoader, pack
from diffusion_lit.data.stream import Stream

BATCH, LANES, DISTINCT = 1_000, 20, 100_000


def resident() -> int:
    """Bytes of this process and its children."""
    pids = [os.getpid(), *map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())]
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * os.sysconf("SC_PAGE_SIZE")


def starting(folder: Path, shards: int, uneven: bool) -> dict[str, float]:
    """Seconds of each part of a start at 10^10 images, a hundred passes into 10^4 shards of about 10^4 images."""
    folder.mkdir()
    made = [Shard(f"train-{i:06d}.tar", 10_000 + i % 7 * uneven, 1024, f"{i:064x}") for i in range(shards)]
    for shard in made:
        (folder / shard.name).write_bytes(bytes(shard.bytes))
    moments = {"mean": [0.0], "std": [1.0]}
    Manifest("made", {}, 0, (1, 4, 4), "uint8", moments, None, {"train": made}).write(folder)
    times = [time.perf_counter()]
    manifest = Manifest.read(folder)
    times.append(time.perf_counter())
    stream = Stream(manifest, 4096, 64, block=2, seed=0)
    stream.seek(10**10 // 64 * 64, range(64))
    times.append(time.perf_counter())
    return {"manifest": times[1] - times[0], "seek": times[2] - times[1], "all": times[2] - times[0]}


def streaming(folder: Path, images: int, workers: int) -> dict[str, float]:
    """Resident memory at a tenth, at the end and at most, and images a second."""
    pixels = np.random.default_rng(0).integers(0, 256, (DISTINCT, 4, 4), dtype=np.uint8)
    np.savez(folder / "images.npz", images=pixels)
    manifest = pack("npz", folder / "pack", shards=100, progress=False, path=str(folder / "images.npz"))
    del pixels
    loader = StreamLoader(manifest, BATCH, lanes=LANES, num_workers=workers)
    steps = images // BATCH
    seen = []
    began = time.perf_counter()
    for step, _ in enumerate(islice(loader, steps), 1):
        if step % max(1, steps // 100) == 0:
            seen.append(resident())
    seconds = time.perf_counter() - began
    tenth = seen[len(seen) // 10]
    return {"tenth": tenth, "end": seen[-1], "peak": max(seen), "rate": images / seconds}


def waiting(folder: Path, ahead: bool) -> float:
    """Seconds of 80 steps of 0.1 s each, where every shard takes 50 ms to come."""
    stream = StreamLoader(f"pipe:sleep 0.05; cat {folder}/pack/{{}}", BATCH, lanes=LANES).stream
    pieces = stream.pieces(0, stream.seek(0, range(LANES)), ahead=ahead)
    next(pieces)
    began = time.perf_counter()
    for _ in islice(pieces, 80):
        time.sleep(0.1)
    return time.perf_counter() - began


def main(images: int = 1_000_000, workers: int = 0, shards: int = 10_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, uneven in (("equal", False), ("uneven", True)):
            took = starting(Path(folder, name), shards, uneven)
            print(
                f"start with {shards:,} {name} shards at 10^10 images: {took['all']:.2f} s "
                f"(manifest {took['manifest']:.2f}, seek {took['seek']:.2f})"
            )
        got = streaming(Path(folder), images, workers)
        late, early = (waiting(Path(folder), ahead) for ahead in (False, True))
    print(
        f"{images:,} images, {workers} workers: {got['rate']:,.0f} images/s; resident {got['tenth'] / 1e6:.1f} MB at a "
        f"tenth, {got['end'] / 1e6:.1f} MB at the end ({100 * (got['end'] / got['tenth'] - 1):+.2f} %), "
        f"at most {got['peak'] / 1e6:.1f} MB"
    )
    print(f"80 steps of 0.1 s, shards that take 50 ms: {late:.1f} s, and {early:.1f} s with the next block read ahead")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""A plan's numbers are those of the stream, the checkpoints and the optimiser that the run would have."""

from pathlib import Path

import pytest
import torch
from torch import nn

from diffusion_lit.cluster import Cluster
from diffusion_lit.cluster.measure import device_memory, node_memory, optimizer_states, training_rate
from diffusion_lit.cluster.memory import (
    GIB,
    Parts,
    checkpoint_bytes,
    kept_checkpoints,
    parts_of,
    replicated,
    sharded,
)
from diffusion_lit.cluster.plan import (
    Coverage,
    Flow,
    World,
    coverage,
    find_readers,
    look_at_memory,
    look_at_readers,
)
from diffusion_lit.commands.plan import run
from diffusion_lit.configuration import plain, run_config
from diffusion_lit.data import Manifest, Shard, StreamLoader, pack
from diffusion_lit.data.stream import Stream
from diffusion_lit.tracking import RunRecord, lines


def _world(nodes: int = 1, tasks: int = 2, workers: int = 2, **more: object) -> World:
    return World(
        **{"parts": 1, "sharded": False, "views": True, "gpu": True} | more, nodes=nodes, tasks=tasks, workers=workers
    )


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return pack("digits", tmp_path_factory.mktemp("packs") / "digits", shards=10, progress=False)


def _made(counts: list[int], lanes: int, block: int = 2) -> Stream:
    shards = [Shard(f"{i}.tar", count, 100 * count, "0" * 64) for i, count in enumerate(counts)]
    moments = {"mean": [0.0], "std": [1.0]}
    manifest = Manifest("made", {}, 0, (1, 4, 4), "uint8", moments, None, {"train": shards})
    return Stream(manifest, 4 * lanes, lanes, block, 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_readers_are_those_of_two_ranks(digits: Manifest, workers: int) -> None:
    stream = Stream(digits, 16, 4, 2, 3)
    readers = find_readers(stream, 2, workers)
    each = max(1, workers)
    assert [(r.rank, r.worker) for r in readers] == [(rank, worker) for rank in range(2) for worker in range(each)]
    assert [lane for r in readers for lane in r.lanes] == [0, 1, 2, 3]
    for rank in range(2):
        loader = StreamLoader(digits, 16, seed=3, lanes=4, rank=rank, world_size=2, num_workers=workers)
        mine = [r for r in readers if r.rank == rank]
        assert [lane for r in mine for lane in r.lanes] == list(loader.lanes)
        # what the rank really reads first: all its lanes' shares, for as long as none has ended pass 0
        shortest = min(sum(digits.shards("train")[i].count for i in stream.dealt(0, lane)) for lane in loader.lanes)
        ids: set[int] = set()
        batches = iter(StreamLoader(digits, 16, seed=3, lanes=4, rank=rank, world_size=2))
        for _ in range(shortest // 4):
            ids.update(next(batches)["id"].tolist())
        assert len(ids) == shortest // 4 * 8  # none twice
        assert ids <= {i for r in mine for shard in r.shards for i in _ids(digits, shard)}
    assert sum(r.images for r in readers) == digits.count("train")
    assert coverage(readers, 10) == Coverage(twice=0, missed=0)


def _ids(manifest: Manifest, shard: int) -> list[int]:
    from diffusion_lit.data.shards import read_shard

    return [sample.id for sample in read_shard(manifest, manifest.shards("train")[shard])]


def test_blocks_and_short_readers() -> None:
    stream = _made([10] * 8, lanes=4)
    readers = find_readers(stream, 2, 2)
    assert [(r.images, r.held, len(r.shards)) for r in readers] == [(20, 4000, 2)] * 4  # two blocks
    assert look_at_readers(readers, stream) == []
    assert [r.held for r in find_readers(_made([10] * 8, 4, block=1), 1, 0)] == [4000]

    short = _made([1, 100, 100, 100], lanes=4)
    findings = look_at_readers(find_readers(short, 2, 2), short)
    assert [f.fatal for f in findings] == [False]
    assert "has 1 images in pass 0, others 75" in findings[0].text

    wrong = [readers[0], readers[0], *readers[2:]]
    assert coverage(wrong, 8) == Coverage(twice=2, missed=2)
    assert look_at_readers(wrong, stream)[0].fatal


def test_flow_says_how_many_workers_it_takes() -> None:
    assert Flow(None, 100.0, _world(), 8).findings() == []
    enough = Flow(300.0, 100.0, _world(workers=2), 8)
    assert (enough.given, enough.share, enough.findings()) == (400.0, 0.75, [])
    (few,) = Flow(600.0, 100.0, _world(workers=2), 16).findings()
    assert "400 images/s are read and 600 wanted" in few.text
    assert "data.num_workers=4, with a core" in few.text  # 600 / .8 / 100 / 2 = 3.75
    assert not few.fatal
    (none,) = Flow(600.0, 100.0, _world(workers=2), 4).findings()
    assert "takes 4 workers a rank" in none.text
    assert "multiple of 8" in none.text
    (between,) = Flow(50.0, 100.0, _world(tasks=1, workers=0), 8).findings()
    assert "reads between its steps" in between.text
    assert Flow(5.0, 100.0, _world(tasks=1, workers=0), 8).findings() == []


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(10, 10, bias=False)  # 400 bytes
        self.blocks = nn.ModuleList([nn.Linear(10, 20, bias=False), _Inner()])  # 800; 80 and its own parts

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x)


class _Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Linear(2, 10, bias=False)  # 80
        self.deep = nn.ModuleList([nn.ModuleList([nn.Linear(10, 30, bias=False)])])  # 1200


def test_weights_are_gathered_part_by_part() -> None:
    assert parts_of(_Net()) == Parts(total=2480, largest=1200, rest=400)
    assert parts_of(nn.Linear(10, 10, bias=False)) == Parts(total=400, largest=0, rest=400)


def test_memory_to_the_byte() -> None:
    parts = Parts(total=1000, largest=300, rest=100)
    ddp = replicated(parts, states=2.0, averages=2, activations=50, ranks=2, views=False)
    assert vars(ddp) == {
        "weights": 1000,
        "gradients": 1000,
        "moments": 2000,
        "averages": 2000,
        "gathered": 1000,
        "evaluation": 1000,
        "activations": 50,
    }
    assert replicated(parts, 2.0, 2, 50, ranks=2, views=True).gathered == 0
    assert replicated(parts, 0.0, 0, 50, ranks=1, views=False).total == 2050
    fsdp = sharded(parts, states=2.0, averages=2, activations=50, ranks=4)
    assert fsdp.total == 250 + 250 + 500 + 500 + 2 * (100 + 2 * 300) + 1000 + 50

    assert checkpoint_bytes(1000, 2.0, 2) == 5000
    assert kept_checkpoints(1000, None, None, best=False) == 3
    assert kept_checkpoints(1000, 100, None, best=True) == 14
    assert kept_checkpoints(1000, 100, 4, best=False) == 7


def test_too_little_memory_is_fatal_and_mended() -> None:
    parts = Parts(total=4 * GIB, largest=GIB // 8, rest=GIB // 8)
    ddp = replicated(parts, 2.0, 2, GIB, ranks=8, views=True)
    fsdp = sharded(parts, 2.0, 2, GIB, ranks=8)
    assert look_at_memory(ddp, fsdp, None, "unknown") == []
    assert look_at_memory(ddp, fsdp, 80 * GIB, "A100") == []
    (close,) = look_at_memory(ddp, fsdp, 30 * GIB, "GPU")
    assert not close.fatal
    (over,) = look_at_memory(ddp, fsdp, 24 * GIB, "GPU")
    assert over.fatal
    assert "29 GiB for a process, 24 GiB on GPU: trainer=fsdp needs" in over.text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], _world(tasks=1, workers=0, gpu=False, views=False)),
        (["trainer=ddp_sim"], _world(workers=0, gpu=False, views=False)),
        (["trainer=gpu", "data.num_workers=2"], _world(tasks=1, views=False)),
        (["trainer=ddp", "trainer.num_nodes=2"], _world(nodes=2, tasks=4, workers=0)),  # devices=auto: those here
        (["trainer=fsdp", "trainer.devices=2"], _world(workers=0, sharded=True, views=False)),
        (["trainer=ddp", "trainer.devices=[0,3]"], _world(workers=0)),
        (["trainer.accumulate_grad_batches=4"], _world(tasks=1, workers=0, parts=4, gpu=False, views=False)),
    ],
)
def test_the_world_is_that_of_the_trainer(words: list[str], expected: World) -> None:
    config = plain(run_config(words))
    assert World.read(config["trainer"], config["data"]["num_workers"], gpus=4) == expected


def test_states_of_optimisers() -> None:
    assert optimizer_states(lambda p: torch.optim.Adam(p, fused=True)) == 2
    assert optimizer_states(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)) == 1
    assert optimizer_states(lambda p: torch.optim.SGD(p, lr=0.1)) == 0


def test_rates_and_memories_that_are_told(tmp_path: Path) -> None:
    nothing = {"rate": 0.0, "tflops": 0.0, "utilisation": 0.5, "run": ""}
    world = _world(nodes=2, tasks=4)
    assert training_rate(nothing, 10**9, world).images is None
    assert training_rate(nothing | {"rate": 7.0}, 10**9, world).images == 7
    assert training_rate(nothing | {"tflops": 300.0}, 10**9, world).images == pytest.approx(8 * 50_000)
    record = RunRecord(tmp_path)
    record.start(plain(run_config(["trainer=ddp_sim"])))
    for images, rate in ((1, 50.0), (2, 100.0), (3, 900.0)):
        line = {"images_seen": images, "train/images_per_second": rate}
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write(lines.encode(line) + "\n")
    assert training_rate(nothing | {"run": str(tmp_path)}, 10**9, world).images == 400  # 100 on two, so on eight

    assert node_memory(Cluster(memory="64G")) == 64 * GIB
    assert node_memory(Cluster(memory=512)) == GIB // 2
    assert node_memory(Cluster(memory="0")) is None
    assert (node_memory(None) or 0) > GIB
    assert device_memory(80.0, world)[0] == 80 * GIB
    assert device_memory(0.0, _world(nodes=2, gpu=False))[0] is None


SMALL = ["experiment=digits", "model.denoiser.network.width=8", "model.denoiser.network.blocks=1"]


def test_the_command_plans_two_ranks(digits: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = [f"data.root={digits.root}", "data.lanes=4", "batch_size=16", f"paths.runs={tmp_path}"]
    words = [*SMALL, *told, "cluster.nodes=2", "cluster.gpus=1", "data.num_workers=2"]
    assert run([*words, "rate=10", "gpu_memory=80"]) == 0
    text = capsys.readouterr().out
    assert "2 nodes x 1 GPU, each with 2 workers" in text
    assert "1,444 images in 10 shards" in text
    assert "none read twice in a pass, none missed" in text
    assert len([line for line in text.splitlines() if line.split()[:1] in (["0"], ["1"])]) == 4
    assert text.splitlines()[-1] == "can work"

    assert run([*words, "data.lanes=6", "batch_size=24", "gpu_memory=0.001", "rate=1e9"]) == 2
    text = capsys.readouterr().out
    assert "!! lanes: 6 is not a multiple of 4 = 2 ranks x 2 workers" in text
    assert "!! memory: " in text
    assert text.splitlines()[-1] == "cannot work"


def test_the_command_plans_what_is_not_packed_and_what_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*SMALL, f"data.root={tmp_path / 'none'}", f"paths.runs={tmp_path}"]) == 0
    assert "is packed by the first training" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
    assert run(["data=ring", "model=mlp", f"paths.runs={tmp_path}"]) == 0
    assert "can work" in capsys.readouterr().out

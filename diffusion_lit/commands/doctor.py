"""diffusion-lit doctor [overrides]

Check what usually goes wrong before a long run: versions, devices, threads, weights of the metrics, and -- with the
overrides of a training run -- its configuration and shards. Exits with 2 if something would stop the run.

    diffusion-lit doctor
    diffusion-lit doctor experiment=mnist trainer=ddp
"""

import os
import platform
from collections.abc import Callable

from diffusion_lit.errors import UserError

__all__ = ["run"]


def run(words: list[str]) -> int:
    checks: list[tuple[str, Callable[[], str]]] = [
        ("python", platform.python_version),
        ("lightning", _lightning),
        ("torch", _torch),
        ("metric weights", _metric_weights),
        ("report", _report),
    ]
    if words:
        checks += [("configuration", lambda: _configuration(words)), ("shards", lambda: _shards(words))]
    failed = False
    for name, check in checks:
        try:
            mark, text = "ok", check()
        except UserError as error:
            mark, text, failed = "!!", str(error), True
        print(f"{mark}  {name:<14}  {text}")
    return 2 if failed else 0


def _lightning() -> str:
    from importlib.metadata import version

    for package in ("lightning", "pytorch-lightning"):
        try:
            found = version(package)
        except ModuleNotFoundError:
            continue
        if found in {"2.6.2", "2.6.3"}:
            raise UserError(
                f"{package} {found} is malware (GHSA-w37p-236h-pfx3): delete this environment, do not run it"
            )
    return version("lightning")


def _torch() -> str:
    import torch

    threads = torch.get_num_threads()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"{torch.__version__}, {', '.join(gpus) or 'no GPU'}, {threads} threads on {os.cpu_count()} cores"


def _metric_weights() -> str:
    from diffusion_lit.metrics.features import extractor
    from diffusion_lit.metrics.lpips import LPIPS

    LPIPS("alex")
    return f"{extractor('alex').identity}, lpips-alex"


def _report() -> str:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise UserError("matplotlib is missing; reports need `pip install diffusion_lit[report]`")
    return "matplotlib is there"


def _configuration(words: list[str]) -> str:
    from diffusion_lit.configuration import run_config

    return f"composes; the run is {run_config(words).run_identity}"


def _shards(words: list[str]) -> str:
    from diffusion_lit.configuration import run_config
    from diffusion_lit.data import Manifest

    config = run_config(words)
    manifest = Manifest.read(str(config.data.root))
    manifest.verify()
    splits = ", ".join(f"{manifest.count(split):,} {split}" for split in manifest.splits)
    return f"{config.data.root}: {splits}; every shard matches its sha256"

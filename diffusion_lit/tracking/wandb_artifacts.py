"""What a run took and what it made, as W&B's artifacts: the data's manifest and the checkpoints."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import wandb

from diffusion_lit.tracking.lines import series
from diffusion_lit.tracking.record import RunRecord
from diffusion_lit.tracking.wandb_target import Checkpoints
from diffusion_lit.tracking.words import quantity

__all__ = ["checkpoint_artifacts", "data_artifact"]


def data_artifact(data: Mapping[str, Any]) -> tuple[wandb.Artifact, list[str]]:
    """Return the artifact of the data that a run was trained on, and its aliases.

    It holds the manifest, not the images, and not where they lie: the same data make the same artifact, which W&B
    stores once, whoever uses it.

    Args:
        data: its manifest.
    """
    content = {key: value for key, value in data.items() if key != "root"}
    text = json.dumps(content, indent=1, sort_keys=True)
    identity = str(data.get("identity") or hashlib.sha256(text.encode()).hexdigest()[:12])
    name = str(data.get("name") or data.get("source") or data.get("toy") or "data")
    told = {key: data[key] for key in ("identity", "shape", "classes", "moments") if key in data}
    artifact = wandb.Artifact(_plain(name), "dataset", metadata=told)
    with artifact.new_file("manifest.json") as file:
        file.write(text)
    return artifact, [identity]


def checkpoint_artifacts(
    record: RunRecord, how: Checkpoints, scratch: Path
) -> Iterator[tuple[wandb.Artifact, list[str]]]:
    """Yield the artifacts of best.ckpt and last.ckpt, and their aliases `best` and `latest`.

    Args:
        record: the run's.
        how: "reference" tells W&B where the file lies and uploads nothing; "file" uploads it; "none" yields nothing.
        scratch: a folder on the run folder's file system; a file that is uploaded is linked there, for the run may
            replace it meanwhile.
    """
    if how == "none":
        return
    run, metrics = record.run, record.read_metrics()
    name = _plain(f"{run['task_name']}-{run['identity']}")
    last = {
        "images_seen": run["attempts"][-1].get("images_seen")
        or max((line["images_seen"] for line in metrics), default=0)
    }
    best: dict[str, Any] = {}
    metric = ((record.config.get("callbacks") or {}).get("checkpoint") or {}).get("best")
    seen, values = series(metrics, metric) if metric else ([], [])
    if metric and values:
        value = max(values) if quantity(metric).goal == "high" else min(values)
        best = {"images_seen": seen[values.index(value)], "metric": metric, "value": value}
    for file, alias, told in (("best.ckpt", "best", best), ("last.ckpt", "latest", last)):
        path = (record.folder / "checkpoints" / file).absolute()
        if not path.exists() or not told:
            continue
        artifact = wandb.Artifact(name, "model", metadata=told | {"identity": run["identity"]})
        entry = f"{told['images_seen']:09d}.ckpt"
        if how == "reference":
            artifact.add_reference(path.as_uri(), name=entry, checksum=False)
        else:
            artifact.add_file(str(_linked(path, scratch / file)), name=entry, policy="immutable", skip_cache=True)
        yield artifact, [alias]


def _linked(path: Path, link: Path) -> Path:
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links
        return path
    return link


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)

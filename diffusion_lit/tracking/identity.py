"""The run identity: a hash of everything in the resolved config that can change the result."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["IGNORED", "canonical", "differences", "flatten", "run_identity"]

# Dotted keys (shell patterns) that say where a run stands, how it is shown or how fast it goes, but not what comes out.
# The world size is among them: the stream does not depend on it, so a job may go on with more or fewer devices.
IGNORED = (
    "paths.*",
    "logger.*",
    "hydra.*",
    "tags",
    "resume",
    "run_identity",
    "data.root",
    "data.datamodule.root",
    "evaluation.*.folder",
    "data.*cache*",
    "*num_workers",
    "*start_method",
    "*.workers",
    "*.pin_memory",
    "*.prefetch_factor",
    "*.persistent_workers",
    "callbacks.checkpoint.*",
    "callbacks.compile.*",
    "every.checkpoint",
    "callbacks.*progress*",
    "callbacks.*.dirpath",
    "callbacks.*.folder",
    "trainer.enable_*",
    "trainer.default_root_dir",
    "trainer.log_every_n_steps",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy*",
    "trainer.accumulate_grad_batches",
)


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) for every leaf of a nested mapping; lists and empty mappings are leaves."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def canonical(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the leaves that count, by dotted key, each as JSON text that does not depend on the order of keys.

    Args:
        config: the resolved config as plain containers.
    """
    return {
        key: json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
        for key, value in flatten(config)
        if not any(fnmatchcase(key, pattern) for pattern in IGNORED)
    }


def run_identity(config: Mapping[str, Any]) -> str:
    """Return 10 hexadecimal digits that name the run of this config.

    Args:
        config: the resolved config (with its seed) as plain containers; the keys in `IGNORED` do not count.
    """
    text = json.dumps(canonical(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    """Return the keys that count and differ, in alphabetical order, with both values as JSON text (None: not there)."""
    one, two = canonical(first), canonical(second)
    return {
        key: (one.get(key), two.get(key)) for key in sorted(one.keys() | two.keys()) if one.get(key) != two.get(key)
    }

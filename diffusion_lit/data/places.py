"""Where a file of a pack lies: in a local folder or behind a URL that webdataset opens."""

import os
import re
from pathlib import Path

__all__ = ["is_local", "locate"]


def is_local(root: str | Path) -> bool:
    """Tell a folder from a URL (file:, pipe:, http://, s3://, ...)."""
    return re.match(r"(file|pipe):|[a-z][a-z0-9+.-]*://", str(root)) is None


def locate(root: str | Path, name: str) -> str:
    """Name a file of the pack at `root`.

    A URL may say with {} where the name goes ("pipe:aws s3 cp s3://bucket/digits/{} -"); else it goes to the end.
    """
    if is_local(root):
        return os.path.join(os.path.abspath(root), name)
    return str(root).replace("{}", name) if "{}" in str(root) else f"{str(root).rstrip('/')}/{name}"

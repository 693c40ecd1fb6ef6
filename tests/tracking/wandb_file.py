"""Read W&B's own file of an offline run: a log as LevelDB writes it, of one protocol buffer a record."""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

__all__ = ["history", "records"]

_BLOCK = 32_768
_HEADER = struct.Struct("<IHB")  # checksum, length, kind: 1 whole, 2 first, 3 middle, 4 last part
_START = b":W&B" + struct.pack("<HB", 0xBEE1, 0)


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a .wandb file; an AssertionError says where it is damaged."""
    data = path.read_bytes()
    assert data[: len(_START)] == _START
    offset, parts = len(_START), b""
    while offset + _HEADER.size <= len(data):
        left = _BLOCK - offset % _BLOCK
        if left < _HEADER.size:
            offset += left
            continue
        checksum, length, kind = _HEADER.unpack_from(data, offset)
        offset += _HEADER.size
        part = data[offset : offset + length]
        assert checksum == zlib.crc32(part, zlib.crc32(bytes([kind]))), f"{path}, byte {offset}"
        offset += length
        parts = part if kind in (1, 2) else parts + part
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record


def history(path: Path) -> list[dict[str, Any]]:
    """Return the rows of the run's history, with their `_step` and `_timestamp`."""
    return [
        {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in records(path)
        if record.WhichOneof("record_type") == "history"
    ]

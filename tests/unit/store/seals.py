"""Seal a chunk again after a change, as whoever changes a file on purpose would."""

import json
import zlib
from pathlib import Path


def crc_of(body: dict) -> int:
    return zlib.crc32(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())


def reseal(folder: Path, **changes: object) -> None:
    """Write the sizes and checksums of the files that are there into chunk.json."""
    path = folder / "chunk.json"
    body = json.loads(path.read_text())
    body.pop("crc32")
    for name in body["files"]:
        if (folder / name).is_file():
            data = (folder / name).read_bytes()
            body["files"][name] = {"n_bytes": len(data), "crc32": zlib.crc32(data)}
    body |= changes
    path.write_text(json.dumps(body | {"crc32": crc_of(body)}))

"""What stands in the file of an offline run of Weights & Biases."""

import json
import struct
import threading


def records(path):
    """Records of a .wandb file: a log as of LevelDB, in blocks of 32 KiB, of protocol buffers."""
    from wandb.proto import wandb_internal_pb2

    data = path.read_bytes()
    assert data[:4] == b":W&B"
    at, parts = 7, b""
    while at < len(data):
        left = 0x8000 - at % 0x8000
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if at > len(data):
            return  # the last part is still to come
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def complete_records(path):
    """Records of a run that has ended: the service writes the last ones when all is over."""
    for _ in range(1000):
        found = list(records(path))
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        threading.Event().wait(0.01)
    raise AssertionError(f"{path} was not completed in ten seconds")


def read(folder):
    """Rows, alerts and summary of the only offline run below a folder."""
    (path,) = {path.resolve() for path in folder.rglob("*.wandb")}
    rows, alerts, summary = [], [], {}
    for each in complete_records(path):
        kind = each.WhichOneof("record_type")
        if kind == "history":
            rows.append(_items(each.history.item))
        elif kind == "alert":
            alerts.append((each.alert.level, each.alert.title, each.alert.text))
        elif kind == "summary":
            summary |= _items(each.summary.update)
    return rows, alerts, summary


def _items(items):
    return {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items}

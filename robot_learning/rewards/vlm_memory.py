"""Whether a model's weights fit into the memory that is free, before loading it would get the process killed."""

from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path

import torch

from robot_learning.errors import UserError

BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}  # others: 1
WANTED = {"float32": 4, "bfloat16": 2, "float16": 2}
MEMINFO = Path("/proc/meminfo")


class MemoryShortError(UserError, MemoryError):
    """The weights need more memory than is free."""


def check_memory(model: str, dtype: str, device: torch.device) -> None:
    """Raises `MemoryShortError` when the folder's weights, as `dtype`, do not fit; says nothing where it cannot know."""
    free = free_bytes(device)
    if free is None or not Path(model).is_dir():
        return
    needed = sum(weight_bytes(file, dtype) for file in Path(model).glob("*.safetensors"))
    if needed > free:
        smaller = "" if dtype in ("bfloat16", "float16") else " or --vlm.dtype bfloat16"
        raise MemoryShortError(
            f"{model}: its weights need {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free on {device}. "
            f"Take a smaller model{smaller}, or ask a server (--backend openai)"
        )


def weight_bytes(file: Path, dtype: str) -> int:
    """Bytes of a safetensors file's tensors as `dtype`, from its header; 0 when that cannot be read."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        return sum(math.prod(t["shape"]) * WANTED.get(dtype, BYTES.get(t["dtype"], 1)) for t in tensors)
    except (OSError, ValueError, struct.error, KeyError, TypeError, MemoryError, OverflowError):
        return 0  # the loader will say what is wrong with it


def free_bytes(device: torch.device) -> int | None:
    """What a new process could take of the device's memory; None where it cannot be known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu" or not MEMINFO.is_file():
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", MEMINFO.read_text(), re.MULTILINE)
    return 1024 * int(found[1]) if found else None

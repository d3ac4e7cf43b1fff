"""Parcels: the files of a checkpoint folder as one run of bytes, to be sent to a policy that runs elsewhere.

A parcel is a ZIP archive without compression, made and read in memory. Only the names of a checkpoint's files are read, none of
them becomes a path, and nothing in it is pickled: who reads one from a stranger gets a checkpoint or an error.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from robot_learning.policies.checkpoint import (
    FILES,
    WEIGHTS,
    Checkpoint,
    CheckpointError,
    checkpoint_files,
    checkpoint_from_files,
)

MOST_BYTES = 1 << 28  # of the weights, 256 MiB: a clone has one or two
MOST_TEXT = 1 << 20  # of each other file
ROUND = "Round"
"""The fact of a checkpoint that tells the policies of one run apart."""


def pack(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as a parcel.

    Raises:
        CheckpointError: it is larger than a parcel may be.
    """
    files, parcel = checkpoint_files(checkpoint), io.BytesIO()
    _require_sizes({name: len(content) for name, content in files.items()})
    with zipfile.ZipFile(parcel, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # no time of day: equal checkpoints are equal parcels
    return parcel.getvalue()


def unpack(parcel: bytes, where: str = "parcel") -> Checkpoint:
    """The checkpoint in a parcel; `where` names it in errors.

    Raises:
        CheckpointError: it is no parcel, too large, incomplete or corrupt. ContractError: its contract is malformed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(parcel)) as archive:
            entries = archive.infolist()
            unknown = sorted({entry.filename for entry in entries} - set(FILES))
            packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
            if unknown or packed or len(entries) > len(FILES):
                raise CheckpointError(
                    f"{where}: expected the files {list(FILES)}, uncompressed, "
                    f"found {[entry.filename for entry in entries][: 2 * len(FILES)]}"
                )
            _require_sizes({entry.filename: entry.file_size for entry in entries}, where)
            files = {entry.filename: archive.read(entry) for entry in entries}
    # what zipfile raises for bytes that are no archive, cut short, of an unknown method, with an impossible offset, encrypted
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{where}: expected the files of a checkpoint in a ZIP archive, found {len(parcel)} bytes ({error})"
        ) from error
    return checkpoint_from_files(files, Path(where))


def version_of(checkpoint: Checkpoint) -> str:
    """Which of its run's policies it is: the round of practice, as text; empty when it does not say."""
    return str(checkpoint.facts.get(ROUND, ""))


def _require_sizes(sizes: dict[str, int], where: str = "checkpoint") -> None:
    for name, size in sizes.items():
        most = MOST_BYTES if name == WEIGHTS else MOST_TEXT
        if size > most:
            raise CheckpointError(f"{where}: {name}: expected at most {most} bytes, found {size}; send it as a folder")

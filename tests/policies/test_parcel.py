"""A checkpoint as one run of bytes: it comes back whole, and nothing else is taken for one."""

import dataclasses
import io
import zipfile

import pytest
import torch

from robot_learning.policies import Checkpoint, CheckpointError, build_policy, parcel
from robot_learning.policies.parcel import pack, unpack, version_of


def rewritten(packed: bytes, compression: int = zipfile.ZIP_STORED, **changes: bytes | None) -> bytes:
    """A parcel with some files replaced, added or (None) left out; `_` in a name stands for a dot."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files |= {name.replace("_", "."): content for name, content in changes.items()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files.items():
            if content is not None:
                archive.writestr(name, content)
    return out.getvalue()


def test_everything_comes_back(checkpoint: Checkpoint) -> None:
    found = unpack(pack(checkpoint))
    assert dataclasses.replace(found, weights={}, config={}) == dataclasses.replace(checkpoint, weights={}, config={})
    assert all(torch.equal(found.weights[key], value) for key, value in checkpoint.weights.items())
    assert build_policy(found, "parcel").tasks == checkpoint.tasks


def test_equal_checkpoints_are_equal_parcels(checkpoint: Checkpoint) -> None:
    assert pack(checkpoint) == pack(checkpoint)


def test_the_version_is_the_round(checkpoint: Checkpoint) -> None:
    assert version_of(dataclasses.replace(checkpoint, facts={"Round": 7})) == "7"
    assert version_of(dataclasses.replace(checkpoint, facts={})) == ""


@pytest.mark.parametrize("garbage", [b"", b"no archive", b"PK\x03\x04" + bytes(100)])
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(CheckpointError, match=f"found {len(garbage)} bytes"):
        unpack(garbage)


def test_a_cut_parcel_is_refused(checkpoint: Checkpoint) -> None:
    packed = pack(checkpoint)
    with pytest.raises(CheckpointError):
        unpack(packed[: len(packed) // 2])


def test_a_changed_byte_is_refused(checkpoint: Checkpoint) -> None:
    packed = bytearray(pack(checkpoint))
    packed[len(packed) // 2] ^= 1
    with pytest.raises(CheckpointError):
        unpack(bytes(packed))


@pytest.mark.parametrize("name", ["config_json", "weights_safetensors", "statistics_json", "contract_yaml"])
def test_a_missing_file_is_named(checkpoint: Checkpoint, name: str) -> None:
    with pytest.raises(CheckpointError, match=name.replace("_", r"\.")):
        unpack(rewritten(pack(checkpoint), **{name: None}))


def test_another_file_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match=r"code\.pkl"):
        unpack(rewritten(pack(checkpoint), code_pkl=b"cos\nsystem"))


def test_compression_is_refused(checkpoint: Checkpoint) -> None:
    """A few bytes that become gigabytes are none."""
    with pytest.raises(CheckpointError, match="uncompressed"):
        unpack(rewritten(pack(checkpoint), zipfile.ZIP_DEFLATED))


def test_what_is_too_large_is_refused_on_both_sides(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack(checkpoint)
    monkeypatch.setattr(parcel, "MOST_BYTES", 100)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: expected at most 100 bytes"):
        unpack(packed)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: expected at most 100 bytes"):
        pack(checkpoint)

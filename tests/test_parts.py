"""Files of weights, judged by their headers alone."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.errors import BadCheckpoint
from pipelines.parts import folder_part, header, weight_files


def weights(path: Path, value: float = 0.0) -> Path:
    save_file({"a": torch.full((300, 70), value), "b": torch.zeros(5, dtype=torch.bfloat16)}, path)
    return path


def test_a_header_gives_shapes_and_counts(tmp_path: Path) -> None:
    known = header(weights(tmp_path / "model.safetensors"))
    assert known.shapes == {"a": (300, 70), "b": (5,)} and known.elements == 21_005


def test_equal_content_has_one_fingerprint_and_other_content_another(tmp_path: Path) -> None:
    one, same, other = (
        header(weights(tmp_path / f"{k}.safetensors", value)) for k, value in enumerate((1.0, 1.0, 2.0))
    )
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = weights(tmp_path / "model.safetensors", 1.0)
    before = header(path).fingerprint
    path.unlink()
    assert header(weights(path, 2.0)).fingerprint != before


def written(path: Path, head: object, size: int) -> Path:
    raw = head if isinstance(head, bytes) else json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + b"\0" * size)
    return path


@pytest.mark.parametrize(
    ("head", "size"),
    [
        ({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, 12),
        ({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 12]}}, 12),
        ({"a": {"dtype": "F99", "shape": [4], "data_offsets": [0, 16]}}, 16),
        ({"a": {"dtype": "F32", "shape": "x", "data_offsets": [0, 16]}}, 16),
        ({"a": {"shape": [4]}}, 16),
        ({"a": 5}, 0),
        ([1, 2], 0),
        (b"{not json", 0),
        (b"[" * 50_000, 0),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, head: object, size: int) -> None:
    with pytest.raises(BadCheckpoint, match="damaged"):
        header(written(tmp_path / "model.safetensors", head, size))


def test_a_header_of_impossible_length_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(BadCheckpoint, match="not a safetensors file"):
        header(path)


def test_a_pickle_is_refused_with_the_reason_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(BadCheckpoint, match=r"can run code.*safetensors variant"):
        weight_files(tmp_path)


def test_shards_cannot_lead_out_of_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "unet"
    folder.mkdir()
    weights(tmp_path / "secret.safetensors")
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "../secret.safetensors"}})
    )
    assert weight_files(folder) == [folder / "secret.safetensors"]
    with pytest.raises(BadCheckpoint, match="missing"):
        folder_part("unet", folder, 8, lambda kind: torch.nn.Identity())


def test_a_part_knows_the_number_types_of_its_files_and_notices_when_they_are_cut(tmp_path: Path) -> None:
    folder = tmp_path / "unet"
    folder.mkdir()
    file = weights(folder / "diffusion_pytorch_model.safetensors")
    part = folder_part("unet", folder, 8, lambda kind: torch.nn.Identity())
    assert part.stored == {"F32", "BF16"}
    part.check()
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BadCheckpoint, match="damaged"):
        part.check()

"""The preview decoder: trained on a toy autoencoder's latents, written, read again; and its closed form."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from pipelines.models.preview_decoder import FILE, load_decoder
from pipelines.training import preview
from tests.tiny.checkpoints import stable_diffusion


def test_the_linear_decoder_is_exact_where_latents_are_linear() -> None:
    torch.manual_seed(0)
    pixels = torch.randn(4, 3, 16, 16)
    mix = torch.randn(12, 12)
    latents = torch.einsum("bchw,cd->bdhw", functional.pixel_unshuffle(pixels, 2), mix) + 0.5
    assert torch.allclose(preview.fit_linear(latents, pixels)(latents), pixels, atol=1e-3)


def test_a_trained_decoder_beats_an_untrained_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stable_diffusion(tmp_path / "toy")
    (tmp_path / "pictures").mkdir()
    for k in range(20):
        shade = 7 * k % 20 * 12
        Image.new("RGB", (64, 64), (shade, 255 - shade, 90)).save(tmp_path / "pictures" / f"{k:02}.png")
    preview.main(["--model", str(tmp_path / "toy"), "--source", str(tmp_path / "pictures"), "--minutes", "0.1"])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["psnr"] > 12 and said["kept"] == ("deep" if said["psnr"] > said["psnr_linear"] else "linear")
    assert said["parameters"] <= 150_000
    decoder = load_decoder(tmp_path / "toy" / FILE, torch.float32)
    assert decoder(torch.zeros(1, 4, 8, 8)).shape == (1, 3, 8, 8)


def test_a_checkpoint_with_a_preview_decoder_is_previewed_by_it(tmp_path: Path) -> None:
    from pipelines.models import load_folder
    from pipelines.previews import looking
    from tests.accounting import host

    stable_diffusion(tmp_path / "toy")
    latents, memory = torch.randn(1, 4, 8, 8), host()
    with looking(load_folder(tmp_path / "toy", "toy"), memory) as look:
        assert look(latents).size == (8, 8)  # no decoder: a linear map, one colour per latent
    preview.save_decoder(preview.make_decoder(4, 2), tmp_path / "toy" / FILE)
    with looking(load_folder(tmp_path / "toy", "toy"), memory) as look:
        assert look(latents).size == (16, 16)


def test_a_linear_decoder_is_written_and_read_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    decoder = preview.fit_linear(torch.randn(4, 6, 8, 8), torch.randn(4, 3, 16, 16))
    preview.save_decoder(decoder, tmp_path / "preview.safetensors")
    latents = torch.randn(1, 6, 5, 7)
    read = load_decoder(tmp_path / "preview.safetensors", torch.float32)
    torch.testing.assert_close(read(latents), decoder(latents), atol=1e-3, rtol=1e-2)

"""A decoder that is shown the kept picture: it learns to keep it, decodes as before without it, and is found on disk."""

import json
from pathlib import Path
from random import Random

import pytest
import torch
from diffusers import AutoencoderKL

from pipelines.errors import BadCheckpoint
from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder
from pipelines.models.autoencoders import KEEPING
from pipelines.models.keeping import load_keeping, made_for
from pipelines.training import keeping
from pipelines.training.keeping import masks, save_keeping
from tests.tiny.checkpoints import stable_diffusion

WORDS = ["--batch", "4", "--rate", "0.01", "--examined", "2", "--device", "cpu", "--precision", "fp32"]


def test_a_toy_learns_to_keep_what_it_is_shown_and_goes_on_after_a_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stable_diffusion(tmp_path / "toy")
    words = [*WORDS, "--model", str(tmp_path / "toy"), "--run", str(tmp_path / "run")]

    def kept(steps: int) -> dict[str, float]:
        keeping.main([*words, "--steps", str(steps)])
        return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))

    before, after = kept(1), kept(60)
    assert after["kept"] > max(before["kept"], after["kept_plain"]) + 1, (before, after)
    lines = (tmp_path / "run" / "keeping.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines][-1] == 60
    assert (tmp_path / "toy" / "vae" / KEEPING).exists()


@torch.inference_mode()
def test_a_branch_beside_an_autoencoder_is_used_where_something_is_kept(tmp_path: Path, toy: ModelSpec) -> None:
    stable_diffusion(tmp_path / "toy")
    bare = load_folder(tmp_path / "toy", "bare")
    vae = AutoencoderKL.from_pretrained(tmp_path / "toy" / "vae")
    branch = made_for(vae.decoder)
    for head in branch.heads:
        torch.nn.init.normal_(head.weight, std=0.3)  # type: ignore[arg-type]
    save_keeping(branch, tmp_path / "toy" / "vae" / KEEPING)
    spec, memory = load_folder(tmp_path / "toy", "kept"), Memory()
    assert bare.decode_keeping is None and spec.decode_keeping is not None and spec.vae.key != bare.vae.key
    latents, pixels = torch.randn(1, 4, 16, 16), torch.rand(1, 3, 32, 32) * 2 - 1
    mask = masks(Random(1), 1, 32)
    with memory.use(bare.vae) as plain_vae, memory.use(spec.vae) as ours:
        plain = bare.decode(plain_vae, latents)
        assert torch.equal(spec.decode(ours, latents), plain)
        free = spec.decode_keeping(ours, latents, pixels, torch.ones_like(mask))
        assert torch.allclose(free, plain, atol=1e-5)
        shown = spec.decode_keeping(ours, latents, pixels, mask)
        other = spec.decode_keeping(ours, latents, torch.where(mask > 0, -pixels, pixels), mask)
        assert not torch.allclose(shown, plain, atol=1e-2)
        assert torch.equal(shown, other)  # what is under the mask is not seen
        assert torch.equal(spec.decode(ours, latents), plain)


def test_a_damaged_branch_is_a_sentence(tmp_path: Path) -> None:
    stable_diffusion(tmp_path / "toy")
    vae = AutoencoderKL.from_pretrained(tmp_path / "toy" / "vae")
    save_keeping(made_for(vae.decoder), tmp_path / "branch.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "branch.safetensors").read_bytes()[:-9])
    with pytest.raises(BadCheckpoint, match="damaged"):
        load_keeping(tmp_path / "cut.safetensors")

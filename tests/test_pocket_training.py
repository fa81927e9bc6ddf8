"""The training of the built-in model, at toy size: it learns, it goes on after a stop, and diffusers loads the result."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from pipelines.training import export, painter, pocket, polish
from pipelines.training.album import LARGEST, THINGS, importance, shares
from pipelines.training.backdrops import Backdrop
from pipelines.training.captions import words
from pipelines.training.learner import Budget
from pipelines.training.linear_code import fit
from pipelines.training.painter import Painter
from pipelines.training.partner import Partner
from pipelines.training.sampling import sort_of
from pipelines.training.words import make_tokenizer
from pipelines.training.world import Item, Scene


def train(run: Path, steps: int, *stages: str, more: str = "") -> None:
    """The command at toy size."""
    line = f"--run {run} --out {run}/model --small-out {run}/small --size toy --precision fp32 --threads 1 --workers 1"
    line += f" --device cpu --scenes 250 --autoencoder-batch 4 --autoencoder-rate 4e-3 --painter-batch 8 --painter-rate 4e-3 --sheet 1 --steps {steps}"
    pocket.main(
        [*line.split(), *more.split(), "--painter-minutes", "inf", "--autoencoder-minutes", "inf", "--stages", *stages]
    )


def log(run: Path, name: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pocket.HELD_OUT = 250
    folder = tmp_path_factory.mktemp("pocket")
    train(folder, 50, "scenes", "painter")
    train(folder, 16, "autoencoder", "export")
    return folder


def test_the_loss_on_held_out_scenes_falls(run, tmp_path):
    (tmp_path / "code.safetensors").write_bytes((run / "code.safetensors").read_bytes())
    (tmp_path / "scenes").symlink_to(run / "scenes")
    train(tmp_path, 1, "painter", "autoencoder")
    assert log(run, "painter")[-1]["held_out"] < 0.92 * log(tmp_path, "painter")[-1]["held_out"]
    assert log(run, "autoencoder")[-1]["psnr"] > log(tmp_path, "autoencoder")[-1]["psnr"] + 1


def test_going_on_after_a_stop_gives_what_an_uninterrupted_run_gives(run, tmp_path, monkeypatch):
    (tmp_path / "code.safetensors").write_bytes((run / "code.safetensors").read_bytes())
    (tmp_path / "scenes").symlink_to(run / "scenes")
    loss, seen = pocket.painter.painter_loss, []

    def stopped(*given):
        seen.append(1)
        if len(seen) == 25:
            raise KeyboardInterrupt
        return loss(*given)

    monkeypatch.setattr(pocket.painter, "painter_loss", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 50, "painter")
    monkeypatch.setattr(pocket.painter, "painter_loss", loss)
    train(tmp_path, 50, "painter")
    whole, resumed = load_file(run / "painter.safetensors"), load_file(tmp_path / "painter.safetensors")
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_diffusers_loads_and_runs_what_was_exported(run):
    pipe = StableDiffusionPipeline.from_pretrained(run / "model")
    pipe.set_progress_bar_config(disable=True)
    assert pipe("a cat", num_inference_steps=2, height=64, width=96).images[0].size == (96, 64)
    latents = pipe.vae.encode(torch.zeros(1, 3, 64, 64)).latent_dist
    assert float(latents.std.detach().max()) < 0.01
    assert not list((run / "model").rglob("*.bin"))


def test_every_word_of_the_grammar_is_one_token_and_others_fall_into_pieces():
    tokenizer = make_tokenizer(words())
    assert all(len(tokenizer(word).input_ids) == 3 for word in words())
    assert len(tokenizer("zebrafish").input_ids) > 3
    assert tokenizer.decode(tokenizer("Zebrafish on the beach").input_ids, skip_special_tokens=True).startswith("zebra")


def test_the_linear_code_is_a_projection_with_latents_of_unit_size():
    pixels = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pixels = torch.nn.functional.avg_pool2d(pixels, 5, 1, 2)
    code = fit([pixels])
    latents = code.encode(pixels)
    assert abs(float(latents.square().mean()) - 1) < 0.05
    torch.testing.assert_close(code.encode(code.decode(latents)), latents, atol=1e-4, rtol=1e-4)


def test_the_rate_warms_up_holds_and_ends_at_nothing():
    budget = Budget(steps=1000, rate=1.0)
    rates = [budget.rate_at(step, 0) for step in range(1000)]
    assert rates[0] == 0.01 and rates[99] == rates[599] == 1 and rates[-1] < 0.01
    assert all(a >= b for a, b in pairwise(rates[599:]))
    assert Budget(minutes=2).fraction(0, 60) == 0.5


def test_training_goes_on_from_the_weights_of_a_finished_model(run, tmp_path):
    (tmp_path / "scenes").symlink_to(run / "scenes")
    train(tmp_path, 1, "painter", more=f"--begin-from {run}/model --painter-rate 1e-6")
    assert log(tmp_path, "painter")[-1]["held_out"] == pytest.approx(log(run, "painter")[-1]["held_out"], rel=0.02)


def test_what_a_partner_found_is_averaged_in_and_a_broken_gradient_is_not():
    net = torch.nn.Linear(2, 1, bias=False)
    partner = Partner(partial(line_and_loss, 3.0), net, core=min(os.sched_getaffinity(0)))
    try:
        partner.add(net)
        assert partner.ready.wait(60)
        net.weight.grad = torch.tensor([[1.0, 1.0]])
        partner.add(net)
        torch.testing.assert_close(net.weight.grad, torch.tensor([[2.0, 2.0]]))
        assert partner.ready.wait(60)
        partner.gradient.fill_(float("nan"))
        partner.add(net)
        torch.testing.assert_close(net.weight.grad, torch.tensor([[2.0, 2.0]]))
    finally:
        partner.process.kill()


def test_a_partner_ends_when_the_first_was_killed():
    words = """
import os, torch
from functools import partial
from pipelines.training.partner import Partner
from tests.test_pocket_training import line_and_loss
partner = Partner(partial(line_and_loss, 3.0), torch.nn.Linear(2, 1, bias=False), min(os.sched_getaffinity(0)))
print(partner.process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    said = subprocess.run([sys.executable, "-c", words], stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    orphan = Path(f"/proc/{int(said.stdout)}/stat")
    for _ in range(120):
        if not orphan.exists() or orphan.read_text().split(")")[1].split()[0] == "Z":  # gone, or not yet collected
            return
        time.sleep(0.5)
    pytest.fail("the partner works on for nobody")


def line_and_loss(slope: float) -> tuple[torch.nn.Module, Callable[[int], torch.Tensor]]:
    net = torch.nn.Linear(2, 1, bias=False)
    return net, lambda step: (net.weight * slope).sum()


def test_places_where_things_are_count_more():
    where = importance(Scene((Item("cat", 0.5, 0.25, "big", 0.6),), Backdrop("red", 1)), 256, 128)
    assert where.shape == (8, 16)
    assert where[2, 8] == THINGS and where[2, 4] == where[6, 8] == 1


def test_places_of_small_things_count_more_than_those_of_large_ones():
    where = importance(Scene((Item("cat", 0.5, 0.5, "small", 0.22),), Backdrop("red", 1)), 256, 256)
    assert where[8, 8] == pytest.approx(THINGS * LARGEST / 0.22) and where[0, 0] == 1


def test_of_a_sort_of_scenes_only_its_share_is_learned_from(run):
    album = pocket.Workshop(pocket.parse(["--run", str(run)])).album("train", 250)
    parts = []
    for given in (shares("single-medium=0.05,twins=1"), {}):
        taken = album.batch(1, 1, 300, given).latents
        page = next(each for each in album.pages if each.latents.shape[1:] == taken.shape[1:])
        known = torch.from_numpy(page.latents.copy()).float().flatten(1)
        numbers = torch.cdist(taken.flatten(1), known).argmin(1).tolist()
        parts.append(sum(sort_of(page.scene(number)) == "single-medium" for number in numbers) / len(numbers))
    assert parts[0] < 0.06 and parts[1] > 0.12


@pytest.mark.parametrize("text", ["single=0.5", "pair", "pair=0", "trio=1.5", "pair=few"])
def test_a_share_that_cannot_be_is_refused_with_what_there_is(text, capsys):
    with pytest.raises(SystemExit):
        pocket.parse(["--shares", text])
    assert "--shares" in capsys.readouterr().err


def test_an_autoencoder_learns_to_read_what_the_painter_writes_and_goes_on_after_a_stop(run, tmp_path):
    line = f"--model {run}/model --run {tmp_path} --out {tmp_path}/out --size toy --precision fp32 --device cpu --rate 4e-3"
    line += " --batch 2 --scenes 1"
    polish.main([*line.split(), "--steps", "3"])
    polish.main([*line.split(), "--steps", "24"])
    lines = log(tmp_path, "polish")
    assert lines[-1]["step"] == 24 and lines[-1]["psnr_painted"] > lines[0]["psnr_painted"] + 0.3
    assert (tmp_path / "out" / "vae" / "diffusion_pytorch_model.safetensors").exists()


def test_a_walk_of_the_painter_from_little_noise_ends_near_where_it_began():
    clean = torch.randn(2, 32, 4, 4, generator=torch.Generator().manual_seed(0))
    alphas = pocket.painter.make_scheduler().alphas_cumprod

    def knowing(x, times, tokens):  # the v of a network that knows the picture
        alpha, sigma = alphas[times[0]].sqrt(), (1 - alphas[times[0]]).sqrt()
        return (alpha * x - clean.repeat(2, 1, 1, 1)) / sigma

    walked = polish.walked(knowing, clean, torch.zeros(4, 3), 200, torch.Generator().manual_seed(1))
    torch.testing.assert_close(walked, clean, atol=1e-4, rtol=1e-4)


def test_a_blend_lies_between_what_was_and_what_was_learned() -> None:
    size = painter.SIZES["toy"]
    one, other = (Painter(painter.make_unet(size), painter.make_text(make_tokenizer(words()), size)) for _ in range(2))
    wanted = [old.lerp(new, 0.75) for old, new in zip(one.parameters(), other.parameters(), strict=True)]
    made = export.blended(other, one, 0.75)
    for weight, each in zip(made.parameters(), wanted, strict=True):
        torch.testing.assert_close(weight, each)

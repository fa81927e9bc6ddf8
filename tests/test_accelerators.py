"""Accelerators: off is the same picture to the byte, the network is left as it was, and what they leave out is counted."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path as Folder

import pytest
import torch
from torch import Tensor, nn

from pipelines.accelerators import accelerators
from pipelines.accelerators.encoder_propagation import key_steps
from pipelines.accelerators.inheritance import computed_steps
from pipelines.accelerators.merging import Importance, joined
from pipelines.errors import StudioError
from pipelines.events import Finished
from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder
from pipelines.painting import encoded
from pipelines.samplers import Path, samplers
from pipelines.tasks import parse, run
from pipelines.types import Predict, Run
from tests.accounting import host, result_of
from tests.tiny.checkpoints import flux

STEPS = 12
FOR_UNETS = [name for name in accelerators if name not in ("block_cache", "compile")]  # tests/test_compiled.py
SMALL = {"task": "text_to_image", "model": "toy", "steps": 4, "width": 64, "height": 64, "seed": 1, "prompt": "a cat"}


def picture(memory: Memory, **values: object) -> bytes:
    (done,) = (each for each in run(parse({**SMALL, **values}), memory) if isinstance(each, Finished))
    return done.painted.picture.tobytes()


@pytest.fixture
def walk(toy: ModelSpec) -> Iterator[Run]:
    memory = host()
    sigmas = torch.cat([torch.logspace(1.1, -1, STEPS), torch.zeros(1)])
    with memory.use(toy.net) as net:
        yield Run(net, sigmas, memory, toy)


def counted(module: nn.Module, calls: list[str], name: str) -> None:
    module.register_forward_pre_hook(lambda *_: calls.append(name))


@torch.inference_mode()
def walked(run: Run, name: str, predict: Predict | None = None, side: int = 16, **knobs: object) -> Tensor:
    """Where DDIM ends with the toy network and classifier-free guidance of 4, accelerated."""
    assert run.spec
    cond, uncond = (encoded(run.spec, run.memory, prompt) for prompt in ("a red cat", ""))
    x = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(3)) * run.sigmas[0]
    method = accelerators[name](**knobs)

    def guide(predict, x, sigma, cond, uncond):
        negative, positive = predict(x, sigma, [uncond, cond])
        return negative.lerp(positive, 4)

    with method.apply(predict or run.spec.predictor(run.net), run) as faster, method.around(guide, run) as around:
        return result_of(samplers["ddim"]()(lambda x, s: around(faster, x, s, cond, uncond), x, run.sigmas, Path()))


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("name", list(accelerators))
def test_off_is_the_same_picture_to_the_byte_and_defaults_paint_one(toy: ModelSpec, name: str) -> None:
    memory = host()
    plain = picture(memory)
    assert picture(memory, accelerators=[{"name": name, "knobs": accelerators[name].off}]) == plain
    if name in FOR_UNETS:
        picture(memory, accelerators=[name])
    assert picture(memory) == plain


@pytest.mark.parametrize("name", FOR_UNETS)
def test_the_network_is_as_it_was_even_after_a_failure(name: str, walk: Run) -> None:
    processors = dict(walk.net.attn_processors)
    asked = 0
    assert walk.spec
    ours = walk.spec.predictor(walk.net)

    def failing(*question: object) -> list[Tensor]:
        nonlocal asked
        asked += 1
        if asked > 2:
            raise RuntimeError("stopped here")
        return ours(*question)

    with pytest.raises(RuntimeError, match="stopped here"):
        walked(walk, name, failing, **({"small": "toy"} if name == "stitching" else {}))
    assert processors == walk.net.attn_processors
    assert not [key for key, module in walk.net.named_modules() if "forward" in vars(module)]


@pytest.mark.parametrize("name", FOR_UNETS)
def test_defaults_stay_near_the_walk_they_speed_up(name: str, walk: Run) -> None:
    assert apart(walked(walk, name), walked(walk, name, **accelerators[name].off)) < 0.3


def test_faster_diffusion_looks_at_key_steps_and_decodes_at_all(walk: Run) -> None:
    calls: list[str] = []
    counted(walk.net.mid_block.resnets[0], calls, "middle")
    counted(walk.net.up_blocks[0].resnets[0], calls, "up")
    walked(walk, "faster", longest=5)
    assert calls.count("middle") == len(key_steps(STEPS, 5)) < STEPS == calls.count("up")


def test_key_steps_are_those_of_the_paper() -> None:
    assert key_steps(50, 15) == {0, 1, 2, 3, 5, 10, 15, 25, 35}
    assert key_steps(50, 0) == set(range(50))
    assert max(b - a for a, b in pairwise(sorted(key_steps(50, 4)))) == 5


def test_inheritance_leaves_out_the_inner_blocks_and_runs_the_outer(walk: Run) -> None:
    calls: list[str] = []
    counted(walk.net.mid_block.resnets[0], calls, "middle")
    counted(walk.net.down_blocks[0].resnets[0], calls, "outer")
    walked(walk, "inheritance", every=3)
    assert calls.count("middle") == len(computed_steps(STEPS, 3, "even")) == 4 and calls.count("outer") == STEPS
    assert all(min(computed_steps(50, 4, spacing)) == 0 for spacing in ("even", "early", "late"))
    assert sum(computed_steps(50, 4, "early")) < sum(computed_steps(50, 4, "even")) < sum(computed_steps(50, 4, "late"))


def test_sada_leaves_whole_steps_out_and_never_more_than_allowed_in_a_row(walk: Run) -> None:
    assert walk.spec
    ours, asked = walk.spec.predictor(walk.net), []

    def heard(x: Tensor, sigma: Tensor, conds: list) -> list[Tensor]:
        asked.append(walk.step(sigma))
        return ours(x, sigma, conds)

    walked(walk, "sada", heard, longest=2)
    assert asked[:3] == [0, 1, 2] and asked[-1] == STEPS - 1 and len(asked) < STEPS
    assert max(b - a for a, b in pairwise(asked)) <= 3


def test_sada_is_near_the_walk_it_spares_and_not_worse_than_as_many_plain_steps() -> None:
    """Gaussian data at 50 steps: the end is known. Against a plain walk of as many calls."""
    mean, deviation = 0.7, 0.4
    x = 14 * torch.randn(64, 1, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def guide(predict, x, sigma, cond, uncond):
        asked.append(1)
        return mean + deviation**2 / (deviation**2 + sigma**2) * (x - mean)

    def ended(steps: int, **knobs: int) -> Tensor:
        ramp = torch.linspace(14 ** (1 / 7), 0.03 ** (1 / 7), steps, dtype=torch.float64) ** 7
        sigmas = torch.cat([ramp, ramp[:1] * 0])
        with accelerators["sada"](**knobs).around(guide, Run(None, sigmas, host())) as around:
            walk = samplers["dpmpp_2m"]()(lambda x, s: around(None, x, s, None, None), x, sigmas, Path())
            return result_of(walk)

    exact = mean + (x - mean) * deviation / (deviation**2 + 14**2) ** 0.5
    asked: list[int] = []
    spared = float((ended(50, longest=2) - exact).abs().median())
    calls = len(asked)
    assert calls <= 50 / 1.6
    assert spared < 0.02


def test_todo_halves_keys_and_values_of_the_finest_level_alone(walk: Run) -> None:
    seen: list[tuple[int, int]] = []
    for name, layer in walk.net.named_modules():
        if name.endswith("attn1"):
            layer.to_k.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    walked(walk, "todo", factor=2)
    plain = seen.copy()
    assert {16, 64 // 4} & set(plain)
    seen.clear()
    walked(walk, "todo", factor=1)
    assert max(seen) == 64 and max(plain) == 16


def test_hidiffusion_shows_the_inner_network_its_own_size_and_then_the_whole(walk: Run) -> None:
    sizes: list[int] = []
    walk.net.mid_block.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape[-1]))
    native = walk.spec.side // walk.spec.factor
    walked(walk, "hidiffusion", side=2 * native, until=0.5)
    assert sizes[: STEPS // 2] == [native // 2] * (STEPS // 2) and sizes[STEPS // 2 :] == [native] * (STEPS // 2)


def test_hidiffusion_does_nothing_at_the_networks_own_size(walk: Run) -> None:
    native = walk.spec.side // walk.spec.factor
    off = accelerators["hidiffusion"].off
    assert torch.equal(walked(walk, "hidiffusion", side=native), walked(walk, "hidiffusion", side=native, **off))


def test_windows_cover_the_grid_and_are_put_back_in_place() -> None:
    from pipelines.accelerators.hidiffusion import Enlarged, Windowed

    state = Enlarged()
    state.windows = True
    tokens = torch.randn(2, 8 * 12, 5)
    for state.step in range(4):
        state.grid.begin(torch.zeros(1, 4, 8, 12))
        windowed = Windowed(lambda _, tokens, *__, **___: tokens * 2, state)
        assert torch.equal(windowed(None, tokens), tokens * 2)
        state.grid.begin(torch.zeros(1, 4, 8, 12))
        means = Windowed(lambda _, tokens, *__, **___: tokens.mean(1, keepdim=True).expand_as(tokens), state)(
            None, tokens
        )
        assert len(means.unique(dim=1)[0]) == 4


def test_merged_tokens_are_means_and_the_important_are_kept() -> None:
    importance = Importance(torch.Generator().manual_seed(0))
    importance.latest = torch.arange(64.0).reshape(1, 1, 8, 8)
    to, merged, kept = importance.split(8, 8, 0.5, torch.zeros(1))
    assert sorted([*to.tolist(), *merged.tolist(), *kept.tolist()]) == list(range(64))
    assert len(to) == 16 and int(to.min()) >= 32 and len(merged) == 32 and int(merged.max()) < 32
    tokens = torch.randn(2, 64, 5, generator=torch.Generator().manual_seed(1))
    tokens[:, merged[0]] = tokens[:, to[3]]
    fewer, nearest = joined(tokens, to, merged, kept)
    assert fewer.shape == (2, 32, 5) and nearest[:, 0].tolist() == [3, 3]


def test_merging_attends_with_fewer_tokens(walk: Run) -> None:
    seen: list[int] = []
    for name, layer in walk.net.named_modules():
        if name.endswith("attn1"):
            layer.to_q.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    walked(walk, "merging", ratio=0.5)
    assert max(seen) == 32


def test_stitching_asks_the_small_model_first_and_needs_one_of_the_same_kind(walk: Run) -> None:
    assert walk.spec
    ours, asked = walk.spec.predictor(walk.net), []

    def heard(x: Tensor, sigma: Tensor, conds: list) -> list[Tensor]:
        asked.append(walk.step(sigma))
        return ours(x, sigma, conds)

    end = walked(walk, "stitching", heard, small="toy", share=0.5)
    assert asked == list(range(STEPS // 2, STEPS))
    assert torch.equal(end, walked(walk, "stitching", share=0.0))
    with pytest.raises(StudioError, match="no model called"):
        walked(walk, "stitching", small="nowhere")


def test_the_block_cache_skips_blocks_of_a_transformer_and_is_taken_out_again(tmp_path: Folder) -> None:
    flux(tmp_path / "flux")
    spec, memory, calls = load_folder(tmp_path / "flux", "flux", title="Flux"), host(), []
    with torch.inference_mode(), memory.use(spec.net) as net:
        before = {key: module.forward for key, module in net.named_modules()}
        cond, sigmas = encoded(spec, memory, "a cat"), spec.own(STEPS)
        x = torch.randn(1, spec.channels, 16, 16, generator=torch.Generator().manual_seed(0))
        counted(net.single_transformer_blocks[-1].attn, calls, "last")

        def ended(tolerance: float) -> tuple[Tensor, int]:
            calls.clear()
            with accelerators["block_cache"](tolerance=tolerance).apply(
                spec.predictor(net), Run(net, sigmas, memory, spec)
            ) as predict:
                path = Path(spec.alpha)
                end = result_of(samplers["euler"]()(lambda x, s: predict(x, s, [cond])[0], x, sigmas, path))
            return end, len(calls)

        plain, cached, again = ended(0.0), ended(0.3), ended(0.0)
        assert plain[1] == again[1] == STEPS and torch.equal(plain[0], again[0])
        assert cached[1] < STEPS and apart(cached[0], plain[0]) < 0.3
        assert before == {key: module.forward for key, module in net.named_modules()}


def test_the_block_cache_says_where_it_does_not_work(walk: Run) -> None:
    with pytest.raises(StudioError, match="cannot be cached"):
        walked(walk, "block_cache")


def seam_of(pixels: Tensor, axis: int) -> float:
    """The step across the edges laid together, over the mean step inside."""
    inside = pixels.diff(dim=axis).abs().mean()
    across = (pixels.select(axis, 0) - pixels.select(axis, -1)).abs().mean()
    return float(across / inside)


@torch.inference_mode()
@pytest.mark.parametrize(("repeats", "axes"), [("both", [2, 3]), ("across", [3]), ("down", [2])])
def test_textures_meet_at_the_edges_that_repeat(walk: Run, repeats: str, axes: list[int]) -> None:
    """A step across the seam is like any other, in latents and in pixels; the others' edges stay edges. A46."""
    assert walk.spec
    method = accelerators["seamless"](repeats=repeats)
    latents = walked(walk, "seamless", side=32, repeats=repeats)
    with walk.memory.use(walk.spec.vae) as vae:
        blocks = torch.nn.functional.interpolate(latents[..., ::8, ::8], (32, 32), mode="nearest")
        texture = blocks.roll((4, 4), (2, 3))  # one whose edges lie within a block: where they meet, nothing changes
        pixels, plain = (decode(vae, texture) for decode in (method.decoding(walk.spec.decode), walk.spec.decode))
    assert pixels.shape == plain.shape
    assert all(seam_of(pixels, axis) < min(1.0, seam_of(plain, axis)) for axis in axes)
    assert all(seam_of(latents, axis) < 1.2 for axis in axes)


def test_textures_are_not_cut_where_blocks_of_a_decoder_meet() -> None:
    """Blocks of one latent each: the edge lies within one, so that nothing changes across it. A46."""
    latents = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    def blocks(_: object, seen: Tensor) -> Tensor:
        return seen.repeat_interleave(8, 2).repeat_interleave(8, 3)

    pixels = accelerators["seamless"]().decoding(blocks)(torch.nn.Identity(), latents)
    assert seam_of(pixels, 2) == seam_of(pixels, 3) == 0 < seam_of(blocks(None, latents), 2)


@torch.inference_mode()
def test_a_seamless_network_does_not_know_where_the_picture_is_cut(walk: Run) -> None:
    """What is shifted by as much as the network halves comes out shifted; with zeros at the edges it does not."""
    assert walk.spec
    cond, predict = encoded(walk.spec, walk.memory, "a cat"), walk.spec.predictor(walk.net)
    x, sigma = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)), walk.sigmas[3]

    def ask(sees: Predict, shift: int) -> Tensor:
        return sees(x.roll((shift, shift), (2, 3)), sigma, [cond])[0].roll((-shift, -shift), (2, 3))

    method = accelerators["seamless"]()
    with method.apply(lambda *asked: predict(*asked), walk):
        around = apart(ask(predict, 8), ask(predict, 0))
    assert around < 1e-4 < apart(ask(predict, 8), ask(predict, 0))

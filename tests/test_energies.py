"""Guidance by energies: gradients against finite differences, the papers' steps as cases, and energies that fall."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from pipelines.energies import energies, region
from pipelines.errors import BadRequest
from pipelines.events import Finished
from pipelines.guidance import guidances
from pipelines.guidance.tfg import WAYS, landing
from pipelines.models import ModelSpec
from pipelines.painting import encoded
from pipelines.samplers import Path as Walk
from pipelines.samplers import samplers
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse, run
from pipelines.types import Predict, Run
from tests.accounting import host, result_of

SIGMAS = torch.tensor([14.0, 6.0, 3.0, 1.0, 0.3, 0.0])
SIGMA = SIGMAS[1]
X = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
NEAR = [name for name in energies if name != "words"]  # those that need no further model


@pytest.fixture
def run_of(toy: ModelSpec, tmp_path: Path) -> Iterator[Run]:
    memory = host()
    with memory.use(toy.net) as net:
        yield Run(net, SIGMAS, memory, toy, FolderShelf(tmp_path / "shelf"))


def knobs_of(name: str, run: Run) -> dict[str, str]:
    """What an energy needs to be told: a picture, where it wants one."""
    assert run.shelf
    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    return {"picture": run.shelf.put(picture)} if "picture" in energies[name].model_fields else {}


def parts(run: Run) -> tuple[Predict, object, object]:
    assert run.spec
    cond, uncond = (encoded(run.spec, run.memory, prompt) for prompt in ("a red cat", ""))
    return run.spec.predictor(run.net), cond, uncond


@pytest.mark.parametrize("name", NEAR)
def test_the_slope_of_an_energy_is_that_of_finite_differences(name: str, run_of: Run) -> None:
    with energies[name](**knobs_of(name, run_of)).of(run_of) as measure:
        at = X.double().clone().requires_grad_()
        energy = measure(at)
        (slope,) = torch.autograd.grad(energy.sum(), at)
        way = torch.randn(X.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            rise = (measure(at + 1e-4 * way) - measure(at - 1e-4 * way)) / 2e-4
    assert energy.shape == (1,) and float(energy) > 0
    assert float((slope * way).sum()) == pytest.approx(float(rise), rel=2e-3)


@pytest.mark.parametrize("name", NEAR)
@pytest.mark.parametrize("way", list(WAYS))
def test_an_energy_falls_by_half_and_the_network_is_as_it_was(way: str, name: str, run_of: Run) -> None:
    """SYSTEMS.md A20, A21."""
    predict, cond, uncond = parts(run_of)
    before = {key: (id(each), each.requires_grad) for key, each in run_of.net.named_parameters()}
    found = {}
    chosen = {"name": name, "knobs": knobs_of(name, run_of)}
    for strength in (0.0, 0.5):
        method = guidances["tfg"](scale=2, way=way, energy=chosen, strength=strength, end=1.0, rounds=2)
        with torch.inference_mode(), method.apply(run_of) as guide:
            end = result_of(
                samplers["euler"]()(lambda x, s: guide(predict, x, s, cond, uncond), X * 14, SIGMAS, Walk())
            )
            with energies[name](**chosen["knobs"]).of(run_of) as measure:
                found[strength] = float(measure(end))
    # on random weights x0 hardly depends on x at the end, so ways that go through the network have less to hold on to
    assert found[0.5] < (0.5 if WAYS[way].mean else 1.0) * found[0.0]
    assert before == {key: (id(each), each.requires_grad) for key, each in run_of.net.named_parameters()}
    assert all(each.grad is None for each in run_of.net.parameters())


def of_paper(run: Run, way: str, strength: float) -> Callable[[Tensor], Tensor]:
    """Where one plain step ends under a way, written down from its paper with its own gradients."""
    predict, cond, _ = parts(run)
    sigma, sigma_next = SIGMAS[1], SIGMAS[2]

    def stepped(x: Tensor) -> Tensor:
        with energies["colour"]().of(run) as measure:
            at = x.clone().requires_grad_()
            x0 = predict(at, sigma, [cond])[0]
            (through,) = torch.autograd.grad(measure(x0).sum(), at, retain_graph=True)
            clean = x0.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(measure(clean).sum(), clean)
            x0 = x0.detach()
            if way == "mpgd":  # He et al. 2023, Algorithm 1
                x0 = x0 - strength * slope
            if way == "universal":  # Bansal et al. 2023, Equations 6 and 9 with one step: eps' and then Delta
                eps = (x - x0) / sigma + strength * sigma * through
                x0 = x - sigma * eps
                clean = x0.clone().requires_grad_()
                x0 = x0 - strength * torch.autograd.grad(measure(clean).sum(), clean)[0]
            below = x0 + sigma_next * (x - x0) / sigma
            if way in ("dps", "freedom"):  # Chung et al. 2022, Algorithm 1, line 7; Yu et al. 2023, Algorithm 1, line 5
                below = below - strength * through
        return below.detach()

    return stepped


@pytest.mark.parametrize("way", ["mpgd", "universal", "dps", "freedom"])
def test_the_ways_are_those_of_their_papers(way: str, run_of: Run) -> None:
    """SYSTEMS.md A22: methods of others are cases."""
    predict, cond, uncond = parts(run_of)
    method = guidances["tfg"](scale=1, way=way, strength=0.7, even=False, end=1.0)
    x = 6 * X
    with torch.inference_mode(), method.apply(run_of) as guide:
        x0 = guide(predict, x, SIGMAS[1], cond, uncond)
        below = x0 + SIGMAS[2] * (x - x0) / SIGMAS[1]
    torch.testing.assert_close(below, of_paper(run_of, way, 0.7)(x), rtol=1e-3, atol=1e-3)


def test_landing_is_where_the_plain_step_ends() -> None:
    below = torch.randn(X.shape, generator=torch.Generator().manual_seed(2))
    x0 = landing(X, below, SIGMAS[1], SIGMAS[2], Walk())
    torch.testing.assert_close(x0 + SIGMAS[2] * (X - x0) / SIGMAS[1], below)


def test_time_travel_asks_as_often_as_it_says(run_of: Run) -> None:
    predict, cond, uncond = parts(run_of)
    asked: list[int] = []

    def counted(x: Tensor, sigma: Tensor, conds: list) -> list[Tensor]:
        asked.append(len(conds))
        return predict(x, sigma, conds)

    method = guidances["tfg"](scale=2, way="tfg", repeats=3, end=0.8)
    with torch.inference_mode(), method.apply(run_of) as guide:
        for sigma in SIGMAS[:-1]:
            guide(counted, X, sigma, cond, uncond)
    assert sum(asked) == 2 * (4 * 3 + 1) == method.asked("") * 5


def test_leaning_costs_less_within_an_interval_and_every_few_steps(run_of: Run) -> None:
    """SYSTEMS.md A24."""
    predict, cond, uncond = parts(run_of)
    leant = []
    for knobs in ({"begin": 0.2, "end": 0.8}, {"begin": 0, "end": 1, "every": 2}):
        methods = [guidances["tfg"](scale=2, strength=strength, **knobs) for strength in (0.5, 0.0)]
        with torch.inference_mode(), methods[0].apply(run_of) as leaning, methods[1].apply(run_of) as plain:
            ends = [[guide(predict, X, s, cond, uncond) for guide in (leaning, plain)] for s in SIGMAS[:-1]]
        leant.append([not torch.equal(*pair) for pair in ends])
    assert leant == [[False, True, True, True, False], [True, False, True, False, True]]


@pytest.mark.parametrize("where", ["top", "right", "middle"])
def test_a_colour_leans_its_part_of_the_picture_and_no_other(where: str, run_of: Run) -> None:
    predict, cond, uncond = parts(run_of)
    ends = []
    for strength in (0.0, 0.5):
        energy = {"name": "colour", "knobs": {"colour": "#2040ff", "where": where}}
        with guidances["tfg"](scale=1, energy=energy, strength=strength).apply(run_of) as guide, torch.inference_mode():
            ends.append(guide(predict, X, SIGMA, cond, uncond))
    part = region(where, X)
    assert torch.equal(ends[0] * (1 - part), ends[1] * (1 - part))
    assert not torch.allclose(ends[0] * part, ends[1] * part)


def test_a_picture_is_leant_towards_another_from_request_to_result(toy: ModelSpec, tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path)
    name = shelf.put(Image.new("RGB", (64, 64), (20, 60, 240)))
    energy = {"name": "layout", "knobs": {"picture": name, "takes": "colours"}}
    base = {
        "task": "text_to_image",
        "model": "toy",
        "steps": 4,
        "width": 64,
        "height": 64,
        "seed": 3,
        "prompt": "a cat",
    }
    seen = {}
    for way in WAYS:
        for strength in (0.0, 0.6):
            knobs = {"way": way, "strength": strength, "energy": energy, "end": 1.0}
            request = parse({**base, "sampler": "euler", "guidance": {"name": "tfg", "knobs": knobs}})
            assert parse(request.model_dump(mode="json")) == request
            (done,) = (each for each in run(request, host(), shelf) if isinstance(each, Finished))
            assert done.painted.picture
            seen[way, strength] = done.painted.picture.tobytes()
        assert seen[way, 0.0] != seen[way, 0.6]
    bare = parse({**base, "guidance": {"name": "tfg", "knobs": {"energy": "layout"}}})
    with pytest.raises(BadRequest, match="choose the picture"):
        list(run(bare, host(), shelf))


def test_words_want_a_clip_and_say_so(run_of: Run) -> None:
    with pytest.raises(BadRequest, match="no CLIP"), energies["words"]().of(run_of):
        pass

"""Searches: what they cost to the last estimate, that they go on where they were stopped, and what their papers claim.

On exact densities for the claims, on a toy checkpoint for the task.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pipelines.errors import BadRequest
from pipelines.events import Finished, Progress
from pipelines.memory import Memory
from pipelines.models import ModelSpec
from pipelines.samplers import samplers
from pipelines.searches import searches
from pipelines.tasks import parse, run
from pipelines.terrain import Meter, Terrain, always, best_of, merged
from pipelines.types import exploding, straight
from tests.accounting import Accounting, host, result_of

SEARCHED = [name for name, search in searches.items() if not search.off]
SIGMAS = torch.cat([torch.logspace(1.3, -1.7, 24, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
FINE = torch.cat([torch.logspace(1, -1.3, 40, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
BUDGET = 240
SMALL = {
    "task": "text_to_image", "model": "toy", "steps": 3, "width": 64, "height": 64, "seed": 11, "prompt": "a red cat",
    "guidance": {"name": "cfg", "knobs": {"scale": 3}}, "verifiers": ["colourfulness"],
}  # fmt: skip


def gaussian(
    budget: int = BUDGET, flow: bool = False, seed: int = 0, reward: Callable[[Tensor], Tensor] | None = None, size: int = 2, log: dict | None = None, sampler: str = "euler", sigmas: Tensor = SIGMAS
) -> Terrain:  # fmt: skip
    """x0 ~ N(0, 1), rewarded for its mean."""
    tally = {"estimates": 0}
    if flow:
        sigmas = torch.linspace(1, 0, len(sigmas), dtype=torch.float64)
    alpha = straight if flow else exploding

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        tally["estimates"] += len(x)
        return alpha(sigma) * x / (alpha(sigma) ** 2 + sigma**2)

    def chance(number: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed * 1_000_003 + number)

    def source(number: int) -> Callable[[Tensor], Tensor]:
        drawn = chance(number)
        return lambda like: torch.randn(like.shape, dtype=like.dtype, generator=drawn)

    return Terrain(
        sigmas, torch.zeros(1, 1, 1, size, dtype=torch.float64), alpha,
        lambda noise, sigma: noise * (alpha(sigma) ** 2 + sigma**2).sqrt(),
        lambda: always(denoise), reward or (lambda x0: x0.mean()[None]), source, chance, samplers[sampler](), Meter(lambda: tally["estimates"]),
        budget, whole=len(sigmas) - 1, call=1, judging=0, log={} if log is None else log,
    )  # fmt: skip


def explored(name: str, terrain: Terrain, **knobs: object) -> Terrain:
    result_of(searches[name](budget=max(terrain.budget, 1), **knobs)(terrain))
    return terrain


@pytest.mark.parametrize("name", SEARCHED)
def test_a_search_never_spends_more_than_its_budget_and_uses_most_of_it(name: str) -> None:
    for budget in (24, 130, 500):
        terrain = explored(name, gaussian(budget))
        assert budget - 6 * 24 < terrain.meter.spent <= budget and terrain.tries


@pytest.mark.parametrize("name", SEARCHED)
def test_the_best_never_gets_worse_with_more_to_spend(name: str) -> None:
    found = [float(explored(name, gaussian(budget)).best().scores) for budget in (120, 360, 1080)]
    assert found[0] <= found[2] and (name == "rbf" or found == sorted(found))


@pytest.mark.parametrize("name", SEARCHED)
def test_a_search_that_was_stopped_goes_on_where_it_was(name: str) -> None:
    whole = explored(name, gaussian())
    log: dict = {}
    halted = gaussian(log=log)
    running = searches[name](budget=BUDGET)(halted)
    for _ in range(100):
        next(running)
    running.close()
    again = explored(name, gaussian(log=log))
    assert torch.equal(again.best().x0, whole.best().x0)
    assert again.meter.spent == whole.meter.spent and again.meter.resumed >= 100 - 2 * 24


@pytest.mark.parametrize("name", SEARCHED)
def test_a_search_finds_better_than_the_first_picture_that_comes(name: str) -> None:
    gains = []
    for seed in range(4):
        terrain = gaussian(600, seed=seed)
        first = result_of(terrain.painted(0))
        gains.append(float(explored(name, gaussian(600, seed=seed)).best().scores - first.scores))
    assert sum(gains) / len(gains) > 0.3


def test_climbing_beats_the_best_of_as_many_seeds() -> None:
    """SYSTEMS.md A31. In 16 numbers, where luck alone gets nowhere."""
    climbed, drawn = (
        [float(explored(name, gaussian(24 * 30, seed=seed, size=16)).best().scores) for seed in range(4)]
        for name in ("zero_order", "random")
    )
    assert sum(climbed) >= sum(drawn)


def test_a_tree_finds_what_luck_needs_thrice_the_estimates_for_and_fair_walks_all_end() -> None:
    """SYSTEMS.md A34. In 16 numbers; where it draws fairly, only finished pictures are judged."""
    grown, drawn = (
        [float(explored(name, gaussian(budget, seed=seed, size=16)).best().scores) for seed in range(4)]
        for name, budget in (("tree", 480), ("random", 1440))
    )
    assert sum(grown) >= sum(drawn)
    judged: list[Tensor] = []
    terrain = explored("tree", gaussian(reward=lambda x0: judged.append(x0) or x0.mean()[None]), aim="fair")
    assert len(judged) == len(terrain.tries)


@pytest.mark.parametrize(("potential", "flow"), [("difference", True), ("max", False), ("sum", False)])
def test_steered_particles_draw_from_the_tilted_density(potential: str, flow: bool) -> None:
    """N(0, 1) tilted by exp(greed x) is N(greed, 1), whatever the potentials on the way. SYSTEMS.md A32."""
    greed, found = 0.8, []
    for seed in range(4):
        terrain = gaussian(seed=seed, flow=flow, reward=lambda x0: x0[0, 0, 0, :1], size=1, sigmas=FINE)
        method = searches["fk"](greed=greed, potential=potential, even=False, every=10)
        found += [float(x0) for x0 in result_of(method.steered(terrain, 64, 0))]
    assert abs(sum(found) / len(found) / greed - 1) < 0.3  # three deviations


def test_segments_keep_the_density_of_every_level() -> None:
    """The reverse process on both paths, in steps so small that its noise is not too little: mean and deviation of
    N(0, 1) at the end. SYSTEMS.md A33."""
    finest = torch.cat([torch.logspace(1, -1.3, 160, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    for flow in (False, True):
        ends = []
        for seed in range(30):
            terrain = gaussian(seed=seed, flow=flow, size=64, sigmas=finest)
            x = terrain.start(terrain.source(0)(terrain.template), terrain.sigmas[0])
            x, _ = result_of(terrain.segment(x, 0, 80, 1))
            ends.append(result_of(terrain.segment(x, 80, 160, 2))[0])
        end = torch.cat(ends)
        assert abs(float(end.mean())) < 0.05 and 0.95 < float(end.std()) < 1.05


def test_several_verifiers_count_by_their_ranks() -> None:
    scores = [torch.tensor(each) for each in ([1.0, 500.0], [2.0, 300.0], [1.5, 400.0], [0.0, 600.0])]
    assert merged(scores).tolist() == pytest.approx([2.0] * 4)
    assert best_of([torch.tensor([1.0, 9.0]), torch.tensor([2.0, 10.0])]) == 1
    assert merged([torch.tensor([3.0]), torch.tensor([7.0])]).tolist() == [3, 7]


def pictures(memory: Memory, **values: object) -> list[Finished]:
    return [each for each in run(parse({**SMALL, **values}), memory) if isinstance(each, Finished)]


@pytest.mark.parametrize("name", SEARCHED)
def test_the_network_is_asked_exactly_as_often_as_is_said(name: str, toy: ModelSpec) -> None:
    memory, asked = host(), []
    with memory.use(toy.net) as net:
        hook = net.register_forward_pre_hook(lambda module, given, named: asked.append(len(given[0])), with_kwargs=True)
        for judges in (["colourfulness"], [{"name": "classifier", "knobs": {"looks": 2}}]):
            asked.clear()
            search = {"name": name, "knobs": {"budget": 64}}
            result = result_of(run(parse({**SMALL, "search": search, "verifiers": judges}), memory))
            assert f"for {sum(asked)} estimates." in result.remarks[0]
            assert 0 < sum(asked) <= 64
        hook.remove()


@pytest.mark.parametrize("name", SEARCHED)
def test_a_found_picture_is_painted_again_by_its_request(name: str, toy: ModelSpec) -> None:
    (found,) = pictures(host(), search={"name": name, "knobs": {"budget": 40}})
    (again,) = (each for each in run(found.painted.request, host()) if isinstance(each, Finished))
    assert found.painted.picture and again.painted.picture
    assert found.painted.picture.tobytes() == again.painted.picture.tobytes()
    if name == "random":
        assert found.painted.request.search.name == "none"


@pytest.mark.parametrize("name", SEARCHED)
def test_a_search_needs_no_more_room_than_a_picture(name: str, toy: ModelSpec) -> None:
    tight = Memory(Accounting())
    tight.budget = max(tight.weight(part) for part in toy.parts()) + 2**18
    search = {"name": name, "knobs": {"budget": 40}}
    kept = [each.painted.picture.tobytes() for memory in (tight, host()) for each in pictures(memory, search=search)]
    assert kept[0] == kept[1]
    assert all(each.lent == 0 for each in tight.residents())


def test_the_budget_is_told_as_it_goes_and_the_best_so_far_is_shown(
    toy: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.searching.PREVIEW_SECONDS", 0)
    told = [
        each
        for each in run(parse({**SMALL, "search": {"name": "random", "knobs": {"budget": 30}}}), host())
        if isinstance(each, Progress)
    ]
    assert [each.step for each in told] == list(range(2, 31, 2)) and {each.steps for each in told} == {30}
    assert all(each.preview is not None for each in told)


def test_a_search_that_cannot_paint_one_picture_says_what_it_takes(toy: ModelSpec) -> None:
    with pytest.raises(BadRequest, match="takes 6 estimates"):
        pictures(host(), search={"name": "random", "knobs": {"budget": 5}})
    with pytest.raises(BadRequest, match="Judged by"):
        pictures(host(), search="random", verifiers=[])


def test_pictures_of_one_request_search_among_other_seeds(toy: ModelSpec) -> None:
    memory, search = host(), {"name": "random", "knobs": {"budget": 18}}
    both = pictures(memory, search=search, count=2)
    alone = [pictures(host(), search=search, seed=11 + k)[0] for k in range(2)]
    assert [each.painted.request for each in both] == [each.painted.request for each in alone]
    assert len({each.painted.request.seed for each in both}) == 2

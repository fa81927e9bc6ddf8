"""The tab of grids: a form with three axes on the left, the grid as it is painted on the right."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gradio as gr

from pipelines import grids
from pipelines.errors import StudioError
from pipelines.job import Job
from pipelines.library import Library
from pipelines.models import models
from pipelines.models.adapters import adapters, vaes
from pipelines.request import Request, validated
from pipelines.runner import Runner
from pipelines.tasks import tasks
from pipelines.tasks.compare import Compare
from pipelines.tasks.text_to_image import TextToImage
from studio.answers import Answers, Said
from studio.desk import Desk
from studio.easel import Easel
from studio.files import address
from studio.form import QUIET, Form
from studio.gridviews import KINDS, kept, live, taken, view, whole
from studio.phrases import said, spoken
from studio.security import owner_of
from studio.theme import read
from studio.viewer import Shown, Watch
from studio.views import watched

MEMO = "grid"  # under which an owner's last grid is remembered
NAMED: dict[str, Mapping[str, Any]] = {"model": models, "adapters": adapters, "vae": vaes}  # picked by a scan's names
FIRST: dict[str, str] = {  # what an axis begins with when its knob is chosen
    "steps": "5, 10, 20",
    "seed": "1-4",
    "sampler": "euler, heun, dpmpp_2m, unipc",
    "schedule": "own, karras, trailing",
    "guidance": "cfg, apg, cfgpp, interval",
    "guidance.scale": "1, 3, 5, 8",
    "accelerators": "none, sada, faster",
    "adapters.weight": "0-1[5]",
}
PROMPT = "a red balloon over the sea"  # of a ready grid
EXAMPLES: dict[str, dict[str, str]] = {
    "Samplers against steps": {"x": "steps", "x_values": FIRST["steps"], "y": "sampler", "y_values": FIRST["sampler"]},
    "How strict is right": {"x": "guidance.scale", "x_values": FIRST["guidance.scale"], "y": "", "y_values": ""},
    "What accelerators cost": {"x": "accelerators", "x_values": FIRST["accelerators"], "y": "seed", "y_values": "1, 2"},
}  # fmt: skip


class AxesForm(Form):
    """A form whose axes stand in boxes of their own: the knob, its values, and names to pick where it has some."""

    def draw(self, names: Iterable[str]) -> None:
        """Draw fields here; an axis with the field of its values."""
        for name in names:
            if name in ("x", "y", "z"):
                with gr.Column(elem_classes="axis"):
                    super().draw([name, f"{name}_values"])
                    self._connect(name)
            elif name not in self.controls:
                super().draw([name])

    def _connect(self, name: str) -> None:
        knob, values = self.controls[name], self.controls[f"{name}_values"]
        names = picks(str(knob.value))
        pick = gr.Dropdown(
            names,
            value=None,
            label="Add by name",
            visible=bool(names),
            filterable=True,
            elem_id=f"{self.prefix}pick-{name}",
            elem_classes="pick",
        )

        def chosen(path: str) -> str:
            return FIRST.get(path, ", ".join(picks(path)[:3]))

        def offered(path: str) -> Any:
            return gr.update(choices=picks(path), value=None, visible=bool(picks(path)))

        def added(value: str | None, text: str) -> list[Any]:
            parts = [each.strip() for each in (text or "").split(",") if each.strip()]
            return [", ".join(dict.fromkeys([*parts, *([value] if value else [])])), None]

        knob.input(chosen, knob, values, **QUIET)  # type: ignore[attr-defined]
        knob.change(offered, knob, pick, **QUIET)  # type: ignore[attr-defined]
        pick.input(added, [pick, values], [values, pick], **QUIET)


class GridAnswers(Answers):
    """The answers of this tab, where they are others than those of all tabs."""

    def example(self, who: gr.Request, event: gr.EventData, *values: Any) -> list[Any]:
        """A ready grid was pressed: its axes go into the form, to be started; with a prompt where there is none, for
        without one most knobs change nothing."""
        axes = EXAMPLES.get(str(event._data.get("prompt")), {})
        try:
            before = self.form.read(values).model_dump()
            prompt = before["prompt"] or PROMPT
            request = validated(Compare, {**before, "prompt": prompt, "z": "", "z_values": "", **axes})
        except StudioError as error:
            return self._refused(str(error))
        self.desk.remember(request, who, self.place)
        return self._showing(request, who)

    def reused(self, event: gr.EventData, who: gr.Request) -> list[Any]:
        """Settings are wanted again, unless it is in another tab."""
        if event._data.get("to") not in (None, self.place):
            return [gr.skip() for _ in (*self.form.controls, 0, 0, 0, 0)]
        return super().reused(event, who)

    def resumed(self, who: gr.Request) -> Said:
        """Continue was pressed: what the grid lacks is put in line; the note."""
        owner = owner_of(who, self.desk.shared)
        grid = grid_of(self.desk.library, owner, self.desk.runner.jobs(owner))
        if grid is None:
            return said("There is no grid to go on with.", "error")
        there = kept(self.desk.library, owner, grid)
        made = [each.request for each in grid.cells() if each.request.to_json() in there]
        rest = grid.without(made)
        return self._started(rest, who) if rest.wanted() else said("The grid is whole.")

    def _submitted(self, values: Sequence[Any], changes: Any, who: gr.Request) -> Said:
        try:
            request = self.form.read(values)
        except StudioError as error:
            return said(str(error), "error")
        note = self._started(request, who)
        self.desk.remember(request, who, self.place)
        return note

    def _started(self, request: Request, who: gr.Request) -> Said:
        try:
            job = self.desk.submit(request, who)
        except StudioError as error:
            return said(str(error), "error")
        if isinstance(job.request, Compare):
            grid = whole(job.request).model_dump(mode="json")
            self.desk.library.remember(owner_of(who, self.desk.shared), MEMO, grid)
        return said("")

    def _expected(self, request: Request, who: gr.Request) -> Said:
        if not isinstance(request, Compare):
            return super()._expected(request, who)
        cost = self.desk.runner.expect(request, owner_of(who, self.desk.shared))
        count, asked = len(request.wanted()), request.evaluations()
        parts = [f"{count} picture{'s' if count != 1 else ''}", f"{asked:,} network evaluations".replace(",", " ")]
        parts += [f"about {spoken(cost.seconds)}"] if cost.seconds is not None else []
        return {
            "text": " · ".join([*parts, *filter(None, [cost.remark])]),
            "known": "no" if cost.seconds is None else "yes",
        }


class GridWatch(Watch):
    """Follows the grids of whoever looks."""

    def shown(self, owner: str) -> Shown:
        """What a page has been told, before anything was."""
        return GridShown(self.library, owner, self.tasks)

    def attach(self, blocks: gr.Blocks, stage: gr.HTML, gauge: gr.HTML, stop: gr.Button, at_once: bool = False) -> None:
        """Wire the stage; it asks for news once its tab is there, for what it is told before is lost."""
        super().attach(blocks, stage, gauge, stop, at_once=False)


class GridShown(Shown):
    """As for any job, and the grid beside it."""

    _grid: Any = None

    async def news(self, jobs: Sequence[Job], runner: Runner) -> list[Any]:
        """Updates for grid, gauge and stop button; empty while there is nothing to say."""
        updates = await super().news(jobs, runner)
        if not updates:
            return []
        job, request = watched(jobs), grid_of(self._library, self._owner, jobs)
        update = {name: value for name, value in updates[0].items() if name != "film"}
        update["value"] = {**update["value"], "live": live(job)}
        if request is not None:
            told = (request, self._library.album.changes, [each.said for each in jobs if each.ending])
            if told != self._grid:
                self._grid = told
                update["grid"] = await asyncio.to_thread(view, self._library, self._owner, request, jobs)
        return [update, *updates[1:]]


class Comparison(Easel):
    """The tab. Its stage is grid.html; beside what a viewer sends it sends resume and export."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "Compare", [tasks["compare"]], list(EXAMPLES))
        self.form = AxesForm(Compare, {"model": desk.picker}, "compare-")
        self.watch = GridWatch(desk.runner, desk.library, desk.shared, ["compare"])
        self.answers = GridAnswers(desk, self.place, self.form, None)

    def draw(self) -> None:
        """Draw and wire the tab, in the Blocks that are being built."""
        with gr.Row(elem_classes="desk", equal_height=False):
            with gr.Column(elem_classes="rail", min_width=320, scale=0):
                self._draw_rail()
            with gr.Column(elem_classes="easel", min_width=320, scale=1):
                self.stage = gr.HTML(
                    {"state": "idle", "text": ""},
                    html_template=read("grid.html"),
                    js_on_load=read("attach.js") + read("grid.js") + read("grid-plots.js"),
                    apply_default_css=False,
                    elem_id="grid",
                    grid={},
                    told={},
                    targets=[],
                    places={},
                    examples=self.examples,
                )
        self.go.value = "Start"
        self.form.fill(self.answers.first(Compare))
        self._wire()
        answers: GridAnswers = self.answers  # type: ignore[assignment]
        self.stage.resume(answers.resumed, None, self.note, trigger_mode="multiple", **QUIET)
        self.stage.export(self.exported, None, self.stage, trigger_mode="multiple", **QUIET)
        self.desk.refillers.append(self.stage)

    def exported(self, who: gr.Request, event: gr.EventData) -> Any:
        """The grid as a file, named to the page."""
        owner, kind = owner_of(who, self.desk.shared), str(event._data.get("kind"))
        jobs = self.watch.jobs(owner)
        grid = grid_of(self.desk.library, owner, jobs)
        try:
            if grid is None or kind not in KINDS:
                raise StudioError("There is no grid to take away yet.")
            path = taken(self.desk.library, owner, grid, jobs, kind)
        except StudioError as error:
            return gr.update(told={"text": str(error), "asked": event._data.get("asked")})
        return gr.update(told={"url": address(str(path)), "name": path.name, "asked": event._data.get("asked")})


def grid_of(library: Library, owner: str, jobs: Sequence[Job]) -> Compare | None:
    """The grid that an owner's page shows: that of the job it watches, else the last one; None where there was none."""
    job = watched([each for each in jobs if isinstance(each.request, Compare)])
    if job is not None and isinstance(job.request, Compare):
        return whole(job.request)
    held = library.recall(owner, MEMO)
    try:
        return validated(Compare, held) if held else None  # type: ignore[no-any-return]
    except StudioError:
        return None


def picks(path: str) -> list[str]:
    """What can be picked by name for the knob of an axis."""
    if not path:
        return []
    named = list(NAMED.get(path, ())) or grids.names_of(TextToImage, path)
    return [grids.NONE, *named] if path == "adapters" and named else named

"""What a page is shown of a grid: its cells from the library, those of another owner never, and files to take away."""

import json
from pathlib import Path

from pipelines.events import Done
from pipelines.library import Library
from pipelines.models import ModelSpec
from pipelines.pictures import recipe
from pipelines.runner import Runner
from pipelines.tasks import parse
from pipelines.tasks.compare import Compare
from studio.gridviews import live, taken, view, whole
from tests.accounting import host

VALUES = {"task": "compare", "model": "toy", "width": 64, "height": 64, "seed": 5, "prompt": "ein Bär"}


def test_a_grid_is_shown_from_what_the_library_holds_and_taken_away(toy: ModelSpec, tmp_path: Path) -> None:
    library = Library(tmp_path)
    runner = Runner(host, library)
    request = parse({**VALUES, "x": "steps", "x_values": "1, 2", "y": "guidance", "y_values": "cfg, auto"})
    assert isinstance(request, Compare)
    job = runner.submit(request, "me")
    assert isinstance(list(job.events(timeout=120))[-1], Done)
    shown = view(library, "me", whole(request), [job])
    assert (shown["made"], shown["left"], live(job)) == (2, 2, -1)
    first, second, refused, _ = shown["cells"]
    assert [each["evaluations"] for each in (first, second)] == [2, 4]
    assert first["psnr"] == 99.0 and second["psnr"] < 99 and "second model" in refused["refusal"]
    assert parse(json.loads(second["recipe"])).steps == 2  # type: ignore[attr-defined]
    assert view(library, "somebody else", request, [])["made"] == 0
    files = {kind: taken(library, "me", request, [job], kind) for kind in ("picture", "csv", "json")}
    assert parse(recipe(files["picture"])) == request
    assert files["csv"].read_text().count("\n") == 5
    assert len(json.loads(files["json"].read_text())["cells"]) == 4
    runner.close()
    library.close()

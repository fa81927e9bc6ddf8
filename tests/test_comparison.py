"""What a grid has shown: distances to the reference column, tables, one captioned picture, and the same without a page."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipelines.comparison import Made, as_csv, as_json, as_picture, rows, squares
from pipelines.pictures import recipe
from pipelines.tasks import parse
from pipelines.tasks.compare import Compare

ROOT = Path(__file__).parents[1]
VALUES = {"task": "compare", "model": "toy", "width": 64, "height": 64, "seed": 5, "prompt": "a cat"}


@pytest.fixture
def request_() -> Compare:
    return parse(
        {**VALUES, "x": "steps", "x_values": "1, 2", "y": "sampler", "y_values": "euler, heun", "reference": 2}
    )  # type: ignore[return-value]


@pytest.fixture
def made(request_: Compare, tmp_path: Path) -> dict[str, Made]:
    """All pictures but the last, each a shade of its own."""
    there = {}
    for k, cell in enumerate(request_.cells()[:-1]):
        Image.new("RGB", (64, 64), (40 + 30 * k, 80, 120)).save(tmp_path / f"{k}.png")
        there[cell.request.to_json()] = Made(tmp_path / f"{k}.png", 0.5 + k, 2 * cell.request.steps)
    return there


def test_each_cell_is_measured_against_the_reference_column_of_its_row(
    request_: Compare, made: dict[str, Made]
) -> None:
    one, reference, lone, missing = squares(request_, made, {request_.cells()[3].request.to_json(): "It broke."})
    assert reference.distance and reference.distance.psnr == 99.0
    assert one.distance and 15 < one.distance.psnr < 30
    assert lone.distance is None and lone.made  # its reference is not there
    assert missing.made is None and missing.refusal == "It broke."
    assert [each.values[:2] for each in (one, missing)] == [("1", "euler"), ("2", "heun")]


def test_the_table_as_csv_and_json_holds_axes_figures_and_requests(request_: Compare, made: dict[str, Made]) -> None:
    found = squares(request_, made)
    table = list(csv.DictReader(io.StringIO(as_csv(request_, found))))
    assert [(row["Steps"], row["Sampler"]) for row in table] == [
        ("1", "euler"),
        ("2", "euler"),
        ("1", "heun"),
        ("2", "heun"),
    ]
    assert table[1]["seconds"] == "1.5" and table[1]["evaluations"] == "4" and table[3]["seconds"] == ""
    told = json.loads(as_json(request_, found))
    assert parse(told["request"]) == request_
    assert [parse(cell["request"]) for cell in told["cells"]] == [each.request for each in request_.cells()]
    assert [cell["psnr"] for cell in told["cells"]] == [row["psnr"] for row in rows(request_, found)]


def test_the_sheet_shows_every_picture_in_its_place(request_: Compare, made: dict[str, Made]) -> None:
    sheet = as_picture(request_, squares(request_, made))
    colours = {colour for _, colour in sheet.getcolors(10**6) if colour[1:] == (80, 120)}
    assert colours == {(40, 80, 120), (70, 80, 120), (100, 80, 120)}
    assert sheet.width > 2 * 256 and sheet.height > 2 * 256
    left, right = sheet.crop((160, 0, 416, sheet.height)), sheet.crop((428, 0, sheet.width, sheet.height))
    assert (70, 80, 120) not in {colour for _, colour in left.getcolors(10**6)}
    assert (70, 80, 120) in {colour for _, colour in right.getcolors(10**6)}


def test_a_grid_is_painted_and_written_without_a_page(toy_folder: Path, tmp_path: Path) -> None:
    request = {**VALUES, "x": "steps", "x_values": "1, 2"}
    (tmp_path / "grid.json").write_text(json.dumps(request))
    out = tmp_path / "out"
    command = ["--models", str(toy_folder), "run", str(tmp_path / "grid.json"), "--out", str(out), "--device", "cpu"]
    done = subprocess.run([sys.executable, "-m", "pipelines", *command], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    names = sorted(Path(each).name for each in json.loads(done.stdout.splitlines()[-1])["files"])
    assert names == ["grid-5.csv", "grid-5.json", "grid-5.png", "text_to_image-5-2.png", "text_to_image-5.png"]
    assert parse(recipe(out / "grid-5.png")) == parse(request)
    table = list(csv.DictReader((out / "grid-5.csv").open()))
    assert [(row["Steps"], row["evaluations"]) for row in table] == [("1", "2"), ("2", "4")]
    assert all(float(row["seconds"]) > 0 for row in table)

"""The studio without a page, as somebody in a shell meets it."""

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from pipelines.pictures import recipe

ROOT = Path(__file__).parents[1]
REQUEST = {"task": "text_to_image", "model": "toy", "steps": 2, "width": 64, "height": 64, "count": 2, "seed": 5}


def called(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pipelines", *arguments], capture_output=True, text=True, cwd=ROOT)


def test_run_paints_a_request_and_prints_one_line(toy_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(json.dumps(REQUEST))
    done = called(
        "--models",
        str(toy_folder),
        "run",
        str(tmp_path / "request.json"),
        "--out",
        str(tmp_path / "out"),
        "--device",
        "cpu",
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    said = json.loads(line)
    assert said["seeds"] == [5, 6] and said["seconds"] > 0
    assert [recipe(file)["seed"] for file in said["files"]] == [5, 6]


def test_run_takes_a_picture_and_a_mask_from_files(toy_folder: Path, tmp_path: Path) -> None:
    source, mask = Image.radial_gradient("L").resize((64, 64)).convert("RGB"), Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 20, 64))
    source.save(tmp_path / "source.png")
    mask.save(tmp_path / "mask.png")
    (tmp_path / "request.json").write_text(json.dumps({"task": "inpaint", "model": "toy", "steps": 1, "seed": 5}))
    files = ["--picture", str(tmp_path / "source.png"), "--mask", str(tmp_path / "mask.png")]
    given = ["--models", str(toy_folder), "run", str(tmp_path / "request.json"), "--out", str(tmp_path / "out")]
    done = called(*given, "--device", "cpu", *files)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    (file,) = said["files"]
    assert Image.open(file).crop((20, 0, 64, 64)).tobytes() == source.crop((20, 0, 64, 64)).tobytes()
    assert "0 bytes changed outside" in said["remarks"][0] and len(recipe(file)["source"]) == 32
    missing = called(*given, "--picture", str(tmp_path / "nothing.png"))
    assert missing.returncode == 2 and missing.stderr.splitlines()[-1] == "nothing.png is not there."


def test_list_prints_all_that_can_be_named() -> None:
    said = json.loads(called("list").stdout)
    assert list(said) >= ["models", "tasks", "samplers"] and {"guidance", "accelerators", "schedules"} <= set(said)
    assert all({"name", "summary", "knobs"} <= set(entry) for table in said.values() for entry in table)
    assert "churn" in next(entry for entry in said["samplers"] if entry["name"] == "heun")["knobs"]


def test_what_cannot_be_run_is_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    for content in (
        '{"task": "text_to_image", "steps": 0}',
        "{",
        '{"task": "nothing"}',
        '{"task": "text_to_image", "model": "nowhere"}',
    ):
        (tmp_path / "bad.json").write_text(content)
        done = called("run", str(tmp_path / "bad.json"), "--out", str(tmp_path))
        assert done.returncode == 2 and "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1
    assert called("run", str(tmp_path / "missing.json")).returncode == 2

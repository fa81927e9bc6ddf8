"""The studio without a page: `python -m pipelines run REQUEST.json --out DIR`, `list`, `replay FILE`, `verify FILE`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.accelerators import accelerators
from pipelines.energies import energies
from pipelines.errors import BadRequest, StudioError
from pipelines.events import Finished, Painted
from pipelines.guidance import guidances
from pipelines.method import Method
from pipelines.models import models
from pipelines.personalizers import personalizers
from pipelines.request import Request
from pipelines.samplers import samplers
from pipelines.schedules import schedules
from pipelines.searches import searches
from pipelines.shelf import FolderShelf
from pipelines.stock import Stock
from pipelines.tasks import parse, run, tasks
from pipelines.upscalers import upscalers
from pipelines.verifiers import verifiers

if TYPE_CHECKING:
    from pipelines.library import Library

SHELF = ".shelf"  # the folder, below that of the results, of the pictures that requests name


def listed() -> dict[str, list[dict[str, Any]]]:
    """Everything that can be named in a request: name, a sentence, knobs."""
    return {
        "models": [{"name": name, "summary": spec.summary, "knobs": spec.defaults} for name, spec in models.items()],
        "tasks": [
            {"name": name, "summary": task.summary(), "knobs": knobs(task.request)} for name, task in tasks.items()
        ],
        "samplers": methods(samplers),
        "schedules": methods(schedules),
        "guidance": methods(guidances),
        "accelerators": methods(accelerators),
        "personalizers": methods(personalizers),
        "upscalers": methods(upscalers),
        "energies": methods(energies),
        "searches": methods(searches),
        "verifiers": methods(verifiers),
    }


def methods(registry: Mapping[str, type[Method]]) -> list[dict[str, Any]]:
    """The entries of one registry of methods."""
    return [{"name": name, "summary": method.summary(), "knobs": knobs(method)} for name, method in registry.items()]


def knobs(model: Any) -> dict[str, Any]:
    """The JSON schema of each field by name."""
    schema: dict[str, Any] = model.model_json_schema()
    return dict(schema.get("properties", {}))


def painted(request: Request, out: Path, device: str) -> dict[str, Any]:
    """Run a request and write its pictures; what the command prints. Pictures it names are on a shelf below `out`."""
    from pipelines.device import Device
    from pipelines.memory import Memory

    begun = time.perf_counter()
    request = request.with_seed()
    files: list[Path] = []
    done: list[Painted[Request]] = []
    running = run(request, Memory(Device(device)), FolderShelf(out / SHELF))
    while True:
        try:
            event = next(running)
        except StopIteration as end:
            remarks = list(end.value.remarks)
            break
        if isinstance(event, Finished):
            done.append(replace(event.painted, picture=None))
            files.append(_written(event.painted, out, files))
    seconds = round(time.perf_counter() - begun, 3)
    seeds = [each.request.seed for each in done]
    files += tabled(request, dict(zip(files, done, strict=True)), out)
    return {"files": [str(file) for file in files], "seeds": seeds, "seconds": seconds, "remarks": remarks}


def tabled(request: Request, done: Mapping[Path, Painted[Request]], out: Path) -> list[Path]:
    """What a grid has shown, as one captioned picture, as CSV and as JSON; no files for other requests."""
    from pipelines.comparison import Made, as_csv, as_json, as_picture, squares
    from pipelines.pictures import png, write
    from pipelines.tasks.compare import Compare

    if not isinstance(request, Compare):
        return []
    made = {}
    for file, each in done.items():
        evaluations = each.figures.get("evaluations")
        counted = None if evaluations is None else int(evaluations)
        made[each.request.to_json()] = Made(file, each.figures["seconds"], counted)
    found = squares(request, made)
    sheet = png(Painted(as_picture(request, found), request))
    contents = {"png": sheet, "csv": as_csv(request, found).encode(), "json": as_json(request, found).encode()}
    paths = [out / f"grid-{request.seed}.{ending}" for ending in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        write(path, content)
    return paths


def shelved(field: str, file: Path | None, out: Path) -> dict[str, str]:
    """The field of a request that names a picture file, which is put on the shelf below `out`; nothing for no file."""
    from pipelines.pictures import moves, opened

    if file is None:
        return {}
    if not file.exists():
        raise BadRequest(f"{file.name} is not there.")
    if moves(file):
        print(f"{file.name} is animated; its first frame is taken.", file=sys.stderr)
    return {field: FolderShelf(out / SHELF).put(opened(file))}


def _written(finished: Painted[Request], out: Path, others: Sequence[Path]) -> Path:
    """A file for a picture; where one of the others of this run has its name, with a number."""
    from pipelines.pictures import png, write

    stem = f"{finished.request.task}-{finished.request.seed}"
    names = (stem, *(f"{stem}-{k}" for k in range(2, len(others) + 2)))
    path = next(path for name in names if (path := out / f"{name}.png") not in others)
    write(path, png(finished))
    return path


def _request(path: Path, named: dict[str, str]) -> Request:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return parse({**values, **named} if isinstance(values, dict) else values)
    except OSError as error:
        raise BadRequest(f"{path.name} could not be read: {error.strerror}.") from None
    except ValueError:
        raise BadRequest(f"{path.name} does not hold JSON.") from None


def library_at(folder: Path | None) -> Library | None:
    """The library in a folder, or in the one that a studio started without flags keeps; None where there is none."""
    from pipelines.library import Library

    named = folder or os.environ.get("PALIMPSEST_FOLDER")
    usual = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "palimpsest"
    chosen = Path(named or usual)
    if not (chosen / "library.db").exists() and not os.environ.get("PALIMPSEST_DATABASE"):
        return None
    return Library(chosen, os.environ.get("PALIMPSEST_DATABASE"))


def replayed(file: Path, device: str, library: Library | None) -> dict[str, Any]:
    """Paint the picture of a file once more; what the command prints."""
    from pipelines.device import Device
    from pipelines.estimate import Ledger
    from pipelines.memory import Memory
    from pipelines.replay import compared, replay

    ledger = Ledger(library.folder / "seconds.json" if library else None)  # the number types that the studio found
    verdict = replay(file, Memory(Device(device, ledger), ledger=ledger), library)
    return {**dataclasses.asdict(verdict), "verdict": compared(verdict)}


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    parser.add_argument("--models", type=Path, help="a folder of models, of ComfyUI or A1111 too")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="everything that can be named in a request, as JSON")
    runs = commands.add_parser("run", help="paint one request")
    runs.add_argument("request", type=Path)
    runs.add_argument("--out", type=Path, default=Path())
    runs.add_argument("--device", default="auto")
    runs.add_argument("--picture", type=Path, help="a file for the request's source")
    runs.add_argument("--mask", type=Path, help="a file for the request's mask, white where the picture may change")
    again = commands.add_parser("replay", help="paint a picture once more: is it the same, and if not, what changed?")
    again.add_argument("--device", default="auto")
    looks = commands.add_parser(
        "verify", help="what a picture file is: its settings, its mark, its likes in the library"
    )
    for each in (again, looks):
        each.add_argument("file", type=Path)
        each.add_argument("--folder", type=Path, help="of the library, if it is not the usual one")
    return parser.parse_args(arguments)


def carried_out(options: argparse.Namespace) -> dict[str, Any]:
    """One command; what it prints. Raises StudioError with a sentence where it did not go well."""
    if options.models:
        Stock(options.models).rescan()
    if options.command == "list":
        return listed()
    if options.command == "run":
        options.out.mkdir(parents=True, exist_ok=True)
        named = shelved("source", options.picture, options.out) | shelved("mask", options.mask, options.out)
        return painted(_request(options.request, named), options.out, options.device)
    if not options.file.is_file():
        raise BadRequest(f"{options.file.name} is not there.")
    if options.command == "replay":
        return replayed(options.file, options.device, library_at(options.folder))
    from pipelines.verify import verified

    return verified(options.file, library_at(options.folder))


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 where it went well, 1 where a replay is not identical, 2 with a sentence on stderr."""
    options = options_of(arguments)
    try:
        said = carried_out(options)
    except (StudioError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(said))
    return 1 if said.get("identical") is False else 0


if __name__ == "__main__":
    sys.exit(main())

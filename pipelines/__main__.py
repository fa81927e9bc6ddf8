"""The studio without a page: `python -m pipelines run REQUEST.json --out DIR`, `python -m pipelines list`."""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.accelerators import accelerators
from pipelines.errors import BadRequest, StudioError
from pipelines.events import Finished, Painted
from pipelines.guidance import guidances
from pipelines.method import Method
from pipelines.models import models, scan
from pipelines.request import Request
from pipelines.samplers import samplers
from pipelines.schedules import schedules
from pipelines.tasks import parse, run, tasks


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
    }


def methods(registry: Mapping[str, type[Method]]) -> list[dict[str, Any]]:
    """The entries of one registry of methods."""
    return [{"name": name, "summary": method.summary(), "knobs": knobs(method)} for name, method in registry.items()]


def knobs(model: Any) -> dict[str, Any]:
    """The JSON schema of each field by name."""
    schema: dict[str, Any] = model.model_json_schema()
    return dict(schema.get("properties", {}))


def painted(request: Request, out: Path, device: str) -> dict[str, Any]:
    """Run a request and write its pictures; what the command prints."""
    from pipelines.device import Device
    from pipelines.memory import Memory

    begun = time.perf_counter()
    files: list[Path] = []
    seeds: list[int | None] = []
    for event in run(request, Memory(Device(device))):
        if isinstance(event, Finished):
            seeds.append(event.painted.request.seed)
            files.append(_written(event.painted, out))
    return {"files": [str(file) for file in files], "seeds": seeds, "seconds": round(time.perf_counter() - begun, 3)}


def _written(finished: Painted[Request], out: Path) -> Path:
    from pipelines.pictures import png, write

    path = out / f"{finished.request.task}-{finished.request.seed}.png"
    write(path, png(finished))
    return path


def _request(path: Path) -> Request:
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadRequest(f"{path.name} could not be read: {error.strerror}.") from None
    except ValueError:
        raise BadRequest(f"{path.name} does not hold JSON.") from None


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 where it went well, 2 with a sentence on stderr where it did not."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    parser.add_argument("--models", type=Path, help="a folder of further checkpoints in the diffusers layout")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="everything that can be named in a request, as JSON")
    runs = commands.add_parser("run", help="paint one request")
    runs.add_argument("request", type=Path)
    runs.add_argument("--out", type=Path, default=Path())
    runs.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    try:
        if options.models:
            scan(options.models)
        if options.command == "list":
            print(json.dumps(listed()))
            return 0
        options.out.mkdir(parents=True, exist_ok=True)
        print(json.dumps(painted(_request(options.request), options.out, options.device)))
    except (StudioError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The text that A1111's web UI and Forge write, called "parameters": read, and written for tools that know no other."""

from __future__ import annotations

import re
from typing import Any

from pipelines.recipes.reading import Found, number
from pipelines.styles import dressed, styles

PAIR = re.compile(r'\s*([A-Za-z][\w \-/()]{0,60}):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
PLACES = {"Steps": "steps", "Seed": "seed", "Hires upscale": "larger"}
AGAIN = "Denoising strength"  # of the second pass, where there is one
SAID = ("Sampler", "Schedule type", "CFG scale", "Size", "Model", "Version")
NEGATIVE = "Negative prompt:"
SPELLED = {
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "euler_ancestral": "Euler a",
}


def is_one(text: str) -> bool:
    """Whether a text is of this kind."""
    return bool(re.search(r"^Steps: \d", text, re.MULTILINE))


def found(text: str) -> Found:
    """What such a text says."""
    lines = text.strip().split("\n")
    last = next(k for k in range(len(lines) - 1, -1, -1) if re.match(r"Steps: \d", lines[k]))
    start = next((k for k in range(last) if lines[k].startswith(NEGATIVE)), last)
    negative = "\n".join(lines[start:last]).removeprefix(NEGATIVE).strip()
    says: dict[str, str] = {}
    for name, value in PAIR.findall(" ".join(lines[last:])):
        says.setdefault(name.strip(), value.strip().strip('"'))
    seen = Found("Forge" if says.get("Version", "").startswith("f") else "A1111's web UI")
    seen.values = {"prompt": "\n".join(lines[:start]).strip(), "negative_prompt": negative}
    seen.values |= {place: number(says[name]) for name, place in PLACES.items() if name in says}
    seen.sampler, seen.schedule = says.get("Sampler", ""), says.get("Schedule type", "")
    seen.scale, seen.model = number(says["CFG scale"]) if "CFG scale" in says else None, says.get("Model", "")
    if size := re.fullmatch(r"(\d{1,6})x(\d{1,6})", says.get("Size", "")):
        seen.values |= {"width": int(size[1]), "height": int(size[2])}
    known = {*PLACES, *SAID}
    if "Hires upscale" in says and AGAIN in says:
        seen.values["larger_by"] = {"name": "latent_tiles", "knobs": {"creativity": number(says[AGAIN])}}
        known.add(AGAIN)
    seen.left_out = [f"{name}: {value[:60]}" for name, value in says.items() if name not in known]
    return seen


def written(request: dict[str, Any], version: str) -> str:
    """A request of ours as such a text, so that other tools show what it says."""
    sampler, schedule = (_name(request.get(name)) for name in ("sampler", "schedule"))
    scale = (request.get("guidance") or {}).get("knobs", {}).get("scale")
    says = {
        "Steps": request.get("steps"),
        "Sampler": SPELLED.get(sampler, sampler.replace("_", " ").capitalize()),
        "Schedule type": {"own": "Automatic"}.get(schedule, schedule.capitalize()),
        "CFG scale": scale,
        "Seed": request.get("seed"),
        "Size": f"{request['width']}x{request['height']}" if "width" in request and "height" in request else None,
        "Hires upscale": again if (again := request.get("larger", 1)) != 1 else None,
        "Model": request.get("model"),
        "Version": f"Palimpsest {version}",
    }
    pairs = ", ".join(f"{name}: {value}" for name, value in says.items() if value not in (None, ""))
    prompt, without = str(request.get("prompt", "")), str(request.get("negative_prompt", ""))
    prompt, without = dressed(prompt, without, [each for each in request.get("styles", ()) if each in styles])
    return "\n".join(filter(None, [prompt, f"{NEGATIVE} {without}" if without else "", pairs]))


def _name(choice: Any) -> str:
    return str(choice.get("name", "")) if isinstance(choice, dict) else ""

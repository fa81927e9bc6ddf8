"""What InvokeAI writes: a flat object, or in its first versions one with the picture's settings beneath."""

from __future__ import annotations

from typing import Any

from pipelines.recipes.reading import Found

PLACES = {
    "positive_prompt": "prompt", "negative_prompt": "negative_prompt", "width": "width", "height": "height",
    "seed": "seed", "steps": "steps",
}  # fmt: skip
SCHEDULERS = {  # its schedulers are samplers; a k behind them means Karras' noise levels
    "dpmpp_2m_k": ("dpmpp_2m", "karras"), "dpmpp_sde_k": ("dpmpp_sde", "karras"), "euler_k": ("euler", "karras"),
    "heun_k": ("heun", "karras"), "euler_a": ("euler_ancestral", ""), "dpmpp_2m_sde_k": ("dpmpp_2m_sde", "karras"),
    "k_euler": ("euler", ""), "k_euler_a": ("euler_ancestral", ""), "k_heun": ("heun", ""),
}  # fmt: skip
NOTED = (
    "loras", "controlnets", "ipAdapters", "t2iAdapters", "vae", "strength", "init_image", "hrf_enabled", "clip_skip",
    "cfg_rescale_multiplier",
)  # fmt: skip


def found(values: dict[str, Any]) -> Found:
    """What the metadata say."""
    if isinstance(beneath := values.get("image"), dict):
        return _first(values, beneath)
    seen = Found("InvokeAI")
    seen.values = {ours: values[theirs] for theirs, ours in PLACES.items() if values.get(theirs) is not None}
    _walk(seen, values.get("scheduler"))
    seen.scale, seen.model = values.get("cfg_scale"), _model(values.get("model"))
    seen.left_out = [f"{name}: {_count(values[name])}" for name in NOTED if values.get(name)]
    return seen


def _first(values: dict[str, Any], image: dict[str, Any]) -> Found:
    seen = Found("InvokeAI")
    seen.values = {name: image[name] for name in ("width", "height", "seed", "steps") if image.get(name) is not None}
    prompt = image.get("prompt")
    if isinstance(prompt, list):
        prompt = " ".join(str(each.get("prompt", "")) for each in prompt[:50] if isinstance(each, dict))
    seen.values["prompt"] = prompt if isinstance(prompt, str) else ""
    _walk(seen, image.get("sampler"))
    seen.scale, seen.model = image.get("cfg_scale"), _model(values.get("model_weights"))
    return seen


def _walk(seen: Found, scheduler: Any) -> None:
    name = scheduler if isinstance(scheduler, str) else ""
    seen.sampler, seen.schedule = SCHEDULERS.get(name, (name, ""))


def _model(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("name") or value.get("model_name")
    return value if isinstance(value, str) else ""


def _count(value: Any) -> str:
    return f"{len(value)} of them" if isinstance(value, list) else str(value)[:60]

"""What ComfyUI writes: the graph it ran ("prompt"), or the one on its page ("workflow"). From a sampler node the wires
are followed back to texts, size and checkpoint; the nodes themselves are never carried out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipelines.recipes.reading import Found

Node = dict[str, Any]
Graph = dict[str, Node]
HOPS = 30  # wires that are followed at most: a graph may be a circle
LARGEST = 2000  # nodes that are looked at
SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom")
WIDGETS = {  # on the page values have no names, only places
    "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": ("", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler"),
    "CLIPTextEncode": ("text",),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
}
PLAIN = {
    *SAMPLERS, "CLIPTextEncode", "EmptyLatentImage", "EmptySD3LatentImage", "CheckpointLoaderSimple", "LoraLoader",
    "LoraLoaderModelOnly", "VAEDecode", "VAELoader", "SaveImage", "PreviewImage", "Note",
}  # fmt: skip


def found(values: dict[str, Any]) -> Found | None:
    """What the graph says; None where nothing in it samples."""
    graph = _named(values) if isinstance(values.get("nodes"), list) else _graph(values)
    sampler = next((node for node in graph.values() if node["class_type"] in SAMPLERS), None)
    if sampler is None:
        return None
    seen, inputs = Found("ComfyUI"), sampler["inputs"]
    said = {
        "prompt": _text(graph, inputs.get("positive")),
        "negative_prompt": _text(graph, inputs.get("negative")),
        "steps": inputs.get("steps"),
        "seed": inputs.get("seed", inputs.get("noise_seed")),
        **_size(graph, inputs.get("latent_image"), seen),
    }
    seen.values = {name: value for name, value in said.items() if _is_said(value)}
    seen.sampler, seen.schedule = (_string(inputs.get(name)) for name in ("sampler_name", "scheduler"))
    seen.scale = inputs.get("cfg") if _is_said(inputs.get("cfg")) else None
    seen.model = _model(graph, inputs.get("model"), seen)
    if isinstance(denoise := inputs.get("denoise"), (int, float)) and denoise < 1:
        seen.left_out.append(f"Denoise: {denoise}, which begins with a picture")
    others = {node["class_type"] for node in graph.values()} - PLAIN
    seen.left_out += [f"Node: {name[:60]}" for name in sorted(others)]
    return seen


def _graph(values: dict[str, Any]) -> Graph:
    """Nodes by id, those that are what a node has to be."""
    return {
        str(id): {"class_type": node["class_type"], "inputs": node["inputs"]}
        for id, node in list(values.items())[:LARGEST]
        if isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
    }


def _named(page: dict[str, Any]) -> Graph:
    """The graph of a page in the form of one that ran: values by name, wires as [node, output]."""
    wires = {
        wire[0]: [str(wire[1]), wire[2]]
        for wire in (page.get("links") if isinstance(page.get("links"), list) else [])[:LARGEST]  # type: ignore[index]
        if isinstance(wire, list) and len(wire) >= 3 and isinstance(wire[0], int)
    }
    graph: Graph = {}
    for node in page["nodes"][:LARGEST]:
        if not isinstance(node, dict) or not isinstance(node.get("type"), str):
            continue
        places, held = WIDGETS.get(node["type"], ()), node.get("widgets_values")
        inputs = dict(zip(places, held, strict=False)) if isinstance(held, list) else {}
        for each in node["inputs"] if isinstance(node.get("inputs"), list) else []:
            if isinstance(each, dict) and isinstance(each.get("link"), int) and each["link"] in wires:
                inputs[str(each.get("name"))] = wires[each["link"]]
        graph[str(node.get("id"))] = {"class_type": node["type"], "inputs": inputs}
    return graph


def _back(graph: Graph, wire: Any, *names: str) -> Iterator[Node]:
    """The nodes that a wire leads back to, along the inputs of those names; no further than so many hops."""
    for _ in range(HOPS):
        node = graph.get(str(wire[0])) if isinstance(wire, list) and wire else None
        if node is None:
            return
        yield node
        wire = next((node["inputs"][name] for name in names if isinstance(node["inputs"].get(name), list)), None)


def _text(graph: Graph, wire: Any) -> str:
    for node in _back(graph, wire, "text", "conditioning", "conditioning_1", "positive", "string", "value"):
        for name in ("text", "string", "value", "text_g"):
            if isinstance(node["inputs"].get(name), str):
                return str(node["inputs"][name])
    return ""


def _size(graph: Graph, wire: Any, seen: Found) -> dict[str, Any]:
    for node in _back(graph, wire, "samples", "latent", "pixels", "image"):
        inputs = node["inputs"]
        if _is_said(inputs.get("width")) and _is_said(inputs.get("height")):
            count = inputs.get("batch_size")
            return {"width": inputs["width"], "height": inputs["height"], "count": count if count != 1 else None}
        if "image" in inputs and isinstance(inputs["image"], str):
            seen.left_out.append(f"Picture: {inputs['image'][:60]}, from which it began")
    return {}


def _model(graph: Graph, wire: Any, seen: Found) -> str:
    for node in _back(graph, wire, "model"):
        if adapter := _string(node["inputs"].get("lora_name")):
            seen.left_out.append(f"Adapter: {adapter[:60]}")
        for name in ("ckpt_name", "unet_name"):
            if checkpoint := _string(node["inputs"].get(name)):
                return re.sub(r"\.(safetensors|ckpt|gguf|sft)$", "", checkpoint)
    return ""


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_said(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)

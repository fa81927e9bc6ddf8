"""Settings that other tools wrote: what maps is ours, what does not is said, and what is hostile does nothing."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from pipelines.errors import BadPicture
from pipelines.recipes import parameters, read
from pipelines.recipes.reading import Reading
from pipelines.tasks import parse, tasks
from pipelines.tasks.text_to_image import TextToImage

WEBUI = """masterpiece, (a lighthouse:1.2) on a cliff, "stormy" sea, <lora:inkStyle_v2:0.8>
second line, with: a colon
Negative prompt: lowres, blurry,
bad hands
Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 3141592653, Size: 512x768, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Denoising strength: 0.4, Clip skip: 2, Hires upscale: 2, Lora hashes: "inkStyle_v2: 9f1c2c4ee0b1", Version: v1.9.4"""

FORGE = """a cat
Steps: 20, Sampler: Euler a, Schedule type: Exponential, CFG scale: 7, Seed: 1, Size: 1000x1000, Model: pocket, Version: f2.0.1v1.10.1-previous-659-gc055f2d4"""

COMFY: dict[str, Any] = {
    "3": {"inputs": {"seed": 156680208700286, "steps": 20, "cfg": 8.0, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0, "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}, "class_type": "KSampler", "_meta": {"title": "KSampler"}},
    "4": {"inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}, "class_type": "CheckpointLoaderSimple"},
    "5": {"inputs": {"width": 512, "height": 640, "batch_size": 2}, "class_type": "EmptyLatentImage"},
    "6": {"inputs": {"text": "beautiful scenery nature glass bottle landscape", "clip": ["10", 1]}, "class_type": "CLIPTextEncode"},
    "7": {"inputs": {"text": "text, watermark", "clip": ["4", 1]}, "class_type": "CLIPTextEncode"},
    "8": {"inputs": {"samples": ["3", 0], "vae": ["4", 2]}, "class_type": "VAEDecode"},
    "9": {"inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}, "class_type": "SaveImage"},
    "10": {"inputs": {"lora_name": "ink.safetensors", "strength_model": 0.8, "strength_clip": 1, "model": ["4", 0], "clip": ["4", 1]}, "class_type": "LoraLoader"},
    "11": {"inputs": {}, "class_type": "FaceDetailer"},
}  # fmt: skip

WORKFLOW: dict[str, Any] = {
    "last_node_id": 9, "version": 0.4,
    "nodes": [
        {"id": 3, "type": "KSampler", "inputs": [{"name": "model", "link": 1}, {"name": "positive", "link": 4}, {"name": "negative", "link": 6}, {"name": "latent_image", "link": 2}], "widgets_values": [42, "randomize", 12, 5, "euler_ancestral", "normal", 1]},
        {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["pocket.safetensors"]},
        {"id": 5, "type": "EmptyLatentImage", "widgets_values": [256, 128, 1]},
        {"id": 6, "type": "CLIPTextEncode", "inputs": [{"name": "clip", "link": 3}], "widgets_values": ["a red house"]},
        {"id": 7, "type": "CLIPTextEncode", "widgets_values": ["snow"]},
    ],
    "links": [[1, 4, 0, 3, 0, "MODEL"], [2, 5, 0, 3, 3, "LATENT"], [4, 6, 0, 3, 1, "CONDITIONING"], [6, 7, 0, 3, 2, "CONDITIONING"]],
}  # fmt: skip

INVOKE: dict[str, Any] = {
    "app_version": "4.2.6", "generation_mode": "txt2img", "positive_prompt": "a fox in the snow", "negative_prompt": "",
    "width": 512, "height": 512, "seed": 2024, "rand_device": "cpu", "cfg_scale": 7.5, "steps": 30, "scheduler": "dpmpp_2m_k",
    "model": {"key": "b2f1", "hash": "blake3:aa", "name": "Juggernaut", "base": "sd-1", "type": "main"}, "loras": [{"model": {}, "weight": 0.7}],
}  # fmt: skip

INVOKE_FIRST: dict[str, Any] = {
    "model": "stable diffusion", "model_weights": "stable-diffusion-1.5", "model_hash": "cc6cb", "app_version": "v2.3",
    "image": {"prompt": [{"prompt": "a ship at sea", "weight": 1.0}], "steps": 50, "cfg_scale": 7.5, "threshold": 0, "height": 512, "width": 512, "seed": 7, "type": "txt2img", "sampler": "k_euler_a"},
}  # fmt: skip


def png(**chunks: str) -> io.BytesIO:
    text, file = PngImagePlugin.PngInfo(), io.BytesIO()
    for name, value in chunks.items():
        text.add_itxt(name.replace("__", "-"), value)
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=text)
    return file


def understood(reading: Reading) -> TextToImage:
    request = parse(reading.request)
    assert isinstance(request, TextToImage)
    return request


def test_a1111() -> None:
    reading = read(png(parameters=WEBUI))
    request = understood(reading)
    assert reading.tool == "A1111's web UI"
    assert request.prompt == 'masterpiece, (a lighthouse:1.2) on a cliff, "stormy" sea, \nsecond line, with: a colon'
    assert request.negative_prompt == "lowres, blurry,\nbad hands"
    assert (request.steps, request.seed, request.width, request.height) == (28, 3141592653, 512, 768)
    assert (request.sampler.name, request.schedule.name, request.guidance.knobs["scale"]) == ("dpmpp_2m", "karras", 6.5)
    left = " | ".join(reading.left_out)
    for words in (
        "Adapter: inkStyle_v2",
        "Model: v1-5-pruned-emaonly, which is not here",
        "Clip skip: 2",
    ):
        assert words in left
    assert request.larger == 2 and request.larger_by.knobs["creativity"] == 0.4


def test_forge() -> None:
    reading = read(png(parameters=FORGE))
    request = understood(reading)
    assert (reading.tool, request.model, request.width, request.height) == ("Forge", "pocket", 1000, 1000)
    assert (request.sampler.name, request.schedule.name) == ("euler_ancestral", "exponential")


def test_a_jpeg_of_a1111() -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + WEBUI.encode("utf-16-be")
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    assert understood(read(file)).seed == 3141592653


def test_comfyui() -> None:
    reading = read(png(prompt=json.dumps(COMFY), workflow=json.dumps(WORKFLOW)))
    request = understood(reading)
    assert (reading.tool, request.prompt, request.negative_prompt) == (
        "ComfyUI",
        "beautiful scenery nature glass bottle landscape",
        "text, watermark",
    )
    assert (request.steps, request.width, request.height, request.count) == (20, 512, 640, 2)
    assert (request.sampler.name, request.schedule.name, request.guidance.knobs["scale"]) == ("dpmpp_2m", "karras", 8.0)
    assert request.seed is None and "Seed: 156680208700286" in reading.left_out  # ours end at 2^32
    assert {"Adapter: ink.safetensors", "Node: FaceDetailer", "Model: v1-5-pruned-emaonly, which is not here"} <= set(
        reading.left_out
    )


def test_comfyuis_page() -> None:
    request = understood(read(png(workflow=json.dumps(WORKFLOW))))
    assert (request.prompt, request.negative_prompt, request.seed, request.steps) == ("a red house", "snow", 42, 12)
    assert (request.width, request.height, request.model, request.sampler.name, request.schedule.name) == (
        256,
        128,
        "pocket",
        "euler_ancestral",
        "own",
    )


def test_invokeai() -> None:
    reading = read(png(invokeai_metadata=json.dumps(INVOKE)))
    request = understood(reading)
    assert (reading.tool, request.prompt, request.seed, request.steps) == ("InvokeAI", "a fox in the snow", 2024, 30)
    assert (request.sampler.name, request.schedule.name, request.guidance.knobs["scale"]) == ("dpmpp_2m", "karras", 7.5)
    assert set(reading.left_out) == {"Model: Juggernaut, which is not here", "loras: 1 of them"}
    first = understood(read(png(**{"sd-metadata": json.dumps(INVOKE_FIRST)})))
    assert (first.prompt, first.seed, first.steps, first.sampler.name) == ("a ship at sea", 7, 50, "euler_ancestral")


@pytest.mark.parametrize("task", list(tasks))
def test_our_own_come_back_whole_whatever_the_task(task: str) -> None:
    request = (
        tasks[task]
        .request(**({"prompt": "ein Ärger \N{CAT}"} if "prompt" in tasks[task].request.model_fields else {}))
        .with_seed()
    )
    assert parse(read(png(palimpsest=request.to_json())).request) == request


def test_what_we_write_for_other_tools_reads_as_it_was() -> None:
    request = TextToImage(
        prompt="a cat\nand a dog",
        negative_prompt="snow",
        seed=9,
        steps=31,
        width=320,
        sampler={"name": "euler_ancestral"},
        guidance={"name": "cfg", "knobs": {"scale": 3.5}},
        larger=1.5,
    )
    text = parameters.written(request.model_dump(mode="json"), "0.1")
    back = understood(read(png(parameters=text)))
    assert back == request


HOSTILE: list[dict[str, str]] = [
    {"parameters": "Steps: 5, " + "a: b, " * 40_000},
    {"parameters": "Steps: 5, " + '"' * 50_000},
    {"parameters": "Steps: 1e999, Seed: -5, Size: 99999999999x1, CFG scale: nan, Sampler: __import__('os').system('x')"},
    {"parameters": "<script>alert(1)</script>\nSteps: 99999999999999999999999999"},
    {"parameters": "Steps: 9" * 9000},
    {"prompt": "[" * 100_000},
    {"prompt": json.dumps({"1": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["1", 0], "latent_image": ["1", 0], "steps": {"$gt": 1}, "seed": "x", "cfg": [1]}}})},
    {"prompt": json.dumps({"1": {"class_type": "KSampler", "inputs": {"positive": [["deep"], 0], "sampler_name": 5, "scheduler": None, "steps": True}}, "2": None, "3": 7})},
    {"workflow": json.dumps({"nodes": [None, {"type": 5}, {"id": 1, "type": "KSampler", "inputs": 5, "widgets_values": {"a": 1}}], "links": [None, [1], 5]})},
    {"workflow": json.dumps({"nodes": [{"id": {}, "type": "KSampler", "inputs": [{"name": [], "link": 1}]}], "links": {"a": 1}})},
    {"invokeai_metadata": json.dumps({"positive_prompt": ["a"], "seed": {"x": 1}, "steps": 1e400, "model": [], "width": -1, "height": "512", "scheduler": 5, "loras": "x" * 9999})},
    {"sd-metadata": json.dumps({"image": {"prompt": [None, 5, {"prompt": {}}], "seed": None, "sampler": []}})},
    {"invokeai_metadata": '{"seed": ' + "9" * 10_000 + "}"},
    {"invokeai_metadata": '{"positive_prompt": "\\ud800 \\u0000 ' + "x" * 9000 + '"}'},
    {"palimpsest": '{"task": "text_to_image", "__class__": "os"}'},
]  # fmt: skip


@pytest.mark.parametrize("chunks", HOSTILE, ids=[f"{next(iter(each))}-{k}" for k, each in enumerate(HOSTILE)])
def test_hostile_metadata_does_nothing(chunks: dict[str, str]) -> None:
    """It is refused in a sentence, or becomes a request within our limits; never anything else, and soon."""
    begun = time.monotonic()
    try:
        reading = read(png(**chunks))
    except BadPicture:
        return
    if "palimpsest" not in chunks:
        understood(reading)
        assert all(len(each) < 200 for each in reading.left_out) and len(reading.left_out) <= 40
    assert time.monotonic() - begun < 20  # a guard against patterns that take for ever, not a measure


def test_exif_that_is_none_is_a_picture_without_settings() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 60)
    with pytest.raises(BadPicture):
        read(file)

"""Folders of models in every layout, what the page may do with them, and the table of known models."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from diffusers import EulerDiscreteScheduler
from safetensors.torch import save_file

from pipelines.errors import BadRequest, StudioError
from pipelines.models import Preset, load_folder, models
from pipelines.models.adapters import adapters, embeddings, vaes
from pipelines.models.catalogue import Listed, added_presets, base_of, catalogue
from pipelines.models.folders import candidates
from pipelines.models.hub import offer
from pipelines.samplers import samplers
from pipelines.schedules import schedules
from pipelines.stock import Stock
from pipelines.tasks import parse
from studio.presets import at_quality, quality_of
from tests.accounting import host, result_of
from tests.test_text_to_image import SMALL, pictures
from tests.tiny import adapters as tiny
from tests.tiny import community
from tests.tiny.checkpoints import stable_diffusion
from tests.tiny.hub import hub


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """Every registry as it was before."""
    every = (models, adapters, embeddings, vaes)
    before = [dict(registry) for registry in every]
    yield
    for registry, entries in zip(every, before, strict=True):
        for name in [name for name in registry if name not in entries]:
            registry.remove(name)
        for name, entry in entries.items():
            registry.replace(name, entry)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file of each kind, and a checkpoint folder."""
    home = tmp_path_factory.mktemp("files")
    pipe = community.checkpoint(home / "sd1", "sd1")
    vae = {f"first_stage_model.{name}": each.contiguous() for name, each in community.ldm_autoencoder(pipe.vae).items()}
    save_file(vae, home / "vae.safetensors")
    stable_diffusion(home / "folder")
    return {
        "file": community.one_file(pipe, home / "one.safetensors", "sd1"),
        "folder": home / "folder",
        "lora": tiny.for_another_base(home / "lora.safetensors", 768),
        "embedding": tiny.embedding(home / "word.safetensors", 768),
        "vae": home / "vae.safetensors",
    }


LAYOUTS = {
    "ComfyUI": {
        "file": "models/checkpoints/sub/painter.safetensors", "folder": "models/diffusers/whole", "lora": "models/loras/people/look.safetensors",
        "embedding": "models/embeddings/zyx.safetensors", "vae": "models/vae/crisp.safetensors",
    },
    "A1111": {
        "file": "models/Stable-diffusion/painter.safetensors", "folder": "models/Stable-diffusion/whole", "lora": "models/Lora/look.safetensors",
        "embedding": "embeddings/zyx.safetensors", "vae": "models/VAE/crisp.safetensors",
    },
    "our own": {
        "file": "painter.safetensors", "folder": "whole", "lora": "loras/look.safetensors", "embedding": "zyx.safetensors",
        "vae": "vae/crisp.safetensors",
    },
}  # fmt: skip


def laid_out(files: dict[str, Path], home: Path, layout: str) -> Path:
    for kind, place in LAYOUTS[layout].items():
        (home / place).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if files[kind].is_dir() else shutil.copy)(files[kind], home / place)
    return home


def ready(stock: Stock) -> dict[str, str]:
    return {each.name: each.kind for each in stock.known() if each.state == "ready" and each.place != "with the studio"}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("below", ["", "models"])
def test_folders_of_every_layout_are_understood(
    layout: str, below: str, files: dict[str, Path], tmp_path: Path
) -> None:
    home = laid_out(files, tmp_path / "home", layout)
    (home / "models" / "controlnet").mkdir(parents=True, exist_ok=True)
    (home / "models" / "controlnet" / "other.safetensors").write_bytes(b"not looked at")
    stock = Stock(tmp_path / "own", [home / below if layout != "our own" else home])
    assert stock.rescan() == []
    assert ready(stock) == {
        "painter": "checkpoint", "whole": "checkpoint", "look": "adapter", "zyx": "embedding", "crisp": "autoencoder"
    }  # fmt: skip
    assert {"painter", "whole"} <= set(models) and "look" in adapters and "zyx" in embeddings and "crisp" in vaes


def test_what_a_scan_found_paints(files: dict[str, Path], tmp_path: Path) -> None:
    stock = Stock(laid_out(files, tmp_path, "ComfyUI") / "models")
    stock.rescan()
    memory = host()
    own = pictures(memory, model="painter", steps=1, prompt="a cat")
    assert pictures(memory, model="painter", steps=1, prompt="a cat", vae="crisp") == own  # it is a copy of its own
    with pytest.raises(StudioError, match="adapter look does not fit"):  # a toy is narrower than the true base
        pictures(memory, model="painter", prompt="a cat <look:1>")


def test_a_rescan_follows_the_folder(files: dict[str, Path], tmp_path: Path) -> None:
    stock = Stock(tmp_path)
    stock.rescan()
    assert ready(stock) == {}
    shutil.copy(files["lora"], tmp_path / "look.safetensors")
    stock.rescan()
    first = adapters["look"]
    assert ready(stock) == {"look": "adapter"}
    tiny.for_another_base(tmp_path / "look.safetensors", 1024)
    stock.rescan()
    assert adapters["look"] is not first and adapters["look"].base == "sd2"
    (tmp_path / "look.safetensors").unlink()
    stock.rescan()
    assert ready(stock) == {} and "look" not in adapters


def test_what_cannot_be_used_is_listed_with_its_reason(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "loras").mkdir()
    (tmp_path / "old.ckpt").write_bytes(b"x")
    (tmp_path / "loras" / "hidden.safetensors").write_bytes(b"PK\x03\x04 a pickle by another name")
    (tmp_path / "cut.safetensors").write_bytes(files["lora"].read_bytes()[:-5])
    (tmp_path / "a<b.safetensors").write_bytes(files["lora"].read_bytes())
    (tmp_path / "loras" / "pocket.safetensors").write_bytes(files["lora"].read_bytes())
    shutil.copytree(files["folder"], tmp_path / "pocket")
    refused = {each.name: each.reason for each in Stock(tmp_path).rescan()}
    assert "is a pickle, which can run code" in refused["old"] and "is a pickle" in refused["hidden"]
    assert "is damaged" in refused["cut"]
    assert "rename" in refused["a<b"]
    assert "Another model is called pocket already; rename one" in refused["pocket"]
    assert "pocket" in adapters and len(refused) == 5


def test_two_files_of_one_name_are_told_apart_by_a_sentence(files: dict[str, Path], tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / "loras" / place).mkdir(parents=True)
        shutil.copy(files["lora"], tmp_path / "loras" / place / "look.safetensors")
    (refused,) = Stock(tmp_path).rescan()
    assert "Another adapter is called look in" in refused.reason and refused.path.parent.name == "two"


def test_a_linked_folder_is_followed_once(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(files["lora"], tmp_path / "elsewhere" / "look.safetensors")
    home = tmp_path / "home"
    (home / "loras").mkdir(parents=True)
    (home / "loras" / "mine").symlink_to(tmp_path / "elsewhere")
    (home / "loras" / "again").symlink_to(home / "loras")  # a loop
    assert [path.name for path in candidates(home)] == ["look.safetensors"]


def test_folders_and_files_are_added_and_stay_added(files: dict[str, Path], tmp_path: Path) -> None:
    elsewhere = laid_out(files, tmp_path / "comfy", "ComfyUI")
    stock = Stock(tmp_path / "own")
    stock.rescan()
    assert {each.name for each in stock.add(str(elsewhere))} == {"painter", "whole", "look", "zyx", "crisp"}
    shutil.copy(files["lora"], tmp_path / "single.safetensors")
    assert [each.name for each in stock.add(str(tmp_path / "single.safetensors"))] == ["single"]
    for name in ("painter", "whole", "look", "zyx", "crisp", "single"):
        next(each for each in (models, adapters, embeddings, vaes) if name in each).remove(name)
    again = Stock(tmp_path / "own")
    again.rescan()
    assert len(ready(again)) == 6
    with pytest.raises(BadRequest, match="There is no"):
        stock.add(str(tmp_path / "nothing"))
    with pytest.raises(BadRequest, match="holds no checkpoint"):
        stock.add(str(tmp_path / "own"))


def test_only_what_is_the_studios_own_is_removed(files: dict[str, Path], tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for folder, name in ((own, "mine"), (other, "theirs")):
        folder.mkdir()
        shutil.copy(files["lora"], folder / f"{name}.safetensors")
    stock = Stock(own, [other])
    stock.rescan()
    with pytest.raises(BadRequest, match=r"theirs lies in .* which is not the studio's"):
        stock.remove("theirs")
    for name in ("pocket", "nobody", "../other/theirs"):
        with pytest.raises(BadRequest):
            stock.remove(name)
    stock.remove("mine")
    assert not (own / "mine.safetensors").exists() and (other / "theirs.safetensors").exists()
    assert ready(stock) == {"theirs": "adapter"}


def test_a_download_is_listed_with_licence_and_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]
) -> None:
    with hub() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        served.serve("somebody/toy-model", files["folder"])
        stock = Stock(tmp_path)
        found = stock.offer("somebody/toy-model")
        assert found.bytes > 0
        assert result_of(stock.download(found)) == "toy-model"  # type: ignore[arg-type]
        item = next(each for each in stock.known() if each.name == "toy-model")
        assert (item.licence, item.hub, item.state, item.own) == ("openrail++", "somebody/toy-model", "ready", True)
        assert models["toy-model"].licence == "openrail++"
        stock.remove("toy-model")
        assert not (tmp_path / "toy-model").exists()


def test_a_known_adapter_is_fetched_by_its_name_and_gives_its_presets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]
) -> None:
    with hub() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        listed = catalogue["lcm-lora-sdv1-5"]
        served.repositories[listed.hub] = {listed.file: files["lora"].read_bytes()}
        stock = Stock(tmp_path)
        assert result_of(stock.download(stock.offer("lcm-lora-sdv1-5"))) == "lcm-lora-sdv1-5"  # type: ignore[arg-type]
    assert "lcm-lora-sdv1-5" in adapters
    assert next(each.licence for each in stock.known() if each.name == "lcm-lora-sdv1-5") == "openrail++"


def test_nothing_is_downloaded_offline(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="started with --offline"):
        Stock(tmp_path, offline=True).offer("a/b")


def test_few_step_adapters_that_are_here_add_presets_and_take_them_along(
    files: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "wide"
    shutil.copytree(files["folder"], folder)
    stock = Stock(tmp_path)
    stock.rescan()
    spec = models["wide"]
    wide = spec.texts[0].__class__(**{**vars(spec.texts[0]), "width": 768})
    models.replace("wide", type(spec)(**{**vars(spec), "texts": (wide,)}))
    assert base_of(models["wide"]) == "sd1"
    own = [each.name for each in models["wide"].presets]
    shutil.copy(files["lora"], tmp_path / "lcm-lora-sdv1-5.safetensors")
    (tmp_path / "further.json").write_text("[]")
    names = [each.name for each in added_presets(models["wide"], {"lcm-lora-sdv1-5"})]
    assert names == ["LCM 4", "LCM 8"]
    stock._plain["wide"] = models["wide"]
    stock.rescan()
    assert [each.name for each in models["wide"].presets] == [*own, *names]
    (tmp_path / "lcm-lora-sdv1-5.safetensors").unlink()
    stock.rescan()
    assert [each.name for each in models["wide"].presets] == own


def test_the_table_of_known_models_holds_to_its_schema() -> None:
    table = json.loads((Path(__file__).parents[1] / "assets" / "catalogue.json").read_text())
    assert len({each["name"] for each in table}) == len(table) == len(catalogue) > 25
    for each in catalogue.values():
        assert isinstance(each, Listed)
        assert not (each.few and each.kind != "adapter")
        parse({**SMALL, **each.defaults})
        if each.few:
            assert each.few.sampler in samplers and each.few.schedule in schedules
        for preset in each.presets():
            request = parse({**SMALL, **preset.values})
            assert request.adapters[0].name == each.name  # type: ignore[attr-defined]


def test_what_cannot_be_had_says_why(tmp_path: Path) -> None:
    items = {each.name: each for each in Stock(tmp_path).known()}
    assert items["Qwen-Image"].state == "unavailable" and items["Qwen-Image"].reason.endswith(".")
    assert items["FLUX.1-dev"].state == "known" and "terms" in items["FLUX.1-dev"].reason
    assert items["pocket"].state == "ready"


def test_an_offer_of_a_known_name_asks_for_its_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        with pytest.raises(BadRequest, match="There is no stabilityai/sd-turbo"):
            Stock(Path("nowhere")).offer("sd-turbo")
        with pytest.raises(BadRequest, match="is no id"):
            offer("sd-turbo")


def test_a_checkpoint_of_the_table_is_called_as_the_table_calls_it(files: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "sd-turbo"
    shutil.copytree(files["folder"], folder)
    (folder / "source.json").write_text(json.dumps({"hub": "stabilityai/sd-turbo", "licence": "other"}))
    Stock(tmp_path).rescan()
    assert models["sd-turbo"].title == "SD Turbo" and models["sd-turbo"].licence == "other"
    assert load_folder(folder, "x").title == "x"


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_a_few_steps_begin_at_pure_noise_as_in_diffusers(spacing: str, tmp_path: Path) -> None:
    pipe = stable_diffusion(tmp_path / "toy", timestep_spacing=spacing)
    spec = load_folder(tmp_path / "toy", "toy")
    theirs = EulerDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    for steps in (1, 4, 8):
        theirs.set_timesteps(steps)
        sigmas = schedules["trailing"]()(spec.sized(64, 64), steps)
        off = (sigmas[:-1] / theirs.sigmas[:-1]).log().abs()
        assert float(off.max()) < 0.02 and sigmas[-1] == 0  # by no more than two of the thousand training levels


def test_leaving_a_few_step_quality_takes_its_adapter_off_and_keeps_others() -> None:
    plain, own = models["pocket"], {"steps": 20, "sampler": "dpmpp_2m", "schedule": "karras"}
    few = catalogue["lcm-lora-sdv1-5"].presets()
    spec = replace(plain, presets=(Preset("Balanced", own), *few), defaults={"guidance": "cfg"})
    before = at_quality(parse({**SMALL, "adapters": ["style:0.7"]}), spec, "Balanced")
    quick = at_quality(before, spec, "LCM 4")
    assert [str(each) for each in quick.adapters] == ["style:0.7", "lcm-lora-sdv1-5"]  # type: ignore[attr-defined]
    assert quick.guidance.knobs["scale"] == 1 and quality_of(quick, spec) == "LCM 4"  # type: ignore[attr-defined]
    assert at_quality(quick, spec, "Balanced") == before and quality_of(before, spec) == "Balanced"

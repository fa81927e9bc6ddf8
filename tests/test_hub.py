"""Downloads against a Hub on loopback: what is fetched, going on after a break, and one sentence for each failure."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pipelines.errors import BadRequest, StudioError
from pipelines.models import load_folder
from pipelines.models.hub import offer
from pipelines.models.transfer import SOURCE, STAGED, Transfer, fetch
from pipelines.models.variants import Remote, plain_name, wanted
from tests.accounting import host, result_of
from tests.tiny import adapters as tiny
from tests.tiny.checkpoints import stable_diffusion
from tests.tiny.hub import Hub, hub

TOY = "somebody/toy-model"


@pytest.fixture(scope="module")
def toy_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy checkpoint as repositories are: with pickles, a safety checker, half-precision variants, a single file."""
    folder = tmp_path_factory.mktemp("repository")
    pipe = stable_diffusion(folder)
    pipe.save_pretrained(folder, variant="fp16")
    index = json.loads((folder / "model_index.json").read_text()) | {"safety_checker": ["stable_diffusion", "Checker"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    for extra in (
        "unet/diffusion_pytorch_model.bin",
        "safety_checker/model.safetensors",
        "v1-5.ckpt",
        "README.md",
        "run.py",
    ):
        (folder / extra).parent.mkdir(exist_ok=True)
        (folder / extra).write_bytes(b"x" * 100)
    return folder


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, toy_files: Path) -> Iterator[Hub]:
    with hub() as said:
        monkeypatch.setenv("HF_ENDPOINT", said.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        said.serve(TOY, toy_files)
        yield said


def test_size_and_licence_are_told_before_anything_is_fetched(served: Hub) -> None:
    found = offer(TOY)
    assert (found.name, found.licence, found.gated, found.is_folder) == ("toy-model", "openrail++", False, True)
    assert found.bytes == sum(each.size for each in found.files) > 100_000
    assert [path for path, _ in served.asked] == ["model_index.json"]


def test_only_what_is_opened_is_fetched_and_half_precision_where_there_is_both(served: Hub, tmp_path: Path) -> None:
    paths = [each.path for each in offer(TOY).files]
    assert all(path.endswith((".json", ".txt", ".safetensors")) for path in paths)
    assert not any("safety_checker" in path for path in paths)
    weights = [path for path in paths if path.endswith(".safetensors")]
    assert len(weights) == 3 and all(".fp16." in path for path in weights)


def test_a_checkpoint_arrives_whole_and_can_be_lent(served: Hub, toy_files: Path, tmp_path: Path) -> None:
    said: list[Transfer] = []
    fetching = fetch(offer(TOY), tmp_path)
    path = follow(fetching, said)
    assert path == tmp_path / "toy-model" and not (tmp_path / STAGED / "somebody--toy-model").exists()
    assert [each.done for each in said] == sorted(each.done for each in said)
    assert said[-1].total == offer(TOY).bytes
    assert json.loads((path / SOURCE).read_text()) == {"hub": TOY, "revision": "abc123", "licence": "openrail++"}
    spec = load_folder(path, "arrived")
    with host().use(spec.net) as net:
        kept = load_file(toy_files / "unet/diffusion_pytorch_model.fp16.safetensors")
        assert net.state_dict().keys() == kept.keys()


def follow(fetching: object, said: list[Transfer]) -> Path:
    while True:
        try:
            said.append(next(fetching))  # type: ignore[call-overload]
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def test_a_transfer_that_breaks_goes_on_where_it_broke(served: Hub, tmp_path: Path) -> None:
    served.breaks = [30_000, 10_000]
    path = result_of(fetch(offer(TOY), tmp_path, pause=0))
    assert path.exists()
    ranges = [wanted for _, wanted in served.asked if wanted]
    assert ranges == ["bytes=30000-", "bytes=40000-"]


def test_a_server_that_falls_silent_is_asked_again_for_the_rest(
    served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.models.hub.PATIENCE", 0.3)
    served.breaks, served.silence = [30_000], 5.0
    path = result_of(fetch(offer(TOY), tmp_path, pause=0))
    assert path.exists()
    assert [wanted for _, wanted in served.asked if wanted] == ["bytes=30000-"]


def test_a_transfer_given_up_says_how_far_it_was_and_the_next_goes_on(served: Hub, tmp_path: Path) -> None:
    served.breaks = [50_000, *[0] * 20]
    with pytest.raises(StudioError, match=r"broke off at \d+ %; download again to go on from there"):
        result_of(fetch(offer(TOY), tmp_path, pause=0))
    assert not (tmp_path / "toy-model").exists()
    served.breaks.clear()
    served.asked.clear()
    result_of(fetch(offer(TOY), tmp_path, pause=0))
    assert [wanted for _, wanted in served.asked if wanted] == ["bytes=50000-"]


def test_a_download_that_is_stopped_keeps_what_came(served: Hub, tmp_path: Path) -> None:
    fetching = fetch(offer(TOY), tmp_path)
    while next(fetching).done < 30_000:
        pass
    fetching.close()
    before = sum(path.stat().st_size for path in (tmp_path / STAGED).rglob("*") if path.is_file())
    assert before >= 30_000 and not (tmp_path / "toy-model").exists()
    fetching = fetch(offer(TOY), tmp_path)
    assert next(fetching).done >= 30_000
    fetching.close()


def test_a_server_that_cannot_go_on_begins_anew(served: Hub, tmp_path: Path) -> None:
    served.breaks, served.ranges = [30_000], False
    assert load_folder(result_of(fetch(offer(TOY), tmp_path, pause=0)), "arrived")


def test_what_arrives_damaged_is_thrown_away(served: Hub, tmp_path: Path) -> None:
    found, served.lies = offer(TOY), True
    with pytest.raises(StudioError, match="arrived damaged; download it again"):
        result_of(fetch(found, tmp_path))
    served.lies = False
    assert result_of(fetch(found, tmp_path)).exists()


def test_a_full_disk_is_told_before_anything_is_fetched(served: Hub, tmp_path: Path) -> None:
    found = offer(TOY)
    served.asked.clear()
    with pytest.raises(
        StudioError, match=r"somebody/toy-model needs 0\.0 GB more, and the disk of .* has 0\.0 GB left"
    ):
        result_of(fetch(found, tmp_path, free=lambda folder: found.bytes - 1))
    assert served.asked == []
    assert result_of(fetch(found, tmp_path, free=lambda folder: found.bytes)).exists()


def test_a_disk_that_fills_up_meanwhile_is_one_sentence(served: Hub, tmp_path: Path) -> None:
    (tmp_path / STAGED).write_text("in the way")
    with pytest.raises(StudioError, match="could not be written to"):
        result_of(fetch(offer(TOY), tmp_path))


def test_a_gated_repository_says_where_to_accept_its_terms(
    served: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served.gated, served.token = True, "hf_secret"
    with pytest.raises(StudioError, match=rf"accepted: do so at {served.url}/{TOY}, then set HF_TOKEN"):
        offer(TOY)
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(StudioError, match="with the account of your token") as refused:
        offer(TOY)
    assert "hf_other" not in str(refused.value)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert offer(TOY).gated and result_of(fetch(offer(TOY), tmp_path)).exists()


@pytest.mark.parametrize(
    ("id", "sentence"),
    [
        ("nobody/nothing", "There is no nobody/nothing on the Hub, or it is private"),
        ("../../etc/passwd", "is no id of the Hub"),
        ("http://evil/x", "is no id of the Hub"),
        ("just-a-name", "is no id of the Hub"),
        ("a/..", "is no id of the Hub"),
    ],
)
def test_an_id_that_is_none_is_refused(id: str, sentence: str, served: Hub) -> None:
    with pytest.raises(BadRequest, match=sentence):
        offer(id)


def test_a_hub_in_trouble_is_one_sentence(served: Hub) -> None:
    served.status = 503
    with pytest.raises(StudioError, match="answered 503 for somebody/toy-model; try again later"):
        offer(TOY)


def test_a_machine_that_is_offline_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StudioError, match=r"could not be reached .* is this machine online"):
        offer(TOY)


def test_a_lora_is_fetched_by_its_name_and_put_with_its_kind(served: Hub, tmp_path: Path) -> None:
    home = tmp_path / "loras"
    home.mkdir()
    for name in ("one", "two"):
        tiny.for_another_base(home / f"{name}.safetensors", 768)
    served.serve("somebody/loras", home)
    with pytest.raises(BadRequest, match=r"holds 2 weight files; name one of them: one\.safetensors, two\.safetensors"):
        offer("somebody/loras")
    found = offer("somebody/loras", "two.safetensors")
    assert found.name == "two" and not found.is_folder
    path = result_of(fetch(found, tmp_path / "models"))
    assert path == tmp_path / "models" / "loras" / "two.safetensors"
    with pytest.raises(StudioError, match=r"There is a two\.safetensors .* already"):
        result_of(fetch(found, tmp_path / "models"))


def test_a_file_the_studio_cannot_use_leaves_nothing(served: Hub, tmp_path: Path) -> None:
    served.repositories["somebody/odd"] = {"odd.safetensors": b"PK\x03\x04" + b"0" * 100}
    with pytest.raises(StudioError, match="is a pickle, which can run code"):
        result_of(fetch(offer("somebody/odd"), tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_pickles_alone_are_refused_with_the_reason() -> None:
    index = {"unet": ["diffusers", "UNet2DConditionModel"], "safety_checker": [None, None]}
    files = [Remote(path, 1) for path in ("model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.bin")]
    with pytest.raises(BadRequest, match="its unet as a pickle only, which can run code"):
        wanted("a/b", files, index, "")
    with pytest.raises(BadRequest, match="holds no safetensors"):
        wanted("a/b", [Remote("x.ckpt", 1)], None, "")


def test_paths_that_lead_out_are_never_fetched() -> None:
    index = {"unet": ["diffusers", "UNet2DConditionModel"], "../..": ["a", "b"]}
    files = [
        Remote(path, 1)
        for path in (
            "model_index.json",
            "unet/../../x.json",
            "/etc/x.json",
            "unet/a.json",
            "../../x.json",
            "unet/.x.json",
        )
    ]
    assert [each.path for each in wanted("a/b", files, index, "")] == ["model_index.json", "unet/a.json"]


def test_one_number_type_is_chosen_with_its_shards_and_index() -> None:
    index = {"text_encoder": ["transformers", "T5"]}
    names = (
        "model-00001-of-00002",
        "model-00002-of-00002",
        "model.fp16-00001-of-00002",
        "model.fp16-00002-of-00002",
        "model.non_ema",
    )
    files = [Remote(f"text_encoder/{name}.safetensors", 1) for name in names]
    files += [Remote(f"text_encoder/model.safetensors.index{kind}.json", 1) for kind in ("", ".fp16")]
    chosen = [each.local for each in wanted("a/b", files, index, "") if "fp16" in each.path]
    assert chosen == [
        "text_encoder/model-00001-of-00002.safetensors",
        "text_encoder/model-00002-of-00002.safetensors",
        "text_encoder/model.safetensors.index.json",
    ]
    assert len(wanted("a/b", files, index, "")) == 3
    assert plain_name("sd_xl_base_1.0.safetensors") == "sd_xl_base_1.0.safetensors"


def test_an_index_names_the_shards_as_they_are_called_here(served: Hub, toy_files: Path, tmp_path: Path) -> None:
    files = dict(served.repositories[TOY])
    whole = load_file(toy_files / "unet/diffusion_pytorch_model.fp16.safetensors")
    for path in [path for path in files if path.startswith("unet/diffusion")]:
        del files[path]
    names = [f"diffusion_pytorch_model.fp16-0000{k}-of-00002.safetensors" for k in (1, 2)]
    keys = sorted(whole)
    for k, name in enumerate(names):
        save_file({key: whole[key] for key in keys[k::2]}, tmp_path / name)
        files[f"unet/{name}"] = (tmp_path / name).read_bytes()
    index = {"metadata": {}, "weight_map": {key: names[k % 2] for k, key in enumerate(keys)}}
    files["unet/diffusion_pytorch_model.safetensors.index.fp16.json"] = json.dumps(index).encode()
    served.repositories[TOY] = files
    spec = load_folder(result_of(fetch(offer(TOY), tmp_path / "models")), "sharded")
    with host().use(spec.net) as net:
        assert net.state_dict().keys() == whole.keys()

"""Downloads on a thread of their own, and what the Models page says of models, tiers and networks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.errors import StudioError
from pipelines.memory import Memory, Work
from pipelines.models import models
from pipelines.models.transfer import STAGED
from pipelines.stock import Stock
from studio.downloads import Downloads
from studio.holdings import holdings
from tests.accounting import Accounting, Host
from tests.tiny.checkpoints import stable_diffusion
from tests.tiny.hub import Hub, hub

TOY = "somebody/fetched"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with hub() as said:
        monkeypatch.setenv("HF_ENDPOINT", said.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        stable_diffusion(tmp_path / "there")
        said.serve(TOY, tmp_path / "there")
        yield said
    if "fetched" in models:
        models.remove("fetched")


def test_a_download_is_followed_and_what_arrives_can_be_picked(served: Hub, tmp_path: Path) -> None:
    stock, arrived = Stock(tmp_path / "models"), []
    downloads = Downloads(stock, arrived.append)
    assert downloads.shown() == {}
    downloads.begin(stock.offer(TOY))
    downloads.wait(60)
    assert downloads.shown() == {"name": "fetched", "text": "Here, and ready to paint.", "share": 1.0, "going": False}
    assert arrived == ["fetched"] and "fetched" in models


def test_a_download_that_is_stopped_goes_on_the_next_time(served: Hub, tmp_path: Path) -> None:
    stock = Stock(tmp_path / "models")
    downloads = Downloads(stock)
    served.delay = 0.05
    downloads.begin(stock.offer(TOY))
    while not downloads.shown().get("share"):
        downloads.wait(0.01)
    with pytest.raises(StudioError, match="One download at a time"):
        downloads.begin(stock.offer(TOY))
    downloads.stop()
    downloads.wait(60)
    assert downloads.shown()["text"].startswith("Stopped") and "fetched" not in models
    staged = [each.stat().st_size for each in (tmp_path / "models" / STAGED).rglob("*") if each.is_file()]
    assert sum(staged) > 0
    served.delay = 0.0
    downloads.begin(stock.offer(TOY))
    downloads.wait(60)
    assert "fetched" in models


def test_a_download_that_fails_says_why(served: Hub, tmp_path: Path) -> None:
    stock = Stock(tmp_path / "models")
    downloads, found = Downloads(stock), stock.offer(TOY)
    served.status = 503
    downloads.begin(found)
    downloads.wait(60)
    assert downloads.shown()["failed"] and "503" in downloads.shown()["text"]


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[Stock]:
    stable_diffusion(tmp_path / "held")
    (tmp_path / "old.ckpt").write_bytes(b"x")
    stock = Stock(tmp_path)
    stock.rescan()
    yield stock
    models.remove("held")


def test_each_network_says_in_which_tier_it_lies(stock: Stock) -> None:
    memory = Memory(Accounting(), 60 * 2**20)
    spec = models["held"]

    def said() -> dict[str, str]:
        (row,) = (each for each in holdings(stock, memory)["rows"] if each["name"] == "held")
        return {each["name"]: f"{each['where']} {each['size']} {each['type']}" for each in row["parts"]}

    assert set(said().values()) == {"in its file  32 bits"}
    with memory.working(Work()), memory.use(spec.net):
        assert said()["Painter"] == "on the CPU 3.8 MB 32 bits"
    net = memory.found(spec.net)
    assert net is not None
    net.settle()
    net.shed(2**20)
    assert said()["Painter"].startswith("in part on the CPU 2.") and said()["Autoencoder"].startswith("in its file")
    net.leave()
    assert said()["Painter"].startswith("in RAM 3.8 MB")


def test_rows_name_size_licence_reason_and_whose_files_they_are(stock: Stock) -> None:
    rows = {each["name"]: each for each in holdings(stock, Memory(Host()))["rows"]}
    assert rows["held"]["own"] and "licence not stated" in rows["held"]["facts"]
    assert rows["old"]["state"] == "refused" and "pickle" in rows["old"]["reason"]
    assert rows["pocket"]["facts"][-1] == "Apache-2.0" and not rows["pocket"]["own"]
    assert {each["state"] for each in rows.values()} >= {"ready", "refused", "known", "unavailable"}


def test_a_device_apart_from_the_host_has_a_meter_for_each() -> None:
    assert len(holdings(Stock(Path("nowhere")), Memory(Host()))["tiers"]) == 1
    memory = Memory(Accounting(), 4 * 2**30, ram=2**31)
    assert [each["text"] for each in holdings(Stock(Path("nowhere")), memory)["tiers"]] == [
        "0 MB of 4.0 GB",
        "0 MB of 2.0 GB",
    ]
    assert holdings(Stock(Path("nowhere")), None)["tiers"] == []

"""The library: whatever was made is kept, found again, and gone once it is deleted; on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image

from pipelines.errors import StudioError
from pipelines.events import Painted
from pipelines.library import Library
from pipelines.library.album import Wanted
from pipelines.library.house import sweep_uploads
from pipelines.library.lineage import family
from pipelines.library.rows import HEAD, metadata
from pipelines.library.store import MIGRATIONS
from pipelines.tasks.text_to_image import TextToImage
from tests.databases import Server, server

ROOT = Path(__file__).parents[1]
Open = Callable[..., Library]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("postgres").database() if request.param == "postgresql" else None


@pytest.fixture
def opened(tmp_path: Path, url: str | None) -> Iterator[Open]:
    """Opens the library of this test, as one process after another would."""
    libraries = []

    def another(**settings: Any) -> Library:
        libraries.append(Library(tmp_path, url, **settings))
        return libraries[-1]

    yield another
    for each in libraries:
        each.close()


def keep(library: Library, prompt: str = "a cat", seed: int = 1, owner: str = "", **request: Any) -> Path:
    picture = Image.effect_noise((48, 32), 40 + seed % 50).convert("RGB")
    kept = library.keep(Painted(picture, TextToImage(prompt=prompt, seed=seed, **request)), owner)
    return Path(kept.file or "")


def prompts(library: Library, owner: str = "", **wanted: Any) -> list[str]:
    return [each.prompt for each in library.album.page(owner, Wanted(**wanted))]


def test_what_was_kept_is_found_by_another_process_newest_first(opened: Open) -> None:
    library = opened()
    for k in range(3):
        keep(library, f"picture {k}", k)
    library.close()
    assert prompts(opened()) == ["picture 2", "picture 1", "picture 0"]


def test_pages_are_parts_of_the_whole(opened: Open) -> None:
    library = opened()
    for k in range(5):
        keep(library, f"picture {k}", k)
    pages = [[each.prompt for each in library.album.page("", Wanted(), start, 2)] for start in (0, 2, 4)]
    assert pages == [["picture 4", "picture 3"], ["picture 2", "picture 1"], ["picture 0"]]
    assert library.album.count("", Wanted()) == 5


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("CAT", ["a Cat"]),
        ("ärger über", ["Ärger ÜBER 100%"]),
        ("100%", ["Ärger ÜBER 100%"]),
        ("%", ["Ärger ÜBER 100%"]),
        ("_", []),
        ("dog cat", []),
        ("'; DROP TABLE pictures; --", []),
    ],
)
def test_words_are_searched_whatever_their_case_and_mean_themselves(opened: Open, words: str, found: list[str]) -> None:
    library = opened()
    for k, prompt in enumerate(["a Cat", "a dog", "Ärger ÜBER 100%"]):
        keep(library, prompt, k)
    assert prompts(library, words=words) == found


def test_pictures_are_filtered_by_model_day_and_favourite(opened: Open) -> None:
    library = opened()
    keep(library, "old", 1)
    between = time.time()
    time.sleep(0.01)
    keep(library, "new", 2, model="other")
    album = library.album
    album.favour("", album.ids("", Wanted(words="old")))
    assert prompts(library, model="other") == ["new"]
    assert prompts(library, since=between) == ["new"] and prompts(library, until=between) == ["old"]
    assert prompts(library, favourite=True) == ["old"]
    assert prompts(library, task="drag") == []
    assert album.kinds("") == {"task": ["text_to_image"], "model": ["other", "pocket"]}


def test_the_bin_gives_back_until_it_is_emptied_and_then_nothing_is_left(
    opened: Open, tmp_path: Path, url: str | None
) -> None:
    library = opened()
    file = keep(library, "a secret picture")
    (kept,) = library.album.page("", Wanted())
    small = library.album.thumbnails.of(kept.file, kept.digest)
    assert small is not None and Image.open(small).format == "WEBP"
    library.album.bin("", [kept.id])
    assert prompts(library) == [] and prompts(library, binned=True) == ["a secret picture"] and file.exists()
    library.album.restore("", [kept.id])
    assert prompts(library) == ["a secret picture"]
    library.album.bin("", [kept.id])
    assert library.album.empty("") == 1
    assert not file.exists() and not small.exists() and library.album.count("", Wanted(binned=True)) == 0
    for left in (path for path in tmp_path.rglob("*") if path.is_file() and url is None):
        assert b"a secret picture" not in left.read_bytes(), left


def test_the_copy_on_the_shelf_goes_with_a_deleted_picture_unless_others_came_from_it(opened: Open) -> None:
    library = opened()
    keep(library, "alone", 1, "ann")
    keep(library, "a parent", 2, "ann")
    parent, alone = library.album.page("ann", Wanted())
    shelf = library.shelf("ann")
    names = [shelf.put(Image.open(each.file)) for each in (parent, alone)]
    assert names == [parent.pixels, alone.pixels]
    library.album.add({**_values(library), "owner": "ann"}, [("source", names[0])])
    assert library.erase("ann", [parent.id, alone.id]) == 2
    assert shelf.open(names[0]).size == (48, 32)
    with pytest.raises(StudioError):
        shelf.open(names[1])


def test_nobody_sees_or_deletes_the_pictures_of_others(opened: Open) -> None:
    library = opened()
    keep(library, "of ann", owner="ann")
    (id,) = library.album.ids("ann", Wanted())
    assert prompts(library, "bob") == [] and library.album.get("bob", id) is None
    assert library.album.erase("bob", [id]) == library.album.bin("bob", [id]) == 0
    assert prompts(library, "ann") == ["of ann"]


def test_the_same_picture_twice_is_two_rows_and_two_files(opened: Open) -> None:
    library, picture = opened(), Image.new("RGB", (8, 8))
    files = {library.keep(Painted(picture, TextToImage(seed=1))).file for _ in range(2)}
    assert len(files) == library.album.count("", Wanted()) == 2
    library.album.erase("", library.album.ids("", Wanted())[:1])
    assert len(prompts(library)) == 1


def test_a_library_of_files_only_is_taken_in(opened: Open, tmp_path: Path) -> None:
    from pipelines.pictures import png

    day = tmp_path / "pictures" / "2026-11-20"
    day.mkdir(parents=True)
    for k in range(3):
        painted = Painted(Image.new("RGB", (16, 8), (k, 0, 0)), TextToImage(prompt=f"old {k}", seed=k))
        (day / f"12000{k}-{k}-abc.png").write_bytes(png(painted))
    (day / "cut.png").write_bytes(png(painted)[:-20])
    (day / ".half.png.1-1.part").write_bytes(b"half")
    (day / "stranger.png").write_bytes(Image.new("RGB", (2, 2)).tobytes())
    library = opened()
    assert library.take_in() == 3 and library.take_in() == 0
    found = library.album.page("", Wanted())
    assert {each.prompt for each in found} == {"old 0", "old 1", "old 2"}
    assert all(each.pixels and each.look is not None and (each.width, each.height) == (16, 8) for each in found)


def test_settings_of_a_library_of_files_are_still_known(opened: Open, tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "settings").mkdir()
    name = hashlib.sha256(b"/text_to_image").hexdigest()[:32]
    (tmp_path / "settings" / f"{name}.json").write_text('{"steps": 3}')
    library = opened()
    assert library.recall("", "text_to_image") == {"steps": 3}
    library.remember("", "text_to_image", {"steps": 4})
    library.remember("", "text_to_image", {"steps": 5})
    assert library.recall("", "text_to_image") == {"steps": 5} and library.recall("ann", "text_to_image") == {}


def test_a_family_is_known_by_what_requests_name(opened: Open) -> None:
    library = opened()
    album = library.album

    def descend(name: str, **request: Any) -> Any:
        """A picture whose request names others, as those of later tasks do."""
        from pipelines.library.intake import row
        from pipelines.library.lineage import names_in

        values = row({"task": "inpaint", "prompt": name, "seed": 1, **request}, {}, 4, 4)
        values |= {"owner": "", "file": f"{name}.png", "digest": name, "bytes": 1, "made": time.time(), "look": 0}
        (library.pictures / f"{name}.png").write_bytes(b"png")
        return album.add({**values, "pixels": name * 32}, names_in(request))

    first = descend("a")
    mask = "f" * 32
    second = descend("b", source="a" * 32, mask=mask)
    third = descend("c", control=[{"name": "x", "knobs": {"picture": "b" * 32}}])
    other = descend("d", source="a" * 32)
    tree = family(album, "", second)
    assert [each.id for each in tree.members] == [first, second, third, other]
    assert {(each.parent, each.child, each.role) for each in tree.links} == {
        (first, second, "source"), (mask, second, "mask"), (second, third, "control"), (first, other, "source"),
    }  # fmt: skip
    assert tree.brought == (mask,)
    assert family(album, "bob", second).members == ()


def test_many_writers_in_threads_lose_nothing(opened: Open) -> None:
    library = opened()
    writers = [
        threading.Thread(target=lambda k=k: [keep(library, f"{k} {n}", 10 * k + n) for n in range(5)]) for k in range(4)
    ]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert library.album.count("", Wanted()) == 20


WRITER = """
import sys
from pathlib import Path
from PIL import Image
from pipelines.events import Painted
from pipelines.library import Library
from pipelines.tasks.text_to_image import TextToImage
library = Library(Path(sys.argv[1]), sys.argv[2] or None)
for k in range(10):
    library.keep(Painted(Image.new("RGB", (9, 9), (k, int(sys.argv[3]), 0)), TextToImage(prompt=sys.argv[3], seed=k)))
    library.remember("", "last", {"writer": sys.argv[3], "k": k})
"""


def test_two_processes_on_one_library_do_not_corrupt_it(opened: Open, tmp_path: Path, url: str | None) -> None:
    """From the first moment: both find no database and make one."""
    command = [sys.executable, "-c", WRITER, str(tmp_path), url or ""]
    writers = [subprocess.Popen([*command, name], cwd=ROOT) for name in ("1", "2")]
    assert [each.wait(60) for each in writers] == [0, 0]
    library = opened()
    assert library.album.count("", Wanted()) == 20 and library.take_in() == 0
    assert library.recall("", "last")["k"] == 9
    if library.store.is_file:
        with library.store.reading() as connection:
            assert connection.scalar(sa.text("PRAGMA integrity_check")) == "ok"


def test_the_shipped_migrations_make_the_tables_that_the_code_knows(opened: Open) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD
    with opened().store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_library_of_the_first_version_is_carried_on_with_all_that_waits(
    opened: Open, tmp_path: Path, url: str | None
) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    place = sa.make_url(url or f"sqlite:///{tmp_path / 'library.db'}")
    engine = sa.create_engine(place.set(drivername="postgresql+psycopg") if url else place)
    row = {"id": "1" * 32, "owner": "ann", "request": TextToImage(seed=1).to_json(), "state": "waiting"}
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        before = sa.Table("jobs", sa.MetaData(), autoload_with=connection)
        connection.execute(before.insert(), row | {"place": 1.0, "created": 1.0, "keeper": "2" * 32})
    engine.dispose()
    (ticket,) = opened().tickets.adopt()
    assert (ticket.owner, ticket.said, ticket.request["seed"]) == ("ann", None, 1)


def test_a_library_of_a_later_version_is_left_alone(opened: Open) -> None:
    library = opened()
    keep(library)
    with library.store.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    library.close()
    with pytest.raises(StudioError, match="later version"):
        opened().album.count("", Wanted())


def test_a_damaged_database_is_put_aside_and_the_pictures_are_listed_anew(tmp_path: Path) -> None:
    library = Library(tmp_path)
    keep(library, "still here")
    library.close()
    for journal in tmp_path.glob("library.db-*"):
        journal.unlink()
    (tmp_path / "library.db").write_bytes(b"no database" * 1000)
    again = Library(tmp_path)
    assert again.take_in() == 1 and prompts(again) == ["still here"]
    assert len(list(tmp_path.glob("library.db.damaged-*"))) == 1
    again.close()


def test_a_lost_file_is_not_listed(opened: Open) -> None:
    library = opened()
    keep(library, "here", 1)
    keep(library, "gone", 2).unlink()
    assert prompts(library) == ["here"]


def test_shelf_pictures_that_nothing_came_from_can_be_swept(opened: Open) -> None:
    library = opened()
    shelf = library.shelf("ann")
    used, idle = (shelf.put(Image.new("RGB", (4, 4), colour)) for colour in ("red", "blue"))
    assert shelf.put(Image.new("RGB", (4, 4), "red")) == used
    library.album.add(
        {**_values(library), "owner": "ann"}, [("source", used)],
    )  # fmt: skip
    assert library.room().used > 0
    assert shelf.sweep(time.time() + 1) == 1
    assert shelf.open(used).size == (4, 4)
    with pytest.raises(StudioError):
        shelf.open(idle)


def _values(library: Library) -> dict[str, Any]:
    from pipelines.library.intake import row

    (library.pictures / "x.png").write_bytes(b"png")
    values = row({"task": "inpaint", "seed": 1}, {}, 4, 4)
    return {**values, "file": "x.png", "digest": "x", "bytes": 3, "made": time.time(), "pixels": "x", "look": 0}


def test_retention_lets_go_of_old_pictures_but_favourites(opened: Open) -> None:
    from pipelines.library import house
    from pipelines.library.rows import pictures

    library = opened(retention=2)
    files = [keep(library, prompt, k, "ann") for k, prompt in enumerate(["old", "old and loved", "young"])]
    with library.store.writing() as connection:
        connection.execute(pictures.update().where(pictures.c.prompt != "young").values(made=time.time() - 3 * 86400))
    library.album.favour("ann", library.album.ids("ann", Wanted(words="loved")))
    house.keep(library)
    assert prompts(library, "ann") == ["young", "old and loved"]
    assert [each.exists() for each in files] == [False, True, True]


def test_the_quota_warns_before_it_is_reached(opened: Open) -> None:
    library = opened()
    keep(library)
    used = library.room().used
    for quota, is_full, words in (
        (used * 2, False, ""),
        (int(used * 1.05), False, "nearly full"),
        (used, True, "is full"),
    ):
        library.quota = quota
        assert library.room().is_full is is_full and words in library.room().warning()


def test_temporary_files_are_swept_once_nobody_writes_them(opened: Open, tmp_path: Path) -> None:
    import os

    from pipelines.library import house

    library = opened()
    file = keep(library)
    old, young = (file.parent / f".{name}.png.1-1.part" for name in ("old", "young"))
    (library.exports / "0f").mkdir()
    (library.exports / "1f").mkdir()
    exports = [library.exports / each for each in ("old.zip", "0f/old.safetensors", "1f/.old.png.1-1.part")]
    for each in (old, young, *exports):
        each.write_bytes(b"half")
    for each in (old, *exports):
        os.utime(each, (time.time() - 7200,) * 2)
    house.keep(library)
    assert not old.exists() and young.exists() and file.exists() and list(library.exports.iterdir()) == []


def test_upload_folders_of_studios_that_are_gone_are_swept(tmp_path: Path) -> None:
    import os

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name in (f"palimpsest-{gone.pid}-a", f"palimpsest-{os.getpid()}-b", "palimpsest-other", "somebody"):
        (tmp_path / name).mkdir()
    assert sweep_uploads(tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["palimpsest-other", f"palimpsest-{os.getpid()}-b", "somebody"]
    )


def test_a_full_disk_is_one_sentence_and_nothing_half_is_left(tmp_path: Path) -> None:
    """A file system of 1 MB where this process may mount one; else a limit on the size of a file."""
    script = f"""
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from PIL import Image
from pipelines.errors import StudioError
from pipelines.events import Painted
from pipelines.library import Library
from pipelines.library.album import Wanted
from pipelines.tasks.text_to_image import TextToImage
library = Library(Path({str(tmp_path)!r}))
library.keep(Painted(Image.new("RGB", (8, 8)), TextToImage(seed=1)))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    library.keep(Painted(Image.effect_noise((1024, 1024), 90).convert("RGB"), TextToImage(seed=2)))
except StudioError as error:
    print(error)
library.keep(Painted(Image.new("RGB", (9, 9)), TextToImage(seed=3)))
print([each.seed for each in library.album.page("", Wanted())], len(list(library.pictures.rglob("*.p*"))))
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert said.stdout.splitlines() == ["The picture could not be kept: File too large.", "[3, 1] 2"], said.stderr


def test_hostile_words_are_kept_as_words(opened: Open) -> None:
    library = opened()
    for k, prompt in enumerate(["nul \0 in it", "<script>alert(1)</script>", "\N{PILE OF POO} \u202e"]):
        keep(library, prompt, k)
    assert len(prompts(library)) == 3
    kept = library.album.page("", Wanted(words="nul"))[0]
    assert json.loads(json.dumps(kept.request))["prompt"] == "nul \0 in it"


def test_a_page_is_built_before_the_database_is_imported() -> None:
    check = "import sys, pipelines.runner, pipelines.library, studio.layout; sys.exit('sqlalchemy' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT)

"""Pictures on their way out and back: settings in every format, or none; a mark; a signature; and what a file is."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines import exports
from pipelines.credentials import Credentials, credentials_in
from pipelines.errors import StudioError
from pipelines.events import Painted
from pipelines.exports import ENDINGS, Outgoing, alone, exported, sheet, zipped
from pipelines.library import Library
from pipelines.library.album import Kept, Wanted
from pipelines.likeness import ALIKE, distance, look
from pipelines.recipes import read
from pipelines.tasks import parse, tasks
from pipelines.tasks.text_to_image import TextToImage
from pipelines.training.sampling import sample_scene
from pipelines.training.scenes import draw, stream
from pipelines.verify import verified
from pipelines.watermark import is_marked, marked

ROOT = Path(__file__).parents[1]


def scene(index: int, side: int = 256) -> Image.Image:
    return draw(sample_scene(stream("test", index)), side, side)


@pytest.fixture
def library(tmp_path: Path) -> Any:
    library = Library(tmp_path)
    yield library
    library.close()


def keep(library: Library, index: int = 0, **request: Any) -> Kept:
    library.keep(Painted(scene(index), TextToImage(**{"seed": index, **request})), "", {"studio": "0", "job": "j" * 32})
    return library.album.page("", Wanted())[0]


@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize("task", list(tasks))
def test_every_format_carries_the_request_of_every_task(library: Library, task: str, kind: Any) -> None:
    fields = tasks[task].request.model_fields
    said = {
        name: value
        for name, value in {"prompt": "ein Ärger \N{CAT}, (x:1.2)", "source": "a" * 32}.items()
        if name in fields
    }
    request = tasks[task].request(**said).with_seed()
    library.keep(Painted(Image.new("RGB", (16, 16)), request), "", {"studio": "0.1.0", "job": "secret job"})
    content = exported(library.album.page("", Wanted())[0], Outgoing(kind))
    assert parse(read(io.BytesIO(content)).request) == request
    assert b"secret job" not in content


@pytest.mark.parametrize("kind", ENDINGS)
def test_stripped_is_stripped(library: Library, kind: Any) -> None:
    kept = keep(library, prompt="a secret")
    content = exported(kept, Outgoing(kind, stripped=True))
    picture = Image.open(io.BytesIO(content))
    assert b"secret" not in content and b"palimpsest" not in content.lower()
    assert not picture.getexif() and "parameters" not in picture.info
    with pytest.raises(StudioError):
        read(io.BytesIO(content))


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_other_tools_find_their_text_in_exports(library: Library, kind: Any) -> None:
    content = exported(keep(library, prompt="a cat", negative_prompt="snow"), Outgoing(kind))
    comment = Image.open(io.BytesIO(content)).getexif().get_ifd(0x8769)[0x9286]
    text = comment[8:].decode("utf-16-be")
    assert text.startswith(
        "a cat\nNegative prompt: snow\nSteps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5"
    )


def test_settings_too_long_for_a_jpeg_are_a_sentence_and_fit_a_png(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep(library, prompt="\N{CAT}" * 3900)
    assert read(io.BytesIO(exported(kept, Outgoing("jpeg")))).request["prompt"] == "\N{CAT}" * 3900
    monkeypatch.setattr(exports, "LONGEST_EXIF", 1000)
    with pytest.raises(StudioError, match="Export it as PNG"):
        exported(kept, Outgoing("jpeg"))
    assert exported(kept, Outgoing("png"))


def test_a_zip_and_a_sheet_hold_what_was_chosen(library: Library) -> None:
    for k in range(5):
        keep(library, k, prompt=f"a rather long prompt about picture number {k} " * 6)
    found = library.album.page("", Wanted())
    with zipfile.ZipFile(zipped(found, Outgoing("webp"), library.exports)) as archive:
        assert archive.namelist() == [f"{k:03d}-{5 - k}.webp" for k in range(1, 6)]
        assert archive.testzip() is None
        assert read(io.BytesIO(archive.read("001-4.webp"))).request["seed"] == 4
    page = Image.open(sheet(found, library.exports))
    assert page.width > 4 * 256 and page.height > 2 * 256
    captions = np.asarray(page.convert("L"))[16 + 256 : 16 + 256 + 51, 16 : 16 + 256]
    assert (captions < 100).mean() > 0.01, "no caption"
    assert Image.open(alone(found[0], Outgoing("jpeg"), library.exports)).format == "JPEG"


def test_exports_are_marked_unless_the_mark_is_off_and_kept_pixels_never_change(library: Library) -> None:
    kept = keep(library, 1)
    assert is_marked(Image.open(io.BytesIO(exported(kept, Outgoing("jpeg")))))
    assert not is_marked(Image.open(io.BytesIO(exported(kept, Outgoing("jpeg", marked=False)))))
    assert Image.open(kept.file).tobytes() == scene(1).tobytes()


def test_a_studio_may_mark_all_that_it_keeps(tmp_path: Path) -> None:
    library = Library(tmp_path, marks="all")
    assert is_marked(Image.open(keep(library, 2).file))
    library.close()


@pytest.mark.parametrize("side", [192, 256, 512])
def test_the_mark_survives_and_is_in_nothing_else(side: int) -> None:
    """A few here; tests/quality/watermark.py takes fifty, and more treatments."""
    for k in range(3):
        plain = scene(k, side)
        signed = marked(plain)
        file = io.BytesIO()
        signed.resize((side * 3 // 4, side * 3 // 4), Image.Resampling.LANCZOS).save(file, "JPEG", quality=85)
        assert is_marked(signed) and is_marked(Image.open(file)) and not is_marked(plain)
        change = np.abs(np.asarray(signed, dtype=int) - np.asarray(plain, dtype=int))
        assert change.mean() < 4 and marked(signed).tobytes() == signed.tobytes()


def test_near_duplicates_are_near_and_others_far() -> None:
    pictures = [scene(k) for k in range(12)]
    for picture in pictures:
        file = io.BytesIO()
        picture.resize((180, 180)).save(file, "JPEG", quality=70)
        assert distance(look(picture), look(Image.open(file))) <= ALIKE
    far = [distance(look(a), look(b)) for k, a in enumerate(pictures) for b in pictures[:k]]
    assert sorted(far)[len(far) // 2] > 2 * ALIKE


def test_verify_says_what_a_file_is(library: Library, tmp_path: Path) -> None:
    kept = keep(library, 3, prompt="a fox")
    said = verified(kept.file, library)
    assert (said["made_by"], said["request"]["prompt"], said["same_file"], said["in_library"]) == (
        "Palimpsest",
        "a fox",
        True,
        kept.file.name,
    )
    copy = alone(kept, Outgoing("jpeg", stripped=True), library.exports)
    said = verified(copy, library)
    assert (said["made_by"], said["marked"], said["same_file"], said["in_library"]) == (None, True, False, None)
    assert verified(alone(kept, Outgoing("jpeg"), library.exports))["format"] == said["format"] == "JPEG"
    assert [each["id"] for each in said["alike"]] == [kept.id]
    stranger = tmp_path / "stranger.png"
    scene(50).save(stranger)
    said = verified(stranger, library)
    assert not said["marked"] and said["alike"] == [] and said["request"] is None


def test_verify_on_the_command_line(library: Library, tmp_path: Path) -> None:
    kept = keep(library, 3, prompt="a fox")
    command = [sys.executable, "-m", "pipelines", "verify", str(kept.file), "--folder", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert json.loads(said.stdout)["request"]["prompt"] == "a fox", said.stderr


def certificates(folder: Path) -> Credentials:
    """A chain of two certificates made on the spot: whoever signs must not be its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def name(text: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(x509.NameOID.COMMON_NAME, text),
                x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "A test"),
            ]
        )

    keys = {each: ec.generate_private_key(ec.SECP256R1()) for each in ("authority", "signer")}
    now, made = datetime.now(UTC), {}
    for each in keys:
        public = keys[each].public_key()
        authority = each == "authority"
        builder = x509.CertificateBuilder(
            name("authority"), name(each), public, x509.random_serial_number(), now - timedelta(1), now + timedelta(9)
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        usage = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=authority, crl_sign=authority, **usage), critical=True
        )
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(keys["authority"].public_key()), critical=False
        )
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        if not authority:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
            )
        made[each] = builder.sign(keys["authority"], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "chain.pem").write_bytes(made["signer"] + made["authority"])
    pem = keys["signer"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(pem)
    return Credentials(folder / "chain.pem", folder / "key.pem")


@pytest.mark.parametrize("kind", ENDINGS)
def test_a_certificate_vouches_for_exports(library: Library, tmp_path: Path, kind: Any) -> None:
    kept = keep(library, prompt="a fox")
    path = alone(kept, Outgoing(kind, credentials=certificates(tmp_path)), library.exports)
    said = credentials_in(path)
    assert isinstance(said, dict) and said["made_by"] == ["Palimpsest"] and said["signed_by"] == "A test"
    assert (said["state"], said["actions"]) == ("Valid", ["c2pa.created: text to image"])
    assert read(path).request["prompt"] == "a fox"
    assert credentials_in(kept.file) is None


def painted_from(library: Library, source: Image.Image, k: int) -> Any:
    """A picture that a repainting of another one made."""
    name = library.shelf("").put(source)
    request = tasks["inpaint"].request(model="toy", prompt="a hat", source=name, mask=name, seed=k)
    library.keep(Painted(scene(k), request))
    return library.album.page("", Wanted())[0]


def test_credentials_name_every_edit_and_are_valid(library: Library, tmp_path: Path) -> None:
    first = keep(library, 1)
    edited = painted_from(library, Image.open(first.file), 2)
    twice = painted_from(library, Image.open(edited.file), 3)
    how = Outgoing("png", credentials=certificates(tmp_path), album=library.album)
    said = credentials_in(alone(twice, how, library.exports))
    assert isinstance(said, dict) and said["state"] == "Valid"
    assert said["actions"] == ["c2pa.created: text to image", "c2pa.edited: inpaint", "c2pa.edited: inpaint"]
    brought = painted_from(library, scene(40), 4)
    said = credentials_in(alone(brought, how, library.exports))
    assert isinstance(said, dict) and (said["state"], said["actions"]) == ("Valid", ["c2pa.created: inpaint"])


def test_a_certificate_that_is_none_is_a_sentence(library: Library, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(StudioError, match="could not be written"):
        exported(keep(library), Outgoing("jpeg", credentials=Credentials(tmp_path / "bad.pem", tmp_path / "bad.pem")))

"""Content credentials (C2PA): a signed statement in the file that this tool made the picture, and by what edits.

Needs the package c2pa-python and a certificate with its key; nothing of it is imported where none is configured.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import __version__
from pipelines.errors import StudioError

TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MIXED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
LIBRARY = "Content credentials need the package c2pa-python: pip install c2pa-python."


@dataclass(frozen=True)
class Credentials:
    """A chain of certificates and the key of the first, as PEM files. `algorithm` is that of the key."""

    certificate: Path
    key: Path
    algorithm: str = "es256"

    def signed(self, content: bytes, kind: str, chain: Sequence[dict[str, Any]]) -> bytes:
        """The same picture file with the statement in it; `chain` are the requests that made it, the oldest first.
        Raises StudioError."""
        c2pa = library()
        try:
            told = c2pa.C2paSignerInfo(
                alg=self.algorithm.encode(),
                sign_cert=self.certificate.read_bytes(),
                private_key=self.key.read_bytes(),
                ta_url=None,  # no server is asked for the time
            )
            signed = io.BytesIO()
            builder = c2pa.Builder(json.dumps(statement(chain)))
            builder.sign(c2pa.Signer.from_info(told), TYPES[kind], io.BytesIO(content), signed)
        except (OSError, c2pa.C2paError) as error:
            raise StudioError(f"The content credentials could not be written: {str(error)[:120]}.") from None
        return signed.getvalue()


def statement(chain: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is said of a picture: which tool made it, and each edit. A picture that was brought from elsewhere is said
    to be part of it, and nothing of that one is put into the file."""
    from pipelines.library.lineage import names_in

    brought = bool(names_in(chain[0]))
    made = [_action("c2pa.created", chain[0], MIXED if brought else MADE)]
    return {
        "claim_generator_info": [{"name": "Palimpsest", "version": __version__}],
        "title": _words(chain[-1]),
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [*made, *(_action("c2pa.edited", each, MIXED) for each in chain[1:])]},
            }
        ],
    }


def _action(name: str, request: dict[str, Any], source: str) -> dict[str, Any]:
    return {
        "action": name,
        "description": _words(request),
        "digitalSourceType": source,
        "softwareAgent": {"name": "Palimpsest", "version": __version__},
    }


def _words(request: dict[str, Any]) -> str:
    return str(request.get("task", "")).replace("_", " ")


def credentials_in(file: Path) -> dict[str, Any] | str | None:
    """What the statement in a file says, and how it was judged; None where there is none, or nothing to read it."""
    try:
        c2pa = library()
    except StudioError:
        return None
    kind = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}.get(file.suffix.lower(), "")
    if not kind:
        return None
    try:
        with file.open("rb") as content, c2pa.Reader(TYPES[kind], content) as reader:
            held = json.loads(reader.json())
    except c2pa.C2paError:
        return None
    active = held.get("manifests", {}).get(held.get("active_manifest"), {})
    told = [each.get("data", {}) for each in active.get("assertions", []) if "c2pa.actions" in each.get("label", "")]
    return {
        "made_by": [each.get("name") for each in active.get("claim_generator_info", [])],
        "signed_by": active.get("signature_info", {}).get("issuer"),
        "actions": [
            f"{act.get('action')}: {act.get('description', '')}" for each in told for act in each.get("actions", [])
        ],
        "state": held.get("validation_state"),
    }


def library() -> Any:
    """The package that reads and writes credentials. Raises StudioError where it is not installed."""
    try:
        import c2pa
    except ImportError:
        raise StudioError(LIBRARY) from None
    return c2pa

"""How this studio runs: one model that is read from the environment (PALIMPSEST_*) and from flags."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict

if TYPE_CHECKING:
    from pipelines.credentials import Credentials
    from pipelines.library import Library
    from pipelines.memory import Memory
    from pipelines.stock import Stock

GIB = 1024**3
SPACE = "SPACE_ID"  # set where this runs as a Hugging Face Space
USER = "painter"  # of the password that is made where none is given


def data_folder() -> Path:
    """Where a desktop keeps what programs make for their user."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "palimpsest"


class Settings(BaseSettings):
    """Palimpsest, a studio for pictures. Every flag is an environment variable too: --port is PALIMPSEST_PORT."""

    model_config = SettingsConfigDict(
        env_prefix="PALIMPSEST_", cli_kebab_case=True, cli_implicit_flags=True, cli_prog_name="python app.py"
    )

    host: Annotated[str, Field(description="Address to listen on; 0.0.0.0 for the whole network.")] = "127.0.0.1"
    port: Annotated[int, Field(description="Port to listen on.", ge=0, le=65535)] = 7860
    folder: Annotated[Path, Field(description="Where pictures and settings are kept.", default_factory=data_folder)]
    models: Annotated[Path | None, Field(description="A folder of further checkpoints; without it, FOLDER/models.")] = (
        None
    )
    further: Annotated[
        list[Path], Field(description="Further folders of models, such as those of ComfyUI or A1111, as JSON.")
    ] = []
    model: Annotated[str, Field(description="The checkpoint that is ready first.")] = "pocket"
    device: Annotated[Literal["auto", "cuda", "mps", "cpu"], Field(description="Where to paint.")] = "auto"
    vram: Annotated[
        float | None, Field(description="Gigabytes on the graphics card for models and their work.", gt=0)
    ] = None
    ram: Annotated[float | None, Field(description="Gigabytes of host memory that models may hold.", gt=0)] = None
    share: Annotated[bool, Field(description="Make a public link; asks for a password.")] = False
    auth: Annotated[str | None, Field(description="user:password, asked of everybody who opens the page.")] = None
    names: Annotated[list[str], Field(description="Further host names this studio goes by, as JSON.")] = []
    database: Annotated[
        str | None, Field(description="Where the library's rows are, as a URL (postgresql://...); without it, a file.")
    ] = None
    quota: Annotated[float | None, Field(description="Gigabytes that the library may hold.", gt=0)] = None
    retention: Annotated[float | None, Field(description="Days after which pictures but favourites go.", gt=0)] = None
    watermark: Annotated[
        Literal["off", "exports", "all"], Field(description="Which pictures carry an invisible mark.")
    ] = "exports"
    certificate: Annotated[Path | None, Field(description="Certificates (PEM) for content credentials, C2PA.")] = None
    key: Annotated[Path | None, Field(description="The private key (PEM) of the certificate.")] = None
    offline: Annotated[bool, Field(description="Download nothing, even when asked on the Models page.")] = False

    def model_post_init(self, context: object) -> None:
        """A Space is reached from its own proxy, whatever the flags say."""
        if self.space and is_loopback(self.host):
            self.host = "0.0.0.0"

    @property
    def space(self) -> bool:
        """This runs as a Hugging Face Space, which brings its own door."""
        return SPACE in os.environ

    @property
    def shared(self) -> bool:
        """More than one person may come, so everybody sees only what is theirs."""
        return self.share or self.space or not is_loopback(self.host)

    @property
    def checkpoints(self) -> Path:
        """The folder of further checkpoints."""
        return self.models or self.folder / "models"

    def door(self) -> tuple[str, str] | None:
        """The user and the password to ask for, made where a shared studio was given none; None leaves it open."""
        if self.auth:
            user, _, password = self.auth.partition(":")
            return (user, password) if password else (USER, user)
        return (USER, secrets.token_urlsafe(12)) if self.shared and not self.space else None

    def hosts(self) -> tuple[str, ...]:
        """The names, besides plain addresses, that this server goes by. One that starts with a dot covers all below."""
        own = {self.host, socket.gethostname(), f"{socket.gethostname()}.local", *self.names}
        own |= {".gradio.live"} if self.share else set()
        own |= {os.environ.get("SPACE_HOST", ".hf.space"), ".hf.space"} if self.space else set()
        return tuple(name.lower() for name in own)

    def memory(self) -> Memory:
        """The device and what may be held there, as these settings say; imports torch."""
        from pipelines.device import Device
        from pipelines.estimate import Ledger
        from pipelines.memory import Memory
        from pipelines.warming import settle

        settle()
        ledger = Ledger(self.folder / "seconds.json")
        device, ram = Device(self.device, ledger), None if self.ram is None else int(self.ram * GIB)
        vram = None if self.vram is None else int(self.vram * GIB)
        return Memory(device, ram if device.is_host else vram, ledger, ram)

    def stock(self) -> Stock:
        """The models that this studio has and could have."""
        from pipelines.stock import Stock

        return Stock(self.checkpoints, [*self.further, self.folder], self.offline)  # adapters that were taught here

    def library(self) -> Library:
        """What is kept, as these settings say."""
        from pipelines.library import Library

        quota = None if self.quota is None else int(self.quota * GIB)
        return Library(self.folder, self.database, quota, self.retention, self.watermark, self.credentials())

    def credentials(self) -> Credentials | None:
        """Who vouches for exports; nobody where no certificate is named. Exits where something of it is missing."""
        if self.certificate is None and self.key is None:
            return None
        from pipelines.credentials import Credentials, library
        from pipelines.errors import StudioError

        if self.certificate is None or self.key is None or not (self.certificate.is_file() and self.key.is_file()):
            raise SystemExit("--certificate and --key name two PEM files; one of them is missing.")
        try:
            library()
        except StudioError as error:
            raise SystemExit(str(error)) from None
        return Credentials(self.certificate, self.key)

    def prepare(self) -> None:
        """Set what Gradio reads from the environment on import: nothing leaves the machine, files are ours."""
        uploads = Path(tempfile.mkdtemp(prefix=f"palimpsest-{os.getpid()}-"))  # mode 0700
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "100")
        local = {each for each in os.environ.get("NO_PROXY", "").split(",") if each} | {"127.0.0.1", "localhost"}
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(sorted(local))
        os.environ["HF_HUB_OFFLINE"] = "1"  # what is downloaded, is downloaded by ourselves, when somebody asks


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read(arguments: Sequence[str] | None = None) -> Settings:
    """The settings of this run; flags win over the environment. Exits with a sentence where one is wrong."""
    try:
        return CliApp.run(Settings, cli_args=list(sys.argv[1:] if arguments is None else arguments))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SystemExit(f"--{'.'.join(map(str, first['loc']))}: {first['msg']}.") from None

"""One download at a time, on a thread of its own; the page looks at it and may stop it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from pipelines.errors import StudioError
from pipelines.models.hub import Offer
from pipelines.stock import Stock
from studio.phrases import size, spoken

logger = logging.getLogger(__name__)


class Downloads:
    """Fetches offers of the Hub. What was stopped or broke off goes on from there the next time."""

    def __init__(self, stock: Stock, arrived: Callable[[str], None] = lambda _: None) -> None:
        self.stock, self._arrived = stock, arrived
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._state: dict[str, Any] = {}

    def begin(self, found: Offer) -> None:
        """Start to fetch. Raises StudioError while another download runs."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise StudioError("One download at a time: wait for this one, or stop it.")
            self._stop.clear()
            self._state = {"name": found.name, "text": "Starting", "share": 0.0, "going": True}
            self._thread = threading.Thread(target=self._fetch, args=(found,), name="download", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the download; what has come stays for the next time."""
        self._stop.set()

    def shown(self) -> dict[str, Any]:
        """How far it is, as the page shows it; empty where there was none."""
        return dict(self._state)

    def wait(self, seconds: float) -> None:
        """Return when the download has ended, or after so long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _fetch(self, found: Offer) -> None:
        name, begun = found.name, time.monotonic()
        running = self.stock.download(found)
        first: int | None = None
        try:
            while not self._stop.is_set():
                at = next(running)
                first = at.done if first is None else first
                rate = (at.done - first) / max(time.monotonic() - begun, 1e-3)
                left = f", {spoken((at.total - at.done) / rate)} left" if rate > 0 else ""
                text = f"{size(at.done)} of {size(at.total)}{left}"
                self._state = {"name": name, "text": text, "share": at.done / max(at.total, 1), "going": True}
            self._state = {"name": name, "text": "Stopped; a download goes on from here.", "going": False}
        except StopIteration as end:
            self._state = {"name": name, "text": "Here, and ready to paint.", "share": 1.0, "going": False}
            self._arrived(end.value)
        except StudioError as error:
            self._state = {"name": name, "text": str(error), "going": False, "failed": True}
        except Exception:
            logger.exception("A download failed")
            text = "It broke off; the log has the details."
            self._state = {"name": name, "text": text, "going": False, "failed": True}
        finally:
            running.close()

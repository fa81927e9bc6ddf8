"""Seconds from `python app.py` until the page answers and until the first picture, on a free port and an empty folder.

python -m tests.bench.start [--runs 3]
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from gradio_client import Client

ROOT = Path(__file__).parents[2]


def answered(url: str) -> bool:
    """Whether the page is there."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def one_start() -> tuple[float, float, float]:
    """Seconds to the page, to the first picture from the start, and for a second picture."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PALIMPSEST_FOLDER": folder, "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
        begun = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port)], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
        )
        try:
            while not answered(f"http://127.0.0.1:{port}/"):
                time.sleep(0.02)
            page = time.perf_counter() - begun
            client = Client(f"http://127.0.0.1:{port}/", verbose=False, download_files=False)
            client.predict(prompt="a panda in the snow", seed=1, api_name="/text_to_image")
            first = time.perf_counter() - begun
            client.predict(prompt="a panda in the snow", seed=2, api_name="/text_to_image")
            return page, first, time.perf_counter() - begun - first
        finally:
            server.terminate()
            server.wait(20)


def main() -> None:
    """Print the medians of some starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = [one_start() for _ in range(parser.parse_args().runs)]
    page, first, second = (statistics.median(each) for each in zip(*runs, strict=True))
    print(
        f"page answers after {page:.1f} s; first picture {first:.1f} s after the start; the next takes {second:.2f} s (medians of {len(runs)})"
    )


if __name__ == "__main__":
    main()

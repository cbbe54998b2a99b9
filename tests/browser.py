"""A real headless Chromium for tests, driven over its DevTools protocol: pages are opened, asked and photographed."""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FETCHED = Path(__file__).parent.parent / ".venv" / "chromium"
"""Where tests/get_browser.py puts one that needs no installation."""

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # our own pages, often as root in a container
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--remote-debugging-port=0",
)
START_S, ANSWER_S = 60, 60

_MIDDLE = """selector => {
  const it = document.querySelector(selector);
  it.scrollIntoView({block: "center"});
  const box = it.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}"""


def find_browser() -> list[str] | None:
    """The command that starts a Chromium of this machine, or None where there is none."""
    asked = os.environ.get("TIMBREL_TEST_BROWSER")
    for name in (asked,) if asked else NAMES:
        if found := shutil.which(name):
            return [found]
    fetched = FETCHED / "chromium"
    return [str(fetched), "--no-zygote"] if fetched.exists() else None


class Page:
    """One tab. `events` holds what the browser has reported of it: requests, dialogs, console, exceptions."""

    def __init__(self, socket: ClientConnection, session: str, numbers: Iterator[int]) -> None:
        self.events: list[dict[str, Any]] = []
        self._socket, self._session, self._numbers = socket, session, numbers
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol and its answer."""
        number = next(self._numbers)
        self._socket.send(
            json.dumps({"id": number, "method": method, "params": parameters, "sessionId": self._session})
        )
        while True:
            message = json.loads(self._socket.recv(timeout=ANSWER_S))
            if message.get("id") == number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']['message']}")
                return dict(message["result"])
            if "method" in message and message.get("sessionId") == self._session:
                self.events.append(message)

    def open(self, path: Path, *, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Show a file in a window of this width, light or dark, and wait until it is loaded."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        deadline = time.monotonic() + ANSWER_S
        while self.ask("document.readyState + location.protocol") != "completefile:":
            assert time.monotonic() < deadline, f"{path} did not load"
            time.sleep(0.02)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def click(self, selector: str) -> None:
        """A real click in the middle of the first element that `selector` finds."""
        place = self.ask(f"({_MIDDLE})({json.dumps(selector)})")
        at = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **at)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def reported(self, *methods: str) -> list[dict[str, Any]]:
        """What has happened of these kinds since the page was opened."""
        self.ask("0")  # whatever came before this answer has come
        return [event["params"] for event in self.events if event["method"] in methods]

    def photograph(self, path: Path, *, clip: dict[str, float] | None = None) -> None:
        """The whole page, or the part `clip`, as a PNG."""
        more = {"clip": clip | {"scale": 1}} if clip else {}
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, **more)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browse(command: list[str]) -> Iterator[Page]:
    """A page of a browser that is started for it and ended with it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = os.environ | {"HOME": folder}
        own = Path(command[0]).parent
        if own == FETCHED:
            environment |= {"LD_LIBRARY_PATH": str(own / "lib"), "FONTCONFIG_FILE": str(own / "fonts" / "fonts.conf")}
        process = subprocess.Popen(
            [*command, *FLAGS, f"--user-data-dir={folder}/profile", "about:blank"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            port, way = _wait_for_port(Path(folder) / "profile" / "DevToolsActivePort", process)
            with connect(f"ws://127.0.0.1:{port}{way}", max_size=None, open_timeout=START_S) as socket:
                yield _new_page(socket)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _new_page(socket: ClientConnection) -> Page:
    numbers = itertools.count(1)

    def call(method: str, **parameters: Any) -> Any:
        number = next(numbers)
        socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := json.loads(socket.recv(timeout=START_S))).get("id") != number:
            pass
        return message["result"]

    target = call("Target.createTarget", url="about:blank")["targetId"]
    session = call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    return Page(socket, session, numbers)


def _wait_for_port(file: Path, process: "subprocess.Popen[bytes]") -> tuple[str, str]:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists() and len(lines := file.read_text().splitlines()) == 2:
            return lines[0], lines[1]
        time.sleep(0.02)
    raise AssertionError(f"the browser did not start (exit code {process.poll()})")

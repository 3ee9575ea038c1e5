"""The page in a real browser, headless Chromium, offline; skipped where there is none.

Chromium is driven over its own debugging pipe: its messages are JSON, ended by a zero byte, so no driver is needed.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update"]
FLAGS += ["--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
FLAGS += ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # WebGL without a graphics card
PATIENCE = 300
"""Seconds to wait for an answer: a loaded machine takes long to start a browser."""
SCREENSHOTS = os.environ.get("DFD_SCREENSHOTS")
"""Folder for pictures of the page, to look at."""


class Browser:
    """One page of a Chromium that was started with a debugging pipe."""

    def __init__(self, process: subprocess.Popen[bytes], reading: int, writing: int) -> None:
        self.process, self.reading, self.writing = process, reading, writing
        self.buffer, self.number = b"", 0
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        number = self.number
        answer = self.wait(lambda heard: heard.get("id") == number)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def wait(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the next message that is wanted; the others are kept as events."""
        deadline = time.monotonic() + PATIENCE
        while True:
            while b"\0" in self.buffer:
                line, self.buffer = self.buffer.split(b"\0", 1)
                heard: dict[str, Any] = json.loads(line)
                if wanted(heard):
                    return heard
                self.events.append(heard)
            if not select.select([self.reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium did not answer within {PATIENCE} s")
            heard_bytes = os.read(self.reading, 1 << 20)
            if not heard_bytes:
                raise EOFError("Chromium ended")
            self.buffer += heard_bytes

    def open(self, page: Path, width: int, scheme: str = "light") -> None:
        self.events.clear()
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        self.call("Page.navigate", url=page.as_uri())
        self.wait(lambda heard: heard.get("method") == "Page.loadEventFired")

    def run(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, name: str, whole: bool) -> None:
        if SCREENSHOTS:
            width, height = self.run("[innerWidth, Math.min(document.documentElement.scrollHeight, 12000)]")
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            more = {"clip": clip, "captureBeyondViewport": True} if whole else {}
            data = self.call("Page.captureScreenshot", **more)["data"]
            Path(SCREENSHOTS, f"{name}.png").write_bytes(base64.b64decode(data))

    def complaints(self) -> list[Any]:
        """Return what the console was told, exceptions, and requests that left the file."""
        found: list[Any] = []
        for event in self.events:
            method, facts = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(facts["exceptionDetails"])
            elif method == "Runtime.consoleAPICalled" and facts["type"] in ("error", "assert"):
                found.append(facts["args"])
            elif method == "Log.entryAdded" and facts["entry"]["level"] == "error":
                found.append(facts["entry"])
            elif method == "Network.requestWillBeSent" and not facts["request"]["url"].startswith(("file:", "data:", "blob:")):
                found.append(facts["request"]["url"])
        return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on PATH (Debian: apt-get install chromium)")
    (commands, writing), (reading, answers) = os.pipe(), os.pipe()
    profile = tmp_path_factory.mktemp("profile")
    # Chromium reads from descriptor 3 and writes to 4. Where these are taken, numbers beyond 9 pass through the shell.
    inside = [os.dup(descriptor) for descriptor in (commands, answers)]
    command = f'exec "$@" 3<&{inside[0]} 4>&{inside[1]}'
    process = subprocess.Popen(
        ["bash", "-c", command, "bash", program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=inside,
        stderr=subprocess.DEVNULL,
    )
    for descriptor in (commands, answers, *inside):
        os.close(descriptor)
    try:
        yield Browser(process, reading, writing)
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens_offline_whole_and_no_wider_than_the_window(
    browser: Browser, whole_run: Path, whole_page: Any, width: int
) -> None:
    _, islands = whole_page
    browser.open(whole_run / "report" / "index.html", width)
    drawn = browser.run("document.getElementById('map-tsne').data[0].x.length")
    assert drawn == len(islands["map-data"]["video"]) > 100
    assert browser.run("document.getElementById('map-pca').data[0].x.length") == drawn
    empty = "[...document.querySelectorAll('.plot')].filter(plot => !plot.querySelector('svg, canvas')).map(plot => plot.id)"
    assert browser.run(empty) == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    outside = "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, .plot, pre, svg') && "
    outside += "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    assert browser.run(outside) == []
    browser.screenshot(f"page-{width}", whole=True)
    assert browser.complaints() == []


OPEN_ROW = "[...document.querySelectorAll('.opener')].find(one => one.textContent.includes({name!r}))"
DETAIL = """(() => {
  const inside = document.querySelector('.detail .inside'), count = name => inside.querySelectorAll(name).length;
  const pictures = ['.portraits:not(.heat) img', '.heat img', '.chart .mark'].map(count);
  return [inside.innerText, ...pictures, inside.getBoundingClientRect().right];
})()"""


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (390, "dark"),
        (1280, "light"),
        pytest.param(390, "light", marks=pytest.mark.slow),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
    ],
)
def test_a_row_opens_to_the_faces_of_its_video_by_click_and_by_key(
    browser: Browser, whole_run: Path, whole_page: Any, width: int, scheme: str
) -> None:
    browser.open(whole_run / "report" / "index.html", width, scheme)
    row = OPEN_ROW.format(name="video_0001")
    browser.run(f"{row}.scrollIntoView({{block: 'center', behavior: 'instant'}}); {row}.closest('tr').cells[1].click()")
    assert browser.run(f"{row}.getAttribute('aria-expanded')") == "true"
    text, faces, heat, marks, right = browser.run(DETAIL)
    assert (faces, heat, marks) == (4, 4, 4)  # four faces of a FAKE video; two of them explained, each beside its heat
    assert "frame 10 · 0.32" in text  # the log-odds are -0.75
    assert right <= width
    assert browser.run("document.documentElement.scrollWidth") <= width
    browser.screenshot(f"row-{width}-{scheme}", whole=False)
    browser.run(f"{row}.focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13)
    assert browser.run("document.querySelectorAll('.detail').length") == 0
    assert browser.run(f"{row}.getAttribute('aria-expanded')") == "false"
    browser.run(f"{OPEN_ROW.format(name='<script>')}.click()")
    assert browser.run(DETAIL)[1:4] == [8, 2, 10]
    assert browser.complaints() == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overlaps_where_text_is_twice_as_large(browser: Browser, whole_run: Path, whole_page: Any, width: int) -> None:
    browser.open(whole_run / "report" / "index.html", width)
    browser.run("document.documentElement.style.fontSize = '200%'; document.querySelector('.opener').click()")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(OVERLAPS) == []
    browser.screenshot(f"large-{width}", whole=True)


# Pieces of text whose boxes cut into each other although neither holds the other; plotly's own drawings are left out.
OVERLAPS = """(() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), boxes = [];
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || parent.closest('script, style, .plot, #hover, select, noscript') || !parent.checkVisibility()) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    for (const box of range.getClientRects()) if (box.width > 1) boxes.push([box, text.slice(0, 40)]);
  }
  boxes.sort((a, b) => a[0].top - b[0].top);
  const found = [];
  boxes.forEach(([a, one], i) => {
    for (let k = i + 1; k < boxes.length && boxes[k][0].top < a.bottom - 1; k++) {
      const [b, other] = boxes[k], high = Math.min(a.bottom, b.bottom) - b.top;
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      if (wide > 2 && high > 0.45 * Math.min(a.height, b.height)) found.push(`${one} | ${other}`);
    }
  });
  return found;
})()"""


def test_hovering_over_a_point_shows_its_face(
    browser: Browser, new_run: Callable[..., Path], page_of: Callable[..., Any]
) -> None:
    run = new_run(12, dimensions=2)
    page_of(run)
    browser.open(run / "report" / "index.html", 1280)
    assert browser.run("document.getElementById('hover').hidden") is True
    script = "const map = document.getElementById('map-tsne'); map.scrollIntoView({block: 'center', behavior: 'instant'});"
    script += "new Promise(done => setTimeout(() => { const box = map.querySelector('.point').getBoundingClientRect();"
    script += "done([box.x + box.width / 2, box.y + box.height / 2]); }, 300))"
    x, y = browser.run(script)
    for step in (5, 2, 0):  # plotly looks at movements, one at most every 50 ms
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + step, y=y)
        time.sleep(0.2)
    shown = "new Promise(done => { const look = () => document.getElementById('hover').hidden ? setTimeout(look, 50) : done("
    shown += "[document.getElementById('hover-text').innerText, document.getElementById('hover-face').style.backgroundImage]);"
    shown += "look(); setTimeout(() => done(null), 5000); })"
    text, picture = browser.run(shown)
    assert ".mp4" in text and "frame" in text and "cluster" in text
    assert picture.startswith('url("data:image/')
    browser.screenshot("hover", whole=False)
    assert browser.complaints() == []

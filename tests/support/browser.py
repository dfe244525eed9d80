"""A headless Chromium whose pages are opened, read, clicked and pictured, by DevTools' protocol on two pipes."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.support.processes import wait_until

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
"""Flags of a Chromium that asks nobody for anything."""


_KEYS: Final = {
    "Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, ""), "ArrowLeft": (37, ""), "ArrowRight": (39, ""),
    "ArrowUp": (38, ""), "ArrowDown": (40, ""), "Home": (36, ""), "End": (35, ""),
}  # fmt: skip
"""Name -> its Windows virtual key code, and the text that it types."""
_SHIFT: Final = 8


class Page:
    """The one page of a browser. It keeps what went wrong on its pages (`troubles`) and what they asked for (`asked`).

    Args:
        commands: file descriptor on which Chromium reads.
        answers: file descriptor on which it writes.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._unread, self._last, self._session = b"", 0, ""
        self._troubles: list[str] = []
        self.asked: list[str] = []
        """Every address that was asked for, in order."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Go to an address; what its scripts draw later is not waited for."""
        failed = self._call("Page.navigate", url=url).get("errorText")
        assert not failed, f"{url}: {failed}"

    def load(self, url: str) -> None:
        """Go to an address and wait until all that it names is loaded and its modules have run."""
        self.open(url)
        self.wait_true("document.readyState === 'complete'")

    def troubles(self) -> list[str]:
        """Return what went wrong since the last call: errors of scripts, refused resources, dialogs that opened."""
        self.evaluate("1")  # what was sent before its answer has been read then
        found, self._troubles = self._troubles, []
        return found

    def wait_true(self, expression: str, seconds: float = 30.0) -> None:
        """Wait until a JavaScript expression is true."""
        with suppress(TimeoutError):
            wait_until(lambda: self.evaluate(f"!!({expression})"), seconds)
            return
        raise AssertionError(f"{expression} did not become true; the page: {self.text()[:2000]}")

    def fits(self) -> bool:
        """Return whether nothing is wider than the window, once the charts have taken its width."""
        with suppress(TimeoutError):
            wait_until(lambda: self.evaluate("document.documentElement.scrollWidth <= innerWidth + 1"), 10)
            return True
        return False

    def resize(self, width: int, height: int = 900, *, scale: float = 1.0) -> None:
        """Take the size of a device, in CSS pixels."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )

    def prefer(self, scheme: str = "light", *, reduced_motion: bool = False) -> None:
        """Say what the reader prefers: `light` or `dark`, and little motion."""
        motion = "reduce" if reduced_motion else "no-preference"
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        self._call("Emulation.setEmulatedMedia", features=[{"name": n, "value": v} for n, v in features.items()])

    def hide_scrollbars(self) -> None:
        """Draw no scroll bars, as a phone does; the page has the whole width."""
        self._call("Emulation.setScrollbarsHidden", hidden=True)

    def press(self, key: str) -> None:
        """Press and release a key: a character, or a name such as `Escape`."""
        code, text = _KEYS.get(key, (ord(key[0].upper()), key))
        known = {"key": key, "windowsVirtualKeyCode": code, "modifiers": _SHIFT if key == "?" else 0}
        self._call("Input.dispatchKeyEvent", type="keyDown", **known, **({"text": text} if text else {}))
        self._call("Input.dispatchKeyEvent", type="keyUp", **known)

    def type(self, text: str) -> None:
        """Write into what has the focus."""
        self._call("Input.insertText", text=text)

    def hover(self, selector: str, across: float = 0.5, down: float = 0.5) -> None:
        """Move the mouse over the first element of a selector, to a fraction of its width and height."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.wait_true(element)
        self.evaluate(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self.evaluate(f"(b => [b.x, b.y, b.width, b.height])({element}.getBoundingClientRect())")
        x, y = box[0] + box[2] * across, box[1] + box[3] * down
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x - 1, y=y)
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def evaluate(self, expression: str) -> Any:
        """Return the JSON value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self) -> str:
        """Return the text that a person sees."""
        return str(self.evaluate("document.body?.innerText ?? ''"))

    def wait_for(self, text: str, seconds: float = 30.0) -> str:
        """Return the page's text as soon as it has this in it."""
        with suppress(TimeoutError):
            return str(wait_until(lambda: text in (seen := self.text()) and seen, seconds))
        raise AssertionError(f"{text!r} is not on the page: {self.text()}")

    def click(self, selector: str, text: str) -> None:
        """Click the first element of a CSS selector that begins with a text, as soon as it is there."""
        begins = f"element => element.innerText.trim().startsWith({json.dumps(text)})"
        found = f"[...document.querySelectorAll({json.dumps(selector)})].find({begins})"
        where = f"(e => e && (b => [b.x + b.width / 2, b.y + b.height / 2])(e.getBoundingClientRect()))({found})"
        wait_until(lambda: self.evaluate(where))
        self.evaluate(f"({found}).scrollIntoView({{block: 'nearest', behavior: 'instant'}})")
        x, y = self.evaluate(where)
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def scroll_to(self, text: str) -> None:
        """Bring the first element whose whole text is this one into the window."""
        whole = f"element => element.textContent.trim() === {json.dumps(text)}"
        found = f"[...document.querySelectorAll('body *')].find({whole})"
        assert self.evaluate(f"(e => e && (e.scrollIntoView({{block: 'center'}}), true))({found})"), text

    def picture(self, file: Path, *, whole: bool = False) -> None:
        """Write what a person sees as a PNG; the whole page, or what of it is in the window."""
        drawn = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(drawn["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        session = {"sessionId": self._session} if self._session else {}
        command = {"id": self._last, "method": method, "params": parameters, **session}
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        asked = self._last
        while True:  # what comes between are events
            message = self._receive()
            if message.get("id") == asked:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._happened(message.get("method", ""), message.get("params", {}))

    def _happened(self, event: str, said: dict[str, Any]) -> None:
        match event:
            case "Network.requestWillBeSent":
                self.asked.append(said["request"]["url"][:2000])
            case "Runtime.exceptionThrown":
                thrown = said["exceptionDetails"]
                self._troubles.append(f"thrown: {thrown.get('exception', {}).get('description', thrown['text'])}")
            case "Runtime.consoleAPICalled" if said["type"] in ("error", "warning", "assert"):
                self._troubles.append(
                    f"console: {[each.get('value', each.get('description')) for each in said['args']]}"
                )
            case "Log.entryAdded" if said["entry"]["level"] in ("error", "warning"):
                self._troubles.append(f"log: {said['entry']['text']} {said['entry'].get('url', '')}")
            case "Page.javascriptDialogOpening":
                self._troubles.append(f"dialog: {said['message']}")
                self._last += 1  # its answer is not waited for: one that waits here may be what opened the dialog
                answer = {"id": self._last, "method": "Page.handleJavaScriptDialog", "params": {"accept": False}}
                os.write(self._commands, json.dumps({**answer, "sessionId": self._session}).encode() + b"\0")

    def _receive(self, seconds: float = 60.0) -> Any:
        deadline = time.monotonic() + seconds
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            read = os.read(self._answers, 1 << 20) if ready else b""
            assert read, "Chromium has ended" if ready else f"Chromium did not answer within {seconds} s"
            self._unread += read
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)


@contextmanager
def page(folder: Path, width: int = 1280, height: int = 1600) -> Iterator[Page]:
    """Start a Chromium of its own, with a profile in a folder, and give its page."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *QUIET, "--remote-debugging-pipe", f"--window-size={width},{height}"]
    with ExitStack() as ends:
        theirs_in, commands = os.pipe()
        answers, theirs_out = os.pipe()
        for end in (commands, answers):
            ends.callback(os.close, end)
        log = ends.enter_context((folder / "chromium.log").open("wb"))
        # Chromium reads file descriptor 3 and writes 4; of a plain sh, dash knows no descriptors of two digits.
        redirected = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        running = subprocess.Popen(
            ["bash", "-c", redirected, "bash", *command, f"--user-data-dir={folder / 'profile'}"],
            pass_fds=(theirs_in, theirs_out),
            stdout=log,
            stderr=log,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Page(commands, answers)
        finally:
            running.terminate()
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()

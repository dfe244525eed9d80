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


class Page:
    """The one page of a browser.

    Args:
        commands: file descriptor on which Chromium reads.
        answers: file descriptor on which it writes.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._unread, self._last, self._session = b"", 0, ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def open(self, url: str) -> None:
        """Go to an address; what its scripts draw later is not waited for."""
        failed = self._call("Page.navigate", url=url).get("errorText")
        assert not failed, f"{url}: {failed}"

    def evaluate(self, expression: str) -> Any:
        """Return the JSON value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
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
        x, y = wait_until(lambda: self.evaluate(where))
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def scroll_to(self, text: str) -> None:
        """Bring the first element whose whole text is this one into the window."""
        whole = f"element => element.textContent.trim() === {json.dumps(text)}"
        found = f"[...document.querySelectorAll('body *')].find({whole})"
        assert self.evaluate(f"(e => e && (e.scrollIntoView({{block: 'center'}}), true))({found})"), text

    def picture(self, file: Path) -> None:
        """Write what a person sees as a PNG."""
        file.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        session = {"sessionId": self._session} if self._session else {}
        command = {"id": self._last, "method": method, "params": parameters, **session}
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:  # what comes between are events
            message = self._receive()
            if message.get("id") == self._last:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result

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

"""The units: systemd takes them, and what they start is ours."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.collectors import ROOT
from tests.support.deployment_files import SYSTEMD, parsed

UNITS = sorted(SYSTEMD.iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]


def unit(path: Path) -> configparser.ConfigParser:
    found = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    found.optionxform = str  # type: ignore[method-assign,assignment]
    found.read_string(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for path in UNITS:
        text = re.sub(r"/opt/corevital/bin/corevital|/usr/bin/otelcol-contrib", sys.executable, path.read_text())
        (tmp_path / path.name).write_text(text)
    found = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / path.name) for path in UNITS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (found.returncode, [line for line in found.stderr.splitlines() if str(tmp_path) in line]) == (0, [])


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_a_unit_starts_what_is_there(path: Path) -> None:
    service = unit(path)["Service"]
    words = shlex.split(service["ExecStart"])
    if words[0] == "/bin/sh":
        words = shlex.split(words[2].removeprefix("exec ").replace("$(date +%%F)", "today"))
    if words[0].endswith("/corevital"):
        db = str(parsed(words[1:]).get("db") or parsed(words[1:])["path"])
        assert db.startswith(f"/var/lib/{service['StateDirectory']}/"), "the only place that it may write to"
    else:
        assert words[0].endswith("otelcol-contrib")
        assert all((ROOT / name).is_file() for name in words[2::2])
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["User"] == "corevital"


def test_the_timer_starts_the_backup() -> None:
    (timer,) = [path for path in UNITS if path.suffix == ".timer"]
    assert timer.with_suffix(".service") in SERVICES
    assert "OnCalendar" in unit(timer)["Timer"]

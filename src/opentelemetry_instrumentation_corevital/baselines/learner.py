"""Teaches baselines from finished runs, in a thread of its own, and adds what was learned to their files.

Whoever has a finished run hands it over and goes on. The thread takes one run after another: it measures it by the
baseline as that was before the run, and adds its numbers. It writes at most once a minute; what is left is written when
the process ends. Every process learns for itself between two writes, and knows what others have learned since the last.
"""

import atexit
import errno
import logging
import os
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from .._internal.error_text import describe, error_name
from .._internal.file_lock import FileIsLockedError
from .._internal.safety import shielded
from ..run import ModelInfo, Run
from .learned import LearnedBaseline, identity_of, key_of
from .learned_files import file_of, read_baseline, update
from .profile import Identity, Profile, ProfileError
from .run_numbers import FEWEST_RUNS, NumberSample, RunLimit, Yardstick, run_number
from .windowed import Part, parts

logger = logging.getLogger(__name__)

WRITE_SECONDS: Final = 60.0
ANCHOR_RUNS: Final = 4
"""So many runs are waited for before the sketches are anchored, unless there is something to write before."""
MOST_WAITING: Final = 256
"""Runs that wait to be learned from; more that come meanwhile teach nothing."""
FIRST_MEASURE: Final = 8
"""Runs after which runs are measured, though nothing is judged by it yet."""
GROWTH: Final = 1.25
"""What runs are compared with is made anew when the baseline has grown by this factor."""
_MOST_FIRST: Final = 16
"""Runs that wait for anchors at most."""
_MOST_NUMBERS: Final = 64
"""NumberSample of runs that are added to the sample together, since that sorts it."""
_FOR_GOOD: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR})
"""What does not pass by itself; a full disk may."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What a learned baseline says at some moment; it does not change.

    Attributes:
        runs, tokens: that it was learned from.
        profile: what is usual; None below `FEWEST_RUNS` runs.
        limit: the run number beyond which a run is out; None as long as there is none.
        yardstick: with what runs are measured; None at the beginning.
        measured: runs in the yardstick and the profile.
    """

    runs: int = 0
    tokens: int = 0
    profile: Profile | None = None
    limit: RunLimit | None = None
    yardstick: Yardstick | None = None
    measured: int = 0


@dataclass(slots=True)
class Pupil:
    """A model that is learned about in this process.

    Attributes:
        file: of its baseline.
        known: what the file had when it was last read or written; None where it was not there.
        new: what was learned since; None until there are anchors.
        usual: what runs are compared with now.
        refused: why nothing is learned, where that is so.
    """

    file: Path
    known: LearnedBaseline | None
    new: LearnedBaseline
    usual: Usual = field(default_factory=Usual)
    refused: str | None = None
    waiting: list[tuple[list[Part], int]] = field(default_factory=list)
    """The first runs, until the sketches are anchored."""
    numbers: list[tuple[int, float, int, int]] = field(default_factory=list)
    """Of the last runs, as entries of `NumberSample`."""
    due: float = 0.0
    """When it may be written next, in monotonic seconds."""
    dirty: bool = False

    def count_numbers(self) -> None:
        """Add the numbers of the last runs to what is new."""
        self.new.numbers = self.new.numbers.merged(NumberSample.of(self.numbers))
        self.numbers = []

    def forget_what_is_new(self) -> None:
        """Leave what was learned and not written to somebody else: the process that this one was forked from."""
        self.new = _without_knowledge(self.known, self.new)
        self.waiting, self.numbers, self.dirty = [], [], False


def _without_knowledge(known: LearnedBaseline | None, new: LearnedBaseline) -> LearnedBaseline:
    return LearnedBaseline.empty(new.identity) if known is None else known.delta()


class Learner:
    """Everything that a process learns."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        """Of learning and writing."""
        self._small_lock = threading.Lock()
        """Of what callers may wait for: nobody has it for long."""
        self._pupils: dict[Path, Pupil] = {}
        self._queue: deque[tuple[Pupil, Run, bool]] = deque()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._told: set[str] = set()
        atexit.register(self.force_flush)
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(before=self._hold, after_in_parent=self._release, after_in_child=self._begin_anew)

    # --- for whoever judges and hands over ------------------------------------------------------------------------

    def pupil(self, model: ModelInfo) -> Pupil:
        """Return a model to learn about; its baseline is read the first time."""
        identity = identity_of(model)
        file = file_of(identity)
        pupil = self._pupils.get(file)
        if pupil is not None:
            return pupil
        with self._small_lock:
            if file not in self._pupils:
                known, refused = None, None
                try:
                    known = _of_model(read_baseline(file), identity, file)
                except FileNotFoundError:
                    refused = _unwritable(file)
                except ProfileError as error:
                    refused = f"{error}; runs are judged without it, and nothing is learned"
                new = _without_knowledge(known, LearnedBaseline.empty(identity))
                pupil = Pupil(file, known, new, refused=refused)
                if refused is not None:
                    self._tell(refused)
                self._renew(pupil)
                self._pupils[file] = pupil
            return self._pupils[file]

    def hand_over(self, pupil: Pupil, run: Run, *, teaches: bool) -> None:
        """Have a finished run learned from.

        Args:
            pupil: its model.
            run: the run; it is not changed, and forgotten soon.
            teaches: False: it was beyond the limit, which is counted.
        """
        frozen = pupil.known is not None and pupil.known.frozen
        if pupil.refused is not None or frozen or len(self._queue) >= MOST_WAITING:
            return
        self._queue.append((pupil, run, teaches))
        if self._thread is None:
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    def force_flush(self, timeout_millis: float = 0) -> bool:
        """Learn from all that waits, and write it; return whether all of it is written."""
        del timeout_millis
        with self._lock:
            self._learn_all()
            written = [self._write(pupil) for pupil in list(self._pupils.values())]
            return all(written)

    def shutdown(self) -> None:
        """Write what was learned."""
        self.force_flush()

    def forget(self) -> None:
        """Know nothing any more, and write nothing of it: for tests."""
        with self._lock:
            self._queue.clear()
            self._pupils.clear()
            self._told.clear()

    # --- the thread -----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        with self._small_lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="corevital-learner", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            self._wake.wait(self._pause())
            self._wake.clear()
            with shielded("baselines.learner"), self._lock:
                self._learn_all()
                now = time.monotonic()
                for pupil in list(self._pupils.values()):
                    if pupil.dirty and now >= pupil.due:
                        self._write(pupil)

    def _pause(self) -> float | None:
        """Return the seconds until there is something to write; None where there is nothing."""
        due = min((pupil.due for pupil in list(self._pupils.values()) if pupil.dirty), default=None)
        return None if due is None else max(0.05, due - time.monotonic())

    def _learn_all(self) -> None:
        while self._queue:
            pupil, run, teaches = self._queue.popleft()
            try:
                self._learn(pupil, run, teaches=teaches)
            except Exception as error:  # recording goes on, whatever is wrong here
                pupil.refused = f"baseline {pupil.file}: nothing more is learned: internal error ({error_name(error)})"
                self._tell(pupil.refused)
                logger.debug("CoreVital: internal error in baselines.learner: %s", describe(error))

    def _learn(self, pupil: Pupil, run: Run, *, teaches: bool) -> None:
        if pupil.refused is not None:
            return
        if not teaches:
            pupil.new.flagged += 1
        else:
            found = list(parts(run, pupil.new.rows))
            number = None if pupil.usual.yardstick is None else run_number(found, pupil.usual.yardstick)
            if number is not None:
                pupil.numbers.append((secrets.randbits(64), number.value, run.steps, pupil.usual.measured))
                if len(pupil.numbers) >= _MOST_NUMBERS:
                    pupil.count_numbers()
            if pupil.known is None:
                self._keep_waiting(pupil, found, run.steps)
            else:
                _teach(pupil.new, found, run.steps)
        pupil.dirty = True
        self._renew(pupil)

    def _keep_waiting(self, pupil: Pupil, found: list[Part], steps: int) -> None:
        """Keep a first run until there are some, so that the anchors suit more than one of them."""
        if len(pupil.waiting) < _MOST_FIRST:
            pupil.waiting.append((found, steps))
        if len(pupil.waiting) == 1:
            pupil.due = max(pupil.due, time.monotonic() + WRITE_SECONDS)
        elif len(pupil.waiting) == ANCHOR_RUNS:
            pupil.due = time.monotonic()

    def _renew(self, pupil: Pupil) -> None:
        """Make what runs are compared with anew, if the baseline has grown enough."""
        known, new, before = pupil.known, pupil.new, pupil.usual
        runs = new.runs + (0 if known is None else known.runs) + len(pupil.waiting)
        tokens = new.tokens + (0 if known is None else known.tokens) + sum(steps for _, steps in pupil.waiting)
        if runs < before.measured:  # it was reset
            before = Usual()
        usual = Usual(runs, tokens, before.profile, before.limit, before.yardstick, before.measured)
        grown = before.measured * GROWTH
        if before.measured < FEWEST_RUNS:
            grown = min(grown, FEWEST_RUNS)
        if not pupil.waiting and runs >= max(FIRST_MEASURE, grown) and runs > before.measured:
            pupil.count_numbers()
            whole = new if known is None else known.merged(new)
            usual = Usual(runs, tokens, whole.profile(), whole.limit(), whole.yardstick(), runs)
        pupil.usual = usual

    # --- the file -------------------------------------------------------------------------------------------------

    def _write(self, pupil: Pupil) -> bool:
        """Add what is new to the file; return whether nothing is left to add."""
        if not pupil.dirty or pupil.refused is not None:
            return True
        pupil.due = time.monotonic() + WRITE_SECONDS
        pupil.count_numbers()
        try:
            pupil.known = update(pupil.file, lambda before: _added(before, pupil))
        except FileIsLockedError:
            return False
        except ProfileError as error:
            pupil.refused = f"{error}; nothing more is learned"
            self._tell(pupil.refused)
            return False
        except OSError as error:
            what = f"baseline {pupil.file}: cannot be written: {error.strerror}"
            if error.errno in _FOR_GOOD:
                pupil.refused = what = f"{what}; nothing is learned"
            self._tell(what)
            return False
        pupil.forget_what_is_new()
        self._renew(pupil)
        return True

    def _tell(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            logger.warning("CoreVital: %s", what)

    def _hold(self) -> None:
        """Let a fork wait until nothing is being written."""
        self._lock.acquire()

    def _release(self) -> None:
        """Go on, in the process that forked."""
        self._lock.release()

    def _begin_anew(self) -> None:
        """In a child that was forked: what was not written is the parent's to write, and the thread is not here."""
        self._lock, self._small_lock = threading.RLock(), threading.Lock()
        self._queue = deque()
        self._wake = threading.Event()
        self._thread = None
        for pupil in self._pupils.values():
            pupil.forget_what_is_new()


def _of_model(known: LearnedBaseline, identity: Identity, file: Path) -> LearnedBaseline:
    """Return what a file has.

    Raises:
        ProfileError: if it is of another model: somebody has copied it there.
    """
    if key_of(known.identity) != key_of(identity):
        raise ProfileError(f"baseline {file}: is of another model, {known.identity.name}")
    return known


def _added(before: LearnedBaseline | None, pupil: Pupil) -> LearnedBaseline | None:
    """Return what a file shall have that has this now: None, as it is, where it is frozen.

    Raises:
        ProfileError: if it has the baseline of another model.
    """
    if before is not None:
        _of_model(before, pupil.new.identity, pupil.file)
    if before is not None and before.frozen:
        return None
    new = pupil.new
    if pupil.waiting:
        numbers, flagged = new.numbers, new.flagged
        new = _without_knowledge(before, new)
        new.numbers, new.flagged = numbers, flagged
        new.anchor(_side_by_side([found for found, _ in pupil.waiting]))
        for found, steps in pupil.waiting:
            _teach(new, found, steps)
    return new if before is None else before.merged(new)


def _side_by_side(runs: list[list[Part]]) -> list[Part]:
    """Return the numbers of several runs as those of one, for their anchors."""
    groups: dict[int, list[Part]] = {}
    for found in runs:
        for part in found:
            groups.setdefault(part.group, []).append(part)
    return [
        Part(
            group,
            np.concatenate([part.starts for part in each]),
            np.concatenate([part.table for part in each]),
            each[0].rows,
        )
        for group, each in groups.items()
    ]


def _teach(new: LearnedBaseline, found: list[Part], steps: int) -> None:
    new.anchor(found)
    new.teach(found, steps)


def _unwritable(file: Path) -> str | None:
    """Return why a file that is not there cannot be made; None where it can."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"baseline {file}: cannot be written: {error.strerror}; nothing is learned"
    if not os.access(file.parent, os.W_OK | os.X_OK):
        return f"baseline {file}: cannot be written: Permission denied; nothing is learned"
    return None


LEARNER: Final = Learner()
"""That of this process."""

"""Vitals rows on their way from the model's device to the host: one row and one copy per step, never a wait.

A row is a float32 tensor [sequences, signals]. Rows of a CUDA device go through a ring of pinned slots and are read
when their copy has finished, one step later; a CPU's are copied at once; those of other devices stay there until the
run is over, since neither a pinned copy nor an event can be relied on.
"""

import contextlib
import functools
import time
from collections import deque
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RING_SLOTS: Final = 4
"""Two suffice while the host is at most a step ahead of the device; four absorb a library that runs ahead."""


class Clock:
    """Unix time that never goes back, in nanoseconds."""

    def __init__(self) -> None:
        self._wall = time.time_ns() - time.perf_counter_ns()

    def now(self) -> int:
        """Return the Unix time in nanoseconds."""
        return self._wall + time.perf_counter_ns()


class RowStore:
    """Rows of a run and their times on the host.

    Args:
        width: numbers that every row begins with. Those behind them, which few rows may have, are kept apart.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._kept: list[NDArray[np.float32]] = []
        self._times: list[int] = []

    @property
    def steps(self) -> int:
        """Return the number of rows so far."""
        return len(self._kept)

    def append(self, row: NDArray[np.float32], time_ns: int) -> None:
        """Add one step's row [sequences, signals], which nobody changes any more."""
        self._kept.append(row)
        self._times.append(time_ns)

    @functools.cached_property
    def rows(self) -> NDArray[np.float32]:
        """Return all rows [steps, sequences, width], when the last one is in. What a row lacks of the width is NaN."""
        if not self._kept:
            return np.empty((0, 0, 0), np.float32)
        rows = np.full((self.steps, len(self._kept[0]), self._width), np.nan, np.float32)
        for row, kept in zip(rows, self._kept, strict=True):
            row[:, : kept.shape[1]] = kept[:, : self._width]
        return rows

    @functools.cached_property
    def more_steps(self) -> NDArray[np.int64]:
        """Return the indices of the steps whose rows are wider."""
        return np.array([step for step, row in enumerate(self._kept) if row.shape[1] > self._width], np.int64)

    @functools.cached_property
    def more(self) -> NDArray[np.float32]:
        """Return what rows have behind the width [steps with more, sequences, signals]."""
        wide = [self._kept[step][:, self._width :] for step in self.more_steps]
        return np.stack(wide) if wide else np.empty((0, 0, 0), np.float32)

    @functools.cached_property
    def times(self) -> NDArray[np.int64]:
        """Return the Unix times of all rows [steps], in nanoseconds."""
        return np.array(self._times, np.int64)


class RowCarrier(Protocol):
    """Takes rows on the device during the run and has them all on the host after `finish`."""

    store: RowStore

    def push(self, row: Tensor) -> None:
        """Take one step's row [sequences, signals]; must not wait for the device."""

    def finish(self) -> RowStore:
        """Wait for what is under way and return all rows."""


class HostRows:
    """Rows of a model on the CPU."""

    def __init__(self, clock: Clock, width: int) -> None:
        self.store = RowStore(width)
        self._clock = clock

    def push(self, row: Tensor) -> None:
        """Take one step's row."""
        self.store.append(row.numpy().copy(), self._clock.now())

    def finish(self) -> RowStore:
        """Return all rows."""
        return self.store


class DeviceRows:
    """Rows of a device that has neither pinned copies nor timed events: kept there, copied once at the end."""

    def __init__(self, clock: Clock, width: int) -> None:
        self.store = RowStore(width)
        self._clock = clock
        self._waiting: list[tuple[Tensor, int]] = []

    def push(self, row: Tensor) -> None:
        """Take one step's row."""
        self._waiting.append((row, self._clock.now()))

    def finish(self) -> RowStore:
        """Copy all rows to the host and return them."""
        if self._waiting:
            for row, time_ns in self._waiting:
                self.store.append(row.cpu().numpy(), time_ns)
            self._waiting.clear()
        return self.store


class PinnedRows:
    """Rows of a CUDA device, through a ring of pinned slots.

    A row's time is the device's: the elapsed time between two events, since the host runs ahead of the device.
    """

    def __init__(self, clock: Clock, width: int, device: torch.device) -> None:
        self.store = RowStore(width)
        self._device = device
        self._slots: list[Tensor] = []
        self._views: dict[tuple[int, torch.Size], tuple[Tensor, NDArray[np.float32]]] = {}
        self._clock = clock
        self._under_way: deque[tuple[torch.cuda.Event, NDArray[np.float32]]] = deque()
        self._arrived: list[tuple[torch.cuda.Event, NDArray[np.float32], int]] = []
        self._pushed = 0
        self._origin = torch.cuda.Event(enable_timing=True)
        self._origin.record(torch.cuda.current_stream(device))
        self._origin_ns = clock.now()

    def push(self, row: Tensor) -> None:
        """Enqueue the copy of one step's row and take in those that have arrived."""
        if not self._slots:
            self._slots = list(torch.empty((RING_SLOTS, row.numel()), dtype=torch.float32, pin_memory=True))
        while self._under_way and self._under_way[0][0].query():
            self._take_in()
        if len(self._under_way) == RING_SLOTS:
            self._under_way[0][0].synchronize()
            self._take_in()
        on_host, numbers = self._view(self._pushed % RING_SLOTS, row.shape)
        on_host.copy_(row, non_blocking=True)
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        self._under_way.append((event, numbers))
        self._pushed += 1

    def finish(self) -> RowStore:
        """Wait for the last copies and return all rows; of a device that has failed those that have arrived."""
        with contextlib.suppress(RuntimeError):
            while self._under_way:
                self._under_way[0][0].synchronize()
                self._take_in()
        for event, numbers, seen_ns in self._arrived:
            self.store.append(numbers, self._time(event, seen_ns))
        self._arrived.clear()
        return self.store

    def _time(self, event: torch.cuda.Event, seen_ns: int) -> int:
        """Return when a row was made, or when it was seen where the device does not tell any more."""
        try:
            return self._origin_ns + int(self._origin.elapsed_time(event) * 1e6)
        except RuntimeError:
            return seen_ns

    def _take_in(self) -> None:
        event, numbers = self._under_way.popleft()
        self._arrived.append((event, numbers.copy(), self._clock.now()))

    def _view(self, slot: int, shape: torch.Size) -> tuple[Tensor, NDArray[np.float32]]:
        """Return the beginning of a slot in a row's shape, since only a contiguous copy is asynchronous."""
        found = self._views.get((slot, shape))
        if found is None:
            view = self._slots[slot][: shape.numel()].view(shape)
            found = self._views[slot, shape] = view, view.numpy()
        return found


def carrier_for(device: torch.device, clock: Clock, width: int) -> RowCarrier:
    """Return what carries rows from this device to the host; `width` is that of the store."""
    if device.type == "cpu":
        return HostRows(clock, width)
    return PinnedRows(clock, width, device) if device.type == "cuda" else DeviceRows(clock, width)

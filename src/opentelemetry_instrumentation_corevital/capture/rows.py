"""Vitals rows on their way from the model's device to the host: one row and one copy per step, never a wait.

A row is a float32 tensor [sequences, signals]. Rows of a CUDA device go through a ring of pinned slots and are read
when their copy has finished, one step later; a CPU's are copied at once; those of other devices stay there until the
run is over, since neither a pinned copy nor an event can be relied on.
"""

import time
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RING_SLOTS: Final = 4
"""Two suffice while the host is at most a step ahead of the device; four absorb a library that runs ahead."""

_FIRST_CAPACITY: Final = 128


class Clock:
    """Unix time that never goes back, in nanoseconds."""

    def __init__(self) -> None:
        self._wall = time.time_ns() - time.perf_counter_ns()

    def now(self) -> int:
        """Return the Unix time in nanoseconds."""
        return self._wall + time.perf_counter_ns()


class RowStore:
    """Rows [steps, sequences, signals] and their times on the host, in arrays that double when they are full."""

    def __init__(self) -> None:
        self.steps = 0
        self._rows: NDArray[np.float32] = np.empty((0, 0, 0), np.float32)
        self._times: NDArray[np.int64] = np.empty(0, np.int64)

    def append(self, row: NDArray[np.float32], time_ns: int) -> None:
        """Add one step. A row that is narrower than the first one lacks its last signals: they are NaN."""
        if self.steps == len(self._times):
            capacity = max(_FIRST_CAPACITY, 2 * self.steps)
            rows = np.empty((capacity, *(self._rows.shape[1:] if self.steps else row.shape)), np.float32)
            times = np.empty(capacity, np.int64)
            rows[: self.steps] = self._rows[: self.steps] if self.steps else 0
            times[: self.steps] = self._times[: self.steps]
            self._rows, self._times = rows, times
        width = row.shape[-1]
        self._rows[self.steps, :, :width] = row
        self._rows[self.steps, :, width:] = np.nan
        self._times[self.steps] = time_ns
        self.steps += 1

    @property
    def rows(self) -> NDArray[np.float32]:
        """Return the rows so far [steps, sequences, signals], as a view."""
        return self._rows[: self.steps]

    @property
    def times(self) -> NDArray[np.int64]:
        """Return the Unix times of the rows so far [steps], in nanoseconds, as a view."""
        return self._times[: self.steps]


class RowCarrier(Protocol):
    """Takes rows on the device during the run and has them all on the host after `finish`."""

    store: RowStore

    def push(self, row: Tensor) -> None:
        """Take one step's row [sequences, signals]; must not wait for the device."""

    def finish(self) -> RowStore:
        """Wait for what is under way and return all rows."""


class HostRows:
    """Rows of a model on the CPU."""

    def __init__(self, clock: Clock) -> None:
        self.store = RowStore()
        self._clock = clock

    def push(self, row: Tensor) -> None:
        """Take one step's row."""
        self.store.append(row.numpy(), self._clock.now())

    def finish(self) -> RowStore:
        """Return all rows."""
        return self.store


class DeviceRows:
    """Rows of a device that has neither pinned copies nor timed events: kept there, copied once at the end."""

    def __init__(self, clock: Clock) -> None:
        self.store = RowStore()
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

    def __init__(self, clock: Clock, device: torch.device) -> None:
        self.store = RowStore()
        self._clock = clock
        self._device = device
        self._slots: Tensor | None = None
        self._shapes: list[torch.Size] = [torch.Size()] * RING_SLOTS
        self._events: list[torch.cuda.Event] = []
        self._pushed = 0
        self._origin = torch.cuda.Event(enable_timing=True)
        self._origin.record(torch.cuda.current_stream(device))
        self._origin_ns = clock.now()

    def push(self, row: Tensor) -> None:
        """Enqueue the copy of one step's row and take in those that have arrived."""
        if self._slots is None:
            self._slots = torch.empty((RING_SLOTS, row.numel()), dtype=torch.float32, pin_memory=True)
            self._events = [torch.cuda.Event(enable_timing=True) for _ in range(RING_SLOTS)]
        while self._pushed > self.store.steps and self._events[self.store.steps % RING_SLOTS].query():
            self._take_in()
        if self._pushed - self.store.steps == RING_SLOTS:
            self._events[self.store.steps % RING_SLOTS].synchronize()
            self._take_in()
        slot = self._pushed % RING_SLOTS
        # The beginning of the slot, since only a contiguous copy is asynchronous.
        self._shapes[slot] = row.shape
        self._slot(slot).copy_(row, non_blocking=True)
        self._events[slot].record(torch.cuda.current_stream(self._device))
        self._pushed += 1

    def finish(self) -> RowStore:
        """Wait for the last copies and return all rows."""
        while self._pushed > self.store.steps:
            self._events[self.store.steps % RING_SLOTS].synchronize()
            self._take_in()
        return self.store

    def _take_in(self) -> None:
        slot = self.store.steps % RING_SLOTS
        elapsed_ns = int(self._origin.elapsed_time(self._events[slot]) * 1e6)
        self.store.append(self._slot(slot).numpy(), self._origin_ns + elapsed_ns)

    def _slot(self, slot: int) -> Tensor:
        assert self._slots is not None
        shape = self._shapes[slot]
        return self._slots[slot, : shape.numel()].view(shape)


def carrier_for(device: torch.device, clock: Clock) -> RowCarrier:
    """Return what carries rows from this device to the host."""
    if device.type == "cpu":
        return HostRows(clock)
    return PinnedRows(clock, device) if device.type == "cuda" else DeviceRows(clock)

"""Vitals rows on their way from the model's device to the host: one row and one copy per step, never a wait.

A row is a float32 tensor [sequences, signals]. Rows of a CUDA device go through a ring of pinned slots and are read
when their copy has finished, one step later; a CPU's are copied at once; those of other devices stay there until the
run is over, since neither a pinned copy nor an event can be relied on.
"""

import time
from typing import Any, Final, Protocol

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


class _Growing:
    """Numbers or equal arrays one after the other, in a block that doubles when it is full."""

    def __init__(self, empty: NDArray[Any]) -> None:
        self._count = 0
        self._block = empty

    def append(self, values: Any) -> None:
        if self._count == len(self._block):
            block = np.empty((max(_FIRST_CAPACITY, 2 * self._count), *np.shape(values)), self._block.dtype)
            if self._count:
                block[: self._count] = self._block
            self._block = block
        self._block[self._count] = values
        self._count += 1

    @property
    def values(self) -> NDArray[Any]:
        return self._block[: self._count]


class RowStore:
    """Rows of a run and their times on the host.

    Args:
        width: numbers that every row begins with. Those behind them, which few rows may have, are kept apart.
    """

    def __init__(self, width: int) -> None:
        self.steps = 0
        self._width = width
        self._rows, self._more = (_Growing(np.empty((0, 0, 0), np.float32)) for _ in range(2))
        self._times, self._more_steps = (_Growing(np.empty(0, np.int64)) for _ in range(2))

    def append(self, row: NDArray[np.float32], time_ns: int) -> None:
        """Add one step's row [sequences, signals]. What a row lacks of the width is NaN."""
        lacking = self._width - row.shape[-1]
        if lacking > 0:
            row = np.pad(row, ((0, 0), (0, lacking)), constant_values=np.nan)
        elif lacking:
            self._more.append(row[:, self._width :])
            self._more_steps.append(self.steps)
        self._rows.append(row[:, : self._width])
        self._times.append(time_ns)
        self.steps += 1

    @property
    def rows(self) -> NDArray[np.float32]:
        """Return the rows so far [steps, sequences, width], as a view."""
        return self._rows.values

    @property
    def more(self) -> NDArray[np.float32]:
        """Return what rows have behind the width [steps with more, sequences, signals], as a view."""
        return self._more.values

    @property
    def more_steps(self) -> NDArray[np.int64]:
        """Return the indices of those steps, as a view."""
        return self._more_steps.values

    @property
    def times(self) -> NDArray[np.int64]:
        """Return the Unix times of the rows so far [steps], in nanoseconds, as a view."""
        return self._times.values


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
        self.store.append(row.numpy(), self._clock.now())

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


def carrier_for(device: torch.device, clock: Clock, width: int) -> RowCarrier:
    """Return what carries rows from this device to the host; `width` is that of the store."""
    if device.type == "cpu":
        return HostRows(clock, width)
    return PinnedRows(clock, width, device) if device.type == "cuda" else DeviceRows(clock, width)

"""Signal rows on their way from the model's device to the host: one row per step, never a wait.

A row is a float32 tensor [sequences, signals]. Rows of a CUDA device go through a ring of pinned slots, written by the
kernels or by a copy, and are read when they are there, one step later; a CPU's are taken at once; those of other
devices stay there until the run is over, since neither a pinned copy nor an event can be relied on.
"""

import contextlib
import functools
from collections import deque
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._internal.clock import Clock
from .pinned_memory import borrow, give_back

Numbers = NDArray[np.float32]
"""Rows, or parts of rows, on the host."""

RING_SLOTS: Final = 4
"""Two suffice while the host is at most a step ahead of the device; four absorb a library that runs ahead."""


class RowStore:
    """Rows of a run and their times on the host."""

    def __init__(self) -> None:
        self.width = 0
        """Numbers that every row begins with. Those behind them, which few rows may have, are kept apart."""
        self._kept: list[NDArray[np.float32]] = []
        self._times: list[int] = []

    @property
    def steps(self) -> int:
        """Return the number of rows so far."""
        return len(self._kept)

    def append(self, row: NDArray[np.float32], time_ns: int) -> None:
        """Add one step's row [sequences, signals]; one on the host may be written until the transfer has finished."""
        self._kept.append(row)
        self._times.append(time_ns)

    def keep(self, steps: int) -> None:
        """Forget all rows but the first ones."""
        del self._kept[steps:], self._times[steps:]

    def at(self, index: int) -> tuple[NDArray[np.float32], int]:
        """Return one step's row [sequences, signals] and its time."""
        return self._kept[index], self._times[index]

    def step(self, index: int, width: int) -> "RowStore":
        """Return a step's row alone, as one that begins with `width` numbers."""
        alone = RowStore()
        alone.width = width
        alone.append(self._kept[index], self._times[index])
        return alone

    @functools.cached_property
    def rows(self) -> NDArray[np.float32]:
        """Return all rows [steps, sequences, width], when the last one is in. What a row lacks of the width is NaN."""
        if not self._kept:
            return np.empty((0, 0, 0), np.float32)
        rows = np.full((self.steps, len(self._kept[0]), self.width), np.nan, np.float32)
        for row, kept in zip(rows, self._kept, strict=True):
            row[:, : kept.shape[1]] = kept[:, : self.width]
        return rows

    @functools.cached_property
    def more_steps(self) -> NDArray[np.int64]:
        """Return the indices of the steps whose rows are wider."""
        return np.array([step for step, row in enumerate(self._kept) if row.shape[1] > self.width], np.int64)

    @functools.cached_property
    def more(self) -> NDArray[np.float32]:
        """Return what rows have behind the width [steps with more, sequences, signals]."""
        wide = [self._kept[step][:, self.width :] for step in self.more_steps]
        return np.stack(wide) if wide else np.empty((0, len(self._kept[0]) if self._kept else 0, 0), np.float32)

    @functools.cached_property
    def times(self) -> NDArray[np.int64]:
        """Return the Unix times of all rows [steps], in nanoseconds."""
        return np.array(self._times, np.int64)


class RowTransfer(Protocol):
    """Takes rows on the device during the run and has them all on the host after `finish`."""

    store: RowStore

    def room(self, sequences: int, width: int) -> Tensor:
        """Return memory [sequences, width] for the next row, written before it is pushed; on a CPU after that, too."""

    def push(self, row: Tensor) -> None:
        """Take one step's row [sequences, signals]; must not wait for the device."""

    def arrive(self, steps: int) -> None:
        """Wait until the rows of so many steps are on the host."""

    def finish(self) -> RowStore:
        """Wait for what is under way and return all rows."""


class HostRows:
    """Rows of a model on the CPU."""

    def __init__(self, clock: Clock) -> None:
        self.store = RowStore()
        self._clock = clock
        self._room: Tensor | None = None

    def room(self, sequences: int, width: int) -> Tensor:
        """Return memory for a row."""
        # NaN, so that a number that is never written is none.
        self._room = torch.full((sequences, width), torch.nan, dtype=torch.float32, device="cpu")
        return self._room

    def push(self, row: Tensor) -> None:
        """Take one step's row."""
        numbers = row.numpy()
        self.store.append(numbers if row is self._room else numbers.copy(), self._clock.now())

    def arrive(self, steps: int) -> None:
        """Wait for nothing: rows are on the host."""

    def finish(self) -> RowStore:
        """Return all rows."""
        return self.store


class DeviceRows:
    """Rows of a device that has neither pinned copies nor timed events: kept there, copied once at the end."""

    def __init__(self, clock: Clock, device: torch.device) -> None:
        self.store = RowStore()
        self._clock = clock
        self._device = device
        self._waiting: deque[tuple[Tensor, int]] = deque()

    def room(self, sequences: int, width: int) -> Tensor:
        """Return memory for a row."""
        return torch.empty((sequences, width), dtype=torch.float32, device=self._device)

    def push(self, row: Tensor) -> None:
        """Take one step's row."""
        self._waiting.append((row, self._clock.now()))

    def arrive(self, steps: int) -> None:
        """Copy the rows of so many steps to the host."""
        while self._waiting and self.store.steps < steps:
            row, time_ns = self._waiting.popleft()
            self.store.append(row.cpu().numpy(), time_ns)

    def finish(self) -> RowStore:
        """Copy all rows to the host and return them."""
        self.arrive(self.store.steps + len(self._waiting))
        return self.store


class _Slot:
    """Pinned memory of one row, and the event after which the row is there."""

    def __init__(self, memory: Tensor) -> None:
        self.event = torch.cuda.Event(enable_timing=True)
        self._memory = memory
        self._views: dict[tuple[int, int], tuple[Tensor, NDArray[np.float32]]] = {}

    def view(self, sequences: int, width: int) -> tuple[Tensor, NDArray[np.float32]]:
        """Return the beginning of the memory as a row, since only a contiguous copy is asynchronous."""
        found = self._views.get((sequences, width))
        if found is None:
            row = self._memory[: sequences * width].view(sequences, width)
            found = self._views[sequences, width] = row, row.numpy()
        return found


class PinnedRows:
    """Rows of a CUDA device, through a ring of pinned slots.

    A row's time is the device's: the elapsed time between two events, since the host runs ahead of the device.
    """

    def __init__(self, clock: Clock, device: torch.device) -> None:
        self.store = RowStore()
        self._device = device
        self._block: Tensor | None = None
        self._capacity = 0
        self._free: deque[_Slot] = deque()
        self._under_way: deque[tuple[_Slot, NDArray[np.float32]]] = deque()
        self._room: Tensor | None = None
        self._clock = clock
        self._stream = torch.cuda.current_stream(device)
        self._origin = torch.cuda.Event(enable_timing=True)
        self._origin.record(self._stream)
        self._origin_ns = clock.now()

    def room(self, sequences: int, width: int) -> Tensor:
        """Return pinned memory for a row; takes in the rows that have arrived."""
        if sequences * width > self._capacity:
            self._make(sequences * width)
        while self._under_way and self._under_way[0][0].event.query():
            self._take_in()
        if not self._free:
            self._under_way[0][0].event.synchronize()
            self._take_in()
        self._room, _ = self._free[0].view(sequences, width)
        return self._room

    def push(self, row: Tensor) -> None:
        """Enqueue the event, and before it the copy of a row that is not in its place."""
        room = self._room if row is self._room and row is not None else self.room(*row.shape)
        if room is not row:
            room.copy_(row, non_blocking=True)
        self._room = None
        slot = self._free.popleft()
        if torch._C._cuda_getCurrentRawStream(self._device.index) != self._stream.cuda_stream:
            self._stream = torch.cuda.current_stream(self._device)
        slot.event.record(self._stream)
        self._under_way.append((slot, slot.view(*room.shape)[1]))

    def arrive(self, steps: int) -> None:
        """Wait for the rows of so many steps."""
        while self._under_way and self.store.steps < steps:
            self._under_way[0][0].event.synchronize()
            self._take_in()

    def finish(self) -> RowStore:
        """Wait for the last rows and return all; of a device that has failed those that have arrived."""
        try:
            while self._under_way:
                self._under_way[0][0].event.synchronize()
                self._take_in()
        except RuntimeError:
            return self.store
        if self._block is not None:
            give_back(self._block)
            self._block, self._capacity = None, 0
            self._free.clear()
        return self.store

    def _make(self, numbers: int) -> None:
        """Make slots of so many numbers; the rows under way keep theirs."""
        while self._under_way:
            self._under_way[0][0].event.synchronize()
            self._take_in()
        if self._block is not None:
            give_back(self._block)
        self._capacity = numbers
        self._block = borrow(4 * numbers * RING_SLOTS)
        memory = self._block[: 4 * numbers * RING_SLOTS].view(torch.float32).view(RING_SLOTS, numbers)
        self._free = deque(map(_Slot, memory))

    def _take_in(self) -> None:
        slot, numbers = self._under_way.popleft()
        seen_ns = self._clock.now()
        with contextlib.suppress(RuntimeError):  # of a device that does not tell any more
            seen_ns = self._origin_ns + int(self._origin.elapsed_time(slot.event) * 1e6)
        self.store.append(numbers.copy(), seen_ns)
        self._free.append(slot)


def transfer_for(device: torch.device, clock: Clock) -> RowTransfer:
    """Return what carries rows from this device to the host."""
    if device.type == "cpu":
        return HostRows(clock)
    return PinnedRows(clock, device) if device.type == "cuda" else DeviceRows(clock, device)

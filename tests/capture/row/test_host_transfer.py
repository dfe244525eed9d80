"""How signal rows reach the host, on the devices that this machine has."""

import numpy as np
import torch

from opentelemetry_instrumentation_corevital._internal.clock import Clock
from opentelemetry_instrumentation_corevital.capture.row.host_transfer import (
    DeviceRows,
    HostRows,
    RowStore,
    transfer_for,
)


def test_a_row_store_keeps_every_row_while_it_grows() -> None:
    store = RowStore()
    store.width = 5
    rows = np.random.default_rng(0).normal(size=(700, 3, 5)).astype(np.float32)
    for index, row in enumerate(rows):
        store.append(row, index)
    assert np.array_equal(store.rows, rows)
    assert store.times.tolist() == list(range(700))


def test_a_row_store_keeps_what_few_rows_have_apart() -> None:
    store = RowStore()
    store.width = 4
    rows = np.random.default_rng(0).normal(size=(1000, 3, 1000)).astype(np.float32)
    for index, row in enumerate(rows):
        store.append(row if index % 10 == 0 else row[:, : 2 if index == 501 else 4], index)
    whole = rows[..., :4].copy()
    whole[501, :, 2:] = np.nan
    assert np.array_equal(store.rows, whole, equal_nan=True)
    assert store.more_steps.tolist() == list(range(0, 1000, 10))
    assert np.array_equal(store.more, rows[::10, :, 4:])


def test_carriers_copy_what_they_are_given() -> None:
    for transfer in (HostRows(Clock()), DeviceRows(Clock(), torch.device("cpu"))):
        buffers = [torch.full((2, 3), float(step)) for step in range(5)]
        for row in buffers:
            transfer.push(row)
        store = transfer.finish()
        store.width = 3
        assert store.rows[:, 0, 0].tolist() == [0, 1, 2, 3, 4]
        assert (np.diff(store.times) >= 0).all()


def test_a_cpu_row_is_safe_from_later_edits() -> None:
    transfer = transfer_for(torch.device("cpu"), Clock())
    row = torch.ones(1, 2)
    transfer.push(row)
    row.zero_()
    store = transfer.finish()
    store.width = 2
    assert store.rows.tolist() == [[[1, 1]]]


def test_a_row_may_be_written_where_it_stays() -> None:
    for transfer in (HostRows(Clock()), DeviceRows(Clock(), torch.device("cpu"))):
        for step in range(5):
            room = transfer.room(2, 3)
            room.fill_(step)
            transfer.push(room)
        store = transfer.finish()
        store.width = 3
        assert store.rows[:, 1, 2].tolist() == [0, 1, 2, 3, 4]

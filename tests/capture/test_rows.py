"""How vitals rows reach the host, on the devices that this machine has."""

import numpy as np
import torch

from opentelemetry_instrumentation_corevital.capture.rows import Clock, DeviceRows, HostRows, RowStore, carrier_for


def test_a_row_store_keeps_every_row_while_it_grows() -> None:
    store = RowStore()
    rows = np.random.default_rng(0).normal(size=(700, 3, 5)).astype(np.float32)
    for index, row in enumerate(rows):
        store.append(row, index)
    assert np.array_equal(store.rows, rows)
    assert store.times.tolist() == list(range(700))


def test_carriers_copy_what_they_are_given() -> None:
    for carrier in (HostRows(Clock()), DeviceRows(Clock())):
        buffers = [torch.full((2, 3), float(step)) for step in range(5)]
        for row in buffers:
            carrier.push(row)
        store = carrier.finish()
        assert store.rows[:, 0, 0].tolist() == [0, 1, 2, 3, 4]
        assert (np.diff(store.times) >= 0).all()


def test_a_cpu_row_is_safe_from_later_edits() -> None:
    carrier = carrier_for(torch.device("cpu"), Clock())
    row = torch.ones(1, 2)
    carrier.push(row)
    row.zero_()
    assert carrier.finish().rows.tolist() == [[[1, 1]]]

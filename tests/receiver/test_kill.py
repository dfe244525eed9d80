"""A receiver killed under load, at any moment: what it acknowledged is there, and it starts again as if nothing was."""

import http.client
import random
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.support.collect_process import EXPORT, Collecting, collecting, spans_request
from tests.support.tiers import heavy

SENDERS = 4
SIZES = (1, 20, 600)  # the last one takes two transactions
_EACH = 1_000_000


class Sender(threading.Thread):
    """Sends until nobody answers, and notes what was acknowledged: seed of the trace, number of spans."""

    def __init__(self, receiver: Collecting, seed: int, *, over_grpc: bool) -> None:
        super().__init__()
        self._receiver = receiver
        self._seed = seed
        self._over_grpc = over_grpc
        self.acknowledged: list[tuple[int, int]] = []

    def run(self) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{self._receiver.grpc}", [("grpc.use_local_subchannel_pool", 1)]) as own:
            call = own.unary_unary(EXPORT)
            while True:
                self._seed += 1
                size = SIZES[self._seed % len(SIZES)]
                body = spans_request(size, seed=self._seed, text="x" * 500).SerializeToString()
                try:
                    if self._over_grpc:
                        answer = call(body, timeout=20)
                    else:
                        code, _, answer = self._receiver.post(body)
                        assert code == 200
                except (OSError, http.client.HTTPException, grpc.RpcError):  # it is dead
                    return
                if not ExportTraceServiceResponse.FromString(answer).HasField("partial_success"):
                    self.acknowledged.append((self._seed, size))


def load_and_kill(receiver: Collecting, seed: int, seconds: float) -> list[Sender]:
    senders = [Sender(receiver, seed + number * _EACH // 10, over_grpc=number % 2 == 1) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    time.sleep(seconds)
    receiver.process.kill()
    receiver.process.wait()
    for sender in senders:
        sender.join(60)
        assert not sender.is_alive()
    return senders


def lost(path: Path, acknowledged: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return what was acknowledged and is not there; fails if the file is not sound."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = dict(connection.execute("SELECT trace_id, count(*) FROM spans GROUP BY trace_id").fetchall())
    counts = [(seed, size, found.get(f"{seed + 1:032x}", 0)) for seed, size in acknowledged]
    return [each for each in counts if each[1] != each[2]]


@pytest.mark.parametrize("kills", [2, heavy(20)])
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, kills: int) -> None:
    chance, acknowledged = random.Random(11), list[tuple[int, int]]()
    by_protocol = {"http": 0, "grpc": 0}
    for number in range(kills):
        with collecting(tmp_path) as receiver:  # on the file as the last kill has left it
            assert lost(receiver.db, acknowledged) == []
            assert receiver.log.read_text().count("\n") == 1  # where it listens, and not a word of a repair
            senders = load_and_kill(receiver, number * _EACH, chance.uniform(0.1, 1.5))
        for index, sender in enumerate(senders):
            acknowledged += sender.acknowledged
            by_protocol["grpc" if index % 2 else "http"] += len(sender.acknowledged)
    with collecting(tmp_path) as receiver:
        assert lost(receiver.db, acknowledged) == []
        assert receiver.post(spans_request(1, seed=kills * _EACH).SerializeToString())[0] == 200
        assert receiver.stop() == 0
    print(f"{kills} kills, acknowledged requests: {by_protocol}")
    assert min(by_protocol.values()) > kills
    assert lost(receiver.db, [*acknowledged, (kills * _EACH, 1)]) == []
    assert lost(receiver.db, [(kills * _EACH, 2)]) != []

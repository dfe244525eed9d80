"""Records a span in every kind of child of `multiprocessing`: `python children.py METHOD [ENDING ...]`.

Under `opentelemetry-instrument` as it is; with IN_CODE it sets itself up when it is imported, as its children of
methods forkserver and spawn do, too. Needs no torch: spans are flushed alike whoever made them.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

from opentelemetry import metrics, trace
from opentelemetry.trace import Tracer


def in_code() -> Tracer:
    """Instrument with a provider of our own, which is not the global one."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
    from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter

    provider = TracerProvider(shutdown_on_exit=False)
    for exporter in (SQLiteSpanExporter(), OTLPSpanExporter()):
        provider.add_span_processor(BatchSpanProcessor(exporter))
    options = {"flush_on_sigterm": False} if os.environ["IN_CODE"] == "no handler" else {}
    CoreVitalInstrumentor().instrument(tracer_provider=provider, **options)
    return provider.get_tracer("program")


tracer = in_code() if "IN_CODE" in os.environ else trace.get_tracer("program")


def record(name: str) -> None:
    tracer.start_span(name).end()


def raises(name: str) -> None:
    record(name)
    raise RuntimeError(name)


def leaves(name: str) -> None:
    record(name)
    sys.exit(3)


def waits(name: str, recorded: multiprocessing.Event) -> None:  # type: ignore[valid-type]
    record(name)
    recorded.set()  # type: ignore[attr-defined]
    time.sleep(120)


def waits_in_c(name: str) -> None:
    """Wait as a pool's worker does for work, with a signal that Python has taken note of and not handled."""

    def takes_note() -> None:  # in this thread, so that the main thread's wait goes on
        time.sleep(0.3)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    record(name)
    threading.Thread(target=takes_note, daemon=True).start()
    multiprocessing.Semaphore(0).acquire()


def has_child(name: str, method: str) -> None:
    grandchild = multiprocessing.get_context(method).Process(target=record, args=("grandchild",))
    grandchild.start()
    grandchild.join()
    record(name)


def main(method: str, endings: list[str]) -> None:
    context = multiprocessing.get_context(method)
    metrics.get_meter("program").create_counter("counted").add(1)

    def started(target: object, *arguments: object) -> multiprocessing.Process:
        child = context.Process(target=target, args=arguments)
        child.start()
        return child

    if "returns" in endings:  # before the parent has recorded anything
        started(record, "returns").join()
    record("parent")
    if "raises" in endings:
        started(raises, "raises").join()
    if "leaves" in endings:
        started(leaves, "leaves").join()
    if "nested" in endings:
        started(has_child, "nested", method).join()
    if "terminated" in endings:
        recorded = context.Event()
        child = started(waits, "terminated", recorded)
        assert recorded.wait(100)
        child.terminate()
        child.join()
        print("exit code", child.exitcode)
    if "terminated as it waits in C" in endings:
        started(waits_in_c, "terminated as it waits in C").join()
    if "killed at once" in endings:  # before multiprocessing has prepared it
        child_id = os.fork()
        if child_id == 0:
            signal.raise_signal(signal.SIGTERM)
        os.waitpid(child_id, 0)
    if "pool closed" in endings:
        pool = context.Pool(2)
        pool.map(record, ["pool closed"] * 2, 1)
        pool.close()
        pool.join()
    if "pool terminated" in endings:
        with context.Pool(2) as pool:
            pool.map(record, ["pool terminated"] * 2, 1)
        pool.join()
    if "executor" in endings:
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            list(executor.map(record, ["executor"]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
    if "IN_CODE" in os.environ:
        from opentelemetry_instrumentation_corevital.instrumentation.flushing import finish

        finish([tracer.span_processor], "force_flush")  # type: ignore[attr-defined]

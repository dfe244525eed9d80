"""OTLP over gRPC."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from .admission import Admission, BusyError
from .answers import Accepted, Answer, Fault, Refused, RetryLater, busy
from .bearer_token import DENIED, TokenCheck
from .grpc_gate import Gate
from .otlp_signals import SIGNALS, OtlpSignal
from .rpc_status import code_of, status_of

_SLOT_SECONDS: Final = 5.0
_DETAILS: Final = "grpc-status-details-bin"


class GrpcService:
    """The gRPC side of a receiver.

    The methods are registered as if they took a stream: to a client that is the same, and the message is read when the
    handler asks for it, which is after it has looked at the token, and for as long as it likes to wait.

    Args:
        admission: where requests go.
        guard: who may come in.
        gate: where connections come in; the server listens behind it.
    """

    def __init__(self, admission: Admission, guard: TokenCheck, gate: Gate) -> None:
        self._admission = admission
        self._gate = gate
        self._guard = guard
        self._reads = asyncio.Semaphore(admission.limits.grpc_reads)
        limits = admission.limits
        self.server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", limits.body_bytes),  # holds for what is decompressed, too
                ("grpc.max_metadata_size", 16 * 1024),
                ("grpc.max_concurrent_streams", limits.requests),
                ("grpc.server_handshake_timeout_ms", int(limits.header_seconds * 1000)),
                ("grpc.max_connection_idle_ms", int(limits.idle_seconds * 1000)),
            ]
        )
        handlers = [self._handler(signal) for signal in SIGNALS]
        self.server.add_generic_rpc_handlers(tuple(handlers))
        self.server.add_insecure_port(gate.behind)

    def _handler(self, signal: OtlpSignal) -> grpc.GenericRpcHandler:
        async def export(messages: AsyncIterator[bytes], context: Any) -> bytes:
            answer = await self._answer(signal, messages, context)
            if isinstance(answer, Accepted):
                return bytes(signal.answer(answer.rejected, answer.reason).SerializeToString())
            details = (_DETAILS, status_of(answer).SerializeToString())
            return await context.abort(code_of(answer), answer.reason, (details,))  # type: ignore[no-any-return]

        method = grpc.stream_unary_rpc_method_handler(export)  # without a deserializer: the message's bytes
        return grpc.method_handlers_generic_handler(signal.service, {"Export": method})

    async def _answer(self, signal: OtlpSignal, messages: AsyncIterator[bytes], context: Any) -> Answer:
        answer: Answer = DENIED
        body = b""
        try:
            if self._guard.admits(dict(context.invocation_metadata() or ()).get("authorization")):
                if not self._gate.know(context.peer()):
                    raise BusyError(busy("too many connections are open."))
                with self._admission.visit() as visit:
                    body = await self._read(messages)
                    visit.grow(len(body))
                    return await self._admission.take(signal, "grpc", visit, body)
            self._gate.deny(context.peer())
        except BusyError as error:
            answer = error.answer
        except TimeoutError:
            answer = RetryLater("the message did not come in time.", 1)
        except StopAsyncIteration:
            answer = Refused(Fault.MALFORMED, "there was no message.")
        self._admission.count(signal, "grpc", answer, len(body))
        return answer

    async def _read(self, messages: AsyncIterator[bytes]) -> bytes:
        try:
            await asyncio.wait_for(self._reads.acquire(), _SLOT_SECONDS)
        except TimeoutError:
            raise BusyError(busy("too many requests are being received.")) from None
        try:
            return await asyncio.wait_for(anext(messages), self._admission.limits.read_seconds)
        finally:
            self._reads.release()

"""Answers as `google.rpc.Status`, which both protocols carry."""

from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from .answers import Fault, Refused, RetryLater

_FAULTS: Final = {
    Fault.MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
    Fault.TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,  # RESOURCE_EXHAUSTED would mean: later
    Fault.UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
    Fault.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
}


def code_of(answer: Refused | RetryLater) -> grpc.StatusCode:
    """Return gRPC's code."""
    if isinstance(answer, Refused):
        return _FAULTS[answer.fault]
    return grpc.StatusCode.RESOURCE_EXHAUSTED if answer.busy else grpc.StatusCode.UNAVAILABLE


def status_of(answer: Refused | RetryLater) -> Status:
    """Return an answer as a status; where the sender should try again with the time after which."""
    status = Status(code=code_of(answer).value[0], message=answer.reason)
    if isinstance(answer, RetryLater):
        status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=answer.seconds)))
    return status

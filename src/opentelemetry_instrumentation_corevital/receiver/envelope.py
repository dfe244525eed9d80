"""An OTLP request opened layer by layer, so that memory stays in proportion to its bytes.

A span without a field is two bytes of a request, and hundreds as a message: parsed as a whole, a body of 32 MiB can
take gigabytes. Here the inner layers stay bytes until it is their turn. To protobuf a message inside a message is the
same as bytes, and the three signals have the same outer layers; so three message types with `bytes` in them open any.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from ..store.common_rows import Source
from ..store.otlp import read_source
from .answers import Fault, RefusedError
from .sender_limits import Limits

_Field = descriptor_pb2.FieldDescriptorProto
_LAYERS: Final = {
    "Request": (("groups", 1, _Field.TYPE_BYTES, _Field.LABEL_REPEATED),),
    "Group": (
        ("resource", 1, _Field.TYPE_BYTES, _Field.LABEL_OPTIONAL),
        ("scoped", 2, _Field.TYPE_BYTES, _Field.LABEL_REPEATED),
        ("schema_url", 3, _Field.TYPE_STRING, _Field.LABEL_OPTIONAL),
    ),
    "Scoped": (
        ("scope", 1, _Field.TYPE_BYTES, _Field.LABEL_OPTIONAL),
        ("items", 2, _Field.TYPE_BYTES, _Field.LABEL_REPEATED),
        ("schema_url", 3, _Field.TYPE_STRING, _Field.LABEL_OPTIONAL),
    ),
}
"""Message -> name, number, type and label of each field; the numbers are OTLP's, of all three signals."""


def _classes() -> Iterator[Any]:
    file = descriptor_pb2.FileDescriptorProto(name="corevital/envelope.proto", package="corevital", syntax="proto3")
    for name, fields in _LAYERS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label in fields:
            message.field.add(name=field, number=number, type=kind, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    for name in _LAYERS:
        yield message_factory.GetMessageClass(pool.FindMessageTypeByName(f"corevital.{name}"))


_Request, _Group, _Scoped = _classes()


@dataclass(frozen=True, slots=True)
class Scoped:
    """The items of one resource and scope, still as bytes."""

    source: Source | None
    """None: the resource or the scope is beyond the limits, and so the items have nowhere to come from."""
    items: Any


def open_envelope(body: bytes, limits: Limits) -> list[Scoped]:
    """Return what is in a request, its items unopened.

    Raises:
        RefusedError: if it is no OTLP request, or one of too many items.
    """
    try:
        opened, count = list[Scoped](), 0
        groups = _Request.FromString(body).groups
        _check(len(groups), limits)
        for packed_group in groups:
            group = _Group.FromString(packed_group)
            count += 1 + len(group.scoped)
            _check(count, limits)
            for packed in group.scoped:
                scoped = _Scoped.FromString(packed)
                count += len(scoped.items)
                _check(count, limits)
                opened.append(Scoped(_source(group, scoped, limits), scoped.items))
    except DecodeError:
        raise RefusedError(Fault.MALFORMED, "the body is not an OTLP request in protobuf.") from None
    return opened


def _check(count: int, limits: Limits) -> None:
    if count > limits.items:
        raise RefusedError(Fault.TOO_LARGE, f"more than {limits.items} items in one request; send smaller batches.")


def _source(group: Any, scoped: Any, limits: Limits) -> Source | None:
    if max(len(group.resource), len(scoped.scope)) > limits.item_bytes:
        return None
    resource, scope = Resource.FromString(group.resource), InstrumentationScope.FromString(scoped.scope)
    if max(len(resource.attributes), len(scope.attributes)) > limits.attributes:
        return None
    return read_source(resource, group.schema_url, scope, scoped.schema_url)

"""Records with names for their values, and how JSON and YAML write them."""

import json
from typing import Any, Final

from .values import Values

ROLES: Final = ("admin", "editor", "viewer")
CURRENCIES: Final = ("EUR", "USD", "GBP")


def person(v: Values) -> dict[str, Any]:
    """Return a person."""
    return {"id": v.next_id(), "name": v.name(), "email": v.email(), "age": v.randint(18, 80), "city": v.city()}


def order(v: Values) -> dict[str, Any]:
    """Return an order with its items."""
    return {
        "order_id": v.code(),
        "customer": v.name(),
        "items": [
            {"sku": v.code(), "quantity": v.number(9), "price": float(v.price())} for _ in range(v.randint(1, 3))
        ],
        "status": v.state(),
        "created_at": f"{v.time():%Y-%m-%dT%H:%M:%SZ}",
    }


def event(v: Values) -> dict[str, Any]:
    """Return an event of a log."""
    return {
        "timestamp": f"{v.later():%Y-%m-%dT%H:%M:%S.%fZ}",
        "level": v.level(),
        "service": v.noun(),
        "message": v.words(),
        "duration_ms": v.number(),
    }


def reading(v: Values) -> dict[str, Any]:
    """Return a sensor's reading."""
    return {
        "sensor_id": f"sensor-{v.number(40)}",
        "temperature_celsius": round(v.uniform(-20, 40), 2),
        "humidity_percent": v.number(100),
        "battery_level": float(v.share()),
        "is_online": v.truth() == "true",
    }


def product(v: Values) -> dict[str, Any]:
    """Return a product."""
    return {
        "product_name": v.thing(),
        "product_category": v.noun(),
        "price_in_euros": float(v.price()),
        "number_in_stock": v.number(),
        "rating": round(v.uniform(1, 5), 1),
        "is_available": v.truth() == "true",
    }


def commit(v: Values) -> dict[str, Any]:
    """Return a commit."""
    return {
        "sha": v.hexadecimal(12),
        "author": {"name": v.name(), "email": v.email()},
        "message": v.words(),
        "ok": True,
    }


def user(v: Values) -> dict[str, Any]:
    """Return a user."""
    number = v.next_id()
    return {"id": number, "username": f"user_{number}", "is_active": v.truth() == "true", "role": v.choice(ROLES)}


def view(v: Values) -> dict[str, Any]:
    """Return what somebody looked at."""
    return {
        "event": v.choice(("page_view", "click", "purchase")),
        "user_id": v.number(9999),
        "page": v.choice(("/home", "/products", "/cart", "/checkout")),
        "timestamp": f"{v.later():%Y-%m-%dT%H:%M:%SZ}",
        "session_duration_seconds": v.number(600),
    }


def measured(v: Values) -> dict[str, Any]:
    """Return a measurement."""
    return {
        "device_identifier": f"device-{v.number(20):03d}",
        "measurement_type": v.choice(("temperature", "pressure", "humidity")),
        "measurement_value": round(v.uniform(0, 100), 1),
        "measurement_unit": "standard",
        "quality_check_passed": True,
    }


def payment(v: Values) -> dict[str, Any]:
    """Return a payment."""
    return {
        "transaction": {"id": f"txn_{v.hexadecimal()}", "amount": float(v.price()), "currency": v.choice(CURRENCIES)},
        "payment_method": v.choice(("credit_card", "bank_transfer", "paypal")),
        "status": v.state(),
        "refunded": False,
    }


RECORDS: Final = (person, order, event, reading, product, commit, user, view, measured, payment)


def line(record: dict[str, Any]) -> str:
    """Return a record as a line of JSON."""
    return json.dumps(record) + "\n"


def indented(record: dict[str, Any], indent: int = 2) -> str:
    """Return a record as indented JSON, as it stands in a list."""
    shift = " " * indent
    return "\n".join(shift + line for line in json.dumps(record, indent=indent).split("\n")) + ",\n"


def yaml(record: dict[str, Any]) -> str:
    """Return a record as YAML, as it stands in a list."""
    lines = []
    for key, value in record.items():
        if isinstance(value, list):
            lines.append(f"{key}:")
            for each in value:
                first, *rest = each.items()
                lines += [f"  - {first[0]}: {first[1]}", *(f"    {name}: {inner}" for name, inner in rest)]
        elif isinstance(value, dict):
            lines += [f"{key}:", *(f"  {name}: {inner}" for name, inner in value.items())]
        else:
            lines.append(f"{key}: {json.dumps(value) if isinstance(value, bool) else value}")
    return "- " + "\n  ".join(lines) + "\n"

"""Templates of logs, markup, tables and lists: each returns the next piece of a text."""

from collections.abc import Callable
from typing import Any

from .values import Values

Template = Callable[[Values], str]


def access(v: Values) -> str:
    """Return a line of a web server's log."""
    return (
        f'{v.address()} - - [{v.later():%d/%b/%Y:%H:%M:%S} +0000] "GET {v.path()} HTTP/1.1" '
        f'{v.choice((200, 200, 200, 301, 404, 500))} {v.number(90000)} "-" "Mozilla/5.0 (X11; Linux x86_64)"\n'
    )


def logged(v: Values) -> str:
    """Return a line of a program's log."""
    return f"{v.later():%Y-%m-%d %H:%M:%S},{v.number():03d} {v.level()} [{v.noun()}-{v.number(16)}] {v.words()}\n"


def syslog(v: Values) -> str:
    """Return a line of syslog."""
    return f"{v.later():%b %d %H:%M:%S} {v.noun()}{v.number(9)} {v.noun()}d[{v.number(32000)}]: {v.words()}\n"


def pairs(v: Values) -> str:
    """Return a line of key-value pairs."""
    return (
        f"time={v.later():%Y-%m-%dT%H:%M:%S}Z level={v.level().lower()} msg=\"{v.verb()} {v.thing()}\" "
        f"request_id={v.hexadecimal()} status={v.choice((200, 201, 404))} took={v.number()}ms\n"
    )  # fmt: skip


def trace(v: Values) -> str:
    """Return two lines of a traceback."""
    return (
        f'  File "/srv/{v.noun()}/{v.noun()}.py", line {v.number()}, in {v.identifier()}\n    {v.noun()}.{v.verb()}()\n'
    )


def heartbeat(v: Values) -> str:
    """Return a line of a worker's log."""
    return (
        f"[{v.later():%Y-%m-%d %H:%M:%S}] worker {v.number(12)}: processed {v.number(5000)} records in {v.share()} s, "
        f"{v.number(40)} left in the queue\n"
    )


def request(v: Values) -> str:
    """Return a line of a server's log with a long constant part."""
    return (
        f"{v.later(2):%Y-%m-%d %H:%M:%S} INFO  [http-worker-{v.number(8)}] com.example.server.RequestHandler - "
        f"Handled request {v.number(99999)} in {v.number(400)} ms\n"
    )


def session(v: Values) -> str:
    """Return a line of an SSH server's log."""
    return (
        f"{v.later(2):%b %d %H:%M:%S} server sshd[{v.number(32000)}]: Failed password for invalid user "
        f"{v.first().lower()} from {v.address()} port {v.number(60000)} ssh2\n"
    )


def item(v: Values) -> str:
    """Return an item of a list."""
    return f'  <li class="item"><a href="{v.path()}">{v.thing()}</a> <span class="price">${v.price()}</span></li>\n'


def table_row(v: Values) -> str:
    """Return a row of a table."""
    cells = (v.name(), v.city(), v.price(), v.day())
    return "<tr>\n" + "".join(f"  <td>{cell}</td>\n" for cell in cells) + "</tr>\n"


def card(v: Values) -> str:
    """Return a card."""
    return (
        f'<div class="card">\n  <img src="/images/{v.noun()}-{v.number()}.jpg" alt="{v.thing()}">\n'
        f'  <h2 class="card-title">{v.thing()}</h2>\n  <p class="card-text">{v.words(4, 10)}</p>\n'
        f'  <button data-id="{v.next_id()}">Add to cart</button>\n</div>\n'
    )


def option(v: Values) -> str:
    """Return an option of a form."""
    return f'  <option value="{v.code()}">{v.city()}</option>\n'


def article(v: Values) -> str:
    """Return an article."""
    return (
        f"<article>\n<h3>{v.words(2, 5)}</h3>\n<p>By {v.name()} on <time datetime=\"{v.day()}\">{v.day()}</time></p>\n"
        f"<p>{v.words(8, 16)}.</p>\n</article>\n"
    )  # fmt: skip


def field(v: Values) -> str:
    """Return a field of a form."""
    name = v.noun()
    return (
        f'<label for="{name}">{v.thing()}</label>\n<input type="text" id="{name}" name="{v.identifier()}" '
        f'maxlength="{v.number(200)}" required>\n'
    )


def link(v: Values) -> str:
    """Return a link of a menu."""
    name = v.new_noun()
    return f'    <li class="nav-item">\n      <a class="nav-link" href="/{name}">{name.capitalize()}</a>\n    </li>\n'


def product_card(v: Values) -> str:
    """Return a product."""
    number = v.next_id()
    return (
        f'<div class="product" id="product-{number}">\n  <h2 class="product-title">Product {number}</h2>\n'
        f'  <p class="product-price">Price: ${v.price()}</p>\n'
        f'  <p class="product-stock">In stock: {v.number()}</p>\n</div>\n'
    )


def element(v: Values) -> str:
    """Return an element with elements in it."""
    return (
        f'  <book id="{v.code()}">\n    <author>{v.name()}</author>\n    <title>{v.words(2, 5)}</title>\n'
        f"    <price>{v.price()}</price>\n    <published>{v.day()}</published>\n  </book>\n"
    )


def attributes(v: Values) -> str:
    """Return an element with attributes."""
    place = f'lat="{v.uniform(-90, 90):.6f}" lon="{v.uniform(-180, 180):.6f}"'
    return f'  <node id="{v.next_id()}" {place} user="{v.first()}"/>\n'


def csv(*columns: Callable[[Values], Any], separator: str = ",") -> Template:
    """Return the template of lines with these columns."""
    return lambda v: separator.join(str(column(v)) for column in columns) + "\n"


def quoted(column: Callable[[Values], Any]) -> Callable[[Values], str]:
    """Return a column in quotes."""
    return lambda v: f'"{column(v)}"'


def row(*columns: Callable[[Values], Any]) -> Template:
    """Return the template of a Markdown table with these columns."""
    return lambda v: "| " + " | ".join(str(column(v)) for column in columns) + " |\n"


def aligned(v: Values) -> str:
    """Return a row of a table with blanks between columns."""
    return f"{v.noun():<12}  {v.city():<12}  {v.number():>6}  {v.price():>9}  {v.state()}\n"


def bordered(v: Values) -> str:
    """Return a row of a table with borders."""
    rule = "+------------+----------------------+----------+\n"
    return f"{rule}| {v.code():<10} | {v.name():<20} | {v.price():>8} |\n"


def bullet(v: Values) -> str:
    """Return an item of a Markdown list."""
    return f"- **{v.thing().capitalize()}**: {v.words(4, 9)}, {v.price()} euros\n"


def dialogue(v: Values) -> str:
    """Return a question and its answer."""
    return f"Q: Where is the {v.thing()} of {v.name()}?\nA: It is in {v.city()}, next to the {v.thing()}.\n\n"


def numbered(v: Values) -> str:
    """Return an item of a numbered list."""
    return f"{v.next_id()}. {v.name()} ({v.city()}): {v.verb()} {v.number()} {v.noun()}s\n"

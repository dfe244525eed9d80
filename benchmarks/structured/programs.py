"""Templates of code, SQL and settings: each returns the next piece of a text."""

from .values import Values


def method(v: Values) -> str:
    """Return a method of a Python class."""
    name = v.identifier()
    return (
        f"    def get_{name}(self) -> {v.choice(('int', 'str', 'float'))}:\n"
        f'        """Return the {v.words(2, 4)}."""\n        return self._{name}\n\n'
    )


def check(v: Values) -> str:
    """Return a test."""
    name = v.identifier()
    return (
        f"def test_{name}():\n    {v.noun()} = {v.noun().title()}({v.number()}, \"{v.words(1, 2)}\")\n"
        f"    assert {v.noun()}.{name}({v.number()}) == {v.number()}\n\n\n"
    )  # fmt: skip


def branch(v: Values) -> str:
    """Return a branch of a switch."""
    return f"    case \"{v.noun()}\":\n      return {v.verb()}{v.noun().title()}({v.number()}, '{v.noun()}');\n"


def assignment(v: Values) -> str:
    """Return an import of JavaScript."""
    return f"const {v.verb()}{v.noun().title()} = require('./{v.noun()}/{v.verb()}');\n"


def struct(v: Values) -> str:
    """Return a field of a Go struct."""
    return f'\t{v.noun().title()}{v.verb().title()} {v.choice(("string", "int64", "bool"))} `json:"{v.identifier()}"`\n'


def call(v: Values) -> str:
    """Return an option of argparse."""
    return f'parser.add_argument("--{v.verb()}-{v.noun()}", type=int, default={v.number()}, help="{v.words(2, 5)}")\n'


def property_of_class(v: Values) -> str:
    """Return a property of a Python class."""
    name = v.identifier()
    return (
        f"    @property\n    def {name}(self):\n        return self._{name}\n\n    @{name}.setter\n"
        f"    def {name}(self, value):\n        self._{name} = value\n\n"
    )


def equal(v: Values) -> str:
    """Return an assertion."""
    return f"        self.assertEqual(self.client.get_{v.noun()}({v.number()}), {v.number()})\n"


def insert(v: Values) -> str:
    """Return a statement."""
    return (
        f"INSERT INTO customers (id, name, email, city, balance) VALUES ({v.next_id()}, '{v.name()}', '{v.email()}', "
        f"'{v.city()}', {v.price()});\n"
    )


def row_of_values(v: Values) -> str:
    """Return a row of values."""
    return f"    ({v.next_id()}, '{v.code()}', '{v.thing()}', {v.price()}, {v.number()}, '{v.day()}'),\n"


def user_row(v: Values) -> str:
    """Return a statement."""
    number = v.next_id()
    return (
        f"INSERT INTO users (id, username, email, created_at, is_active) VALUES ({number}, 'user{number}', "
        f"'user{number}@example.com', '{v.day()}', {v.truth().upper()});\n"
    )


def grant(v: Values) -> str:
    """Return a statement."""
    right = v.choice(("SELECT", "INSERT", "UPDATE"))
    return f"GRANT {right} ON TABLE {v.identifier()} TO ROLE {v.first().lower()}_reader;\n"


def update(v: Values) -> str:
    """Return a statement."""
    return f"UPDATE orders SET status = '{v.state()}', total = {v.price()} WHERE order_id = '{v.code()}';\n"


def create(v: Values) -> str:
    """Return a table."""
    return (
        f"CREATE TABLE {v.identifier()} (\n    id INTEGER PRIMARY KEY,\n"
        f"    {v.noun()} VARCHAR({v.number(255)}) NOT NULL,\n"
        f"    {v.noun()}_{v.noun()} DECIMAL({v.number(12)}, 2),\n    {v.verb()}_at TIMESTAMP\n);\n\n"
    )


def column(v: Values) -> str:
    """Return a column of a table."""
    return f"    {v.identifier()} {v.choice(('INTEGER', 'TEXT', 'TIMESTAMP'))} NOT NULL DEFAULT {v.number()},\n"


def select(v: Values) -> str:
    """Return a query."""
    return (
        f"SELECT {v.noun()}, COUNT(*) FROM {v.identifier()} WHERE {v.noun()} > {v.number()} GROUP BY {v.noun()} "
        f"ORDER BY COUNT(*) DESC LIMIT {v.number(50)};\n"
    )


def service(v: Values) -> str:
    """Return a service of a compose file."""
    return (
        f"  {v.noun()}-{v.number(99)}:\n    image: registry.example.com/{v.noun()}:{v.number(9)}.{v.number(20)}\n"
        f"    ports:\n      - \"{v.number(9000)}:{v.number(9000)}\"\n    environment:\n      LOG_LEVEL: {v.level()}\n"
        f"      TIMEOUT: {v.number(600)}s\n    restart: {v.choice(('always', 'never', 'unless-stopped'))}\n"
    )  # fmt: skip


def section(v: Values) -> str:
    """Return a section of an INI file."""
    return (
        f"[{v.identifier()}]\nhost = {v.address()}\nport = {v.number(9000)}\nuser = {v.first().lower()}\n"
        f"timeout = {v.number(600)}\nenabled = {v.truth()}\n\n"
    )


def setting(v: Values) -> str:
    """Return a line of a properties file."""
    return f"{v.noun()}.{v.verb()}.{v.noun()} = {v.choice((v.number(), v.truth(), v.city()))}\n"


def metric(v: Values) -> str:
    """Return a line of Prometheus's text format."""
    return f'{v.identifier()}_total{{instance="{v.address()}:{v.number(9000)}",job="{v.noun()}"}} {v.number(99999)}\n'


def exported(v: Values) -> str:
    """Return a line of a shell script."""
    return f"export {v.identifier().upper()}={v.choice((v.number(), v.path(), v.hexadecimal()))}\n"

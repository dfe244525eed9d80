"""Values as real records have them: names, places, times, amounts, identifiers; some from few, some from many."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST: Final = _words(
    "Amara Aoife Bilal Brigitte Carlos Chiara Dmitri Elena Emeka Farida Gustavo Hana Ingrid Ivan Jamal Jorge "
    "Kaito Katya Lars Leila Mateo Mei Nadia Noah Olga Omar Priya Quentin Rafael Rosa Sanjay Sofia Tariq Tomas Uma "
    "Viktor Wanda Xiomara Yusuf Zeynep"
)
LAST: Final = _words(
    "Abbas Andersen Baptiste Becker Castillo Chen Delgado Dubois Eriksen Fischer Garcia Haddad Ibrahim Ivanova "
    "Jansen Kowalski Kumar Laurent Lindqvist Mensah Moreau Nakamura Novak Okafor Oliveira Petrov Quispe Rossi "
    "Sato Schneider Silva Tanaka Ueda Vargas Weber Xu Yamamoto Yilmaz Zhang"
)
CITIES: Final = _words(
    "Accra Antwerp Bergen Bologna Bristol Busan Cordoba Cusco Dakar Denver Durban Gdansk Geneva Graz Haifa "
    "Hamburg Izmir Kyoto Leeds Lille Lyon Malmo Medellin Mumbai Nantes Nairobi Osaka Perth Porto Quebec Recife "
    "Riga Seville Tampere Toronto Turin Utrecht Valencia Varna Zagreb"
)
NOUNS: Final = _words(
    "adapter basket blanket bottle bracket cable camera candle carpet chair charger compass curtain cushion drill "
    "fan filter flask glove hammer helmet jacket kettle keyboard ladder lamp lantern mirror mug notebook pan "
    "pillow printer radio rope router saddle scarf shelf speaker stool tent toaster tray tripod umbrella vase "
    "wallet wrench"
)
ADJECTIVES: Final = _words(
    "amber bright broad calm compact copper cotton curved dark dense dry dual fine folding glass heavy insulated "
    "iron light long magnetic matte modular narrow oak padded plain portable quiet rough round sealed sharp slim "
    "smooth solid steel striped tall velvet waterproof woollen"
)
VERBS: Final = _words(
    "accepted archived assigned cancelled checked closed copied created deleted delivered exported flushed "
    "imported indexed merged moved opened paid parsed printed queued read rejected released renamed restarted "
    "retried returned saved scanned shipped signed skipped sorted stopped synced tagged trimmed uploaded verified "
    "written"
)
STATES: Final = ("active", "closed", "pending", "shipped", "failed", "on hold")
LEVELS: Final = ("INFO", "INFO", "DEBUG", "WARN", "ERROR")
FEW: Final = 8
_BEGIN: Final = datetime(2019, 1, 1)


class Values(random.Random):
    """Draws values from a seed.

    Args:
        seed: of all of them.
        few: whether words come from `FEW` of each kind, so that most of them come again after a few records.
    """

    def __init__(self, seed: str, *, few: bool = False) -> None:
        super().__init__(seed)
        self._few = few
        self._begin = self.randrange(20)
        self._used: set[str] = set()
        self.count = self.randrange(1, 4000)
        self._now = self.time()

    def of(self, words: Sequence[str]) -> str:
        """Return one of the words."""
        return self.choice(words[self._begin : self._begin + FEW] if self._few else words)

    def next_id(self) -> int:
        """Return the next of numbers that count up."""
        self.count += 1
        return self.count

    def first(self) -> str:
        """Return a first name."""
        return self.of(FIRST)

    def last(self) -> str:
        """Return a family name."""
        return self.of(LAST)

    def name(self) -> str:
        """Return a person's name."""
        return f"{self.first()} {self.last()}"

    def email(self) -> str:
        """Return a mail address."""
        return f"{self.first()}.{self.last()}@example.{self.choice(('com', 'org', 'net'))}".lower()

    def city(self) -> str:
        """Return a city."""
        return self.of(CITIES)

    def noun(self) -> str:
        """Return a thing."""
        return self.of(NOUNS)

    def new_noun(self) -> str:
        """Return a thing that this text has not had from here yet, as menus have no entry twice."""
        left = sorted(set(NOUNS) - self._used) or list(NOUNS)
        self._used.add(noun := self.choice(left))
        return noun

    def thing(self) -> str:
        """Return a thing with an adjective."""
        return f"{self.of(ADJECTIVES)} {self.noun()}"

    def verb(self) -> str:
        """Return what was done."""
        return self.of(VERBS)

    def words(self, fewest: int = 3, most: int = 8) -> str:
        """Return some words in a row."""
        return " ".join(self.of(self.choice((NOUNS, ADJECTIVES, VERBS))) for _ in range(self.randint(fewest, most)))

    def identifier(self) -> str:
        """Return a name as variables and functions have them: none is defined twice in a text."""
        names = [name for _ in range(9) if (name := f"{self.verb()}_{self.noun()}") not in self._used] or ["other"]
        self._used.add(names[0])
        return names[0]

    def price(self) -> str:
        """Return an amount with cents."""
        return f"{self.uniform(1, 900):.2f}"

    def number(self, most: int = 999) -> int:
        """Return a whole number."""
        return self.randint(1, most)

    def share(self) -> str:
        """Return a number between 0 and 1."""
        return f"{self.random():.3f}"

    def code(self) -> str:
        """Return a code such as KX-4821."""
        return f"{''.join(self.choices('ABCDEFGHJKLMNPQRSTUVWXYZ', k=2))}-{self.randint(1000, 9999)}"

    def hexadecimal(self, digits: int = 8) -> str:
        """Return a hexadecimal number."""
        return f"{self.getrandbits(4 * digits):0{digits}x}"

    def uuid(self) -> str:
        """Return what looks like a UUID."""
        return "-".join(self.hexadecimal(digits) for digits in (8, 4, 4, 4, 12))

    def address(self) -> str:
        """Return an IPv4 address."""
        return ".".join(str(self.randint(1, 254)) for _ in range(4))

    def path(self) -> str:
        """Return a path."""
        return f"/{self.noun()}/{self.verb()}/{self.number()}"

    def time(self) -> datetime:
        """Return a point in time."""
        return _BEGIN + timedelta(seconds=self.randrange(5 * 365 * 86400))

    def later(self, most: float = 90) -> datetime:
        """Return a point in time a little after the one before, as logs have them."""
        self._now += timedelta(seconds=self.uniform(0.01, most))
        return self._now

    def day(self) -> str:
        """Return a date."""
        return f"{self.time():%Y-%m-%d}"

    def state(self) -> str:
        """Return one of few words."""
        return self.choice(STATES)

    def level(self) -> str:
        """Return the level of a log line."""
        return self.choice(LEVELS)

    def truth(self) -> str:
        """Return true or false."""
        return self.choice(("true", "false"))

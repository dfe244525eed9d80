"""What names no file of a store."""

NO_FILES = {
    ":memory:": "in memory",
    "": "empty",
    "file:x.db": "is a URI",
    "file::memory:?cache=shared": "is a URI",
    "file:///tmp/x.db?mode=rwc": "is a URI",
    "sqlite:///x.db": "is a URI",
    "sqlite+pysqlite:///:memory:": "is a URI",
    "https://example.org/x.db": "is a URI",
    "new/": "is a folder; name a file in it, such as new/corevital.db",
    "a\0b.db": "NUL",
}

"""Folders with databases that live on from state to state, and what must be stored of each, as SQLite itself sees it.

A folder's class has `next`, which makes the next state; the truth of a file is what SQLite leaves of it when it has
merged what is pending beside it.
"""

import contextlib
import os
import random
import shutil
import sqlite3
import tempfile

SIDECARS = (b"-wal", b"-shm", b"-journal")


@contextlib.contextmanager
def opened(path):
    """A connection that does what it is told at once."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def merged(path):
    """The bytes that SQLite leaves of a database when it takes in, or takes back, what lies beside it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(os.fsencode(folder), b"copy")
        for suffix in (b"", *SIDECARS):
            if os.path.exists(path + suffix):
                shutil.copyfile(path + suffix, copy + suffix)
        with opened(copy) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        with open(copy, "rb") as file:
            return file.read()


class Series:
    """A new folder; everything random comes from its name."""

    def __init__(self, work, name):
        self.name, self.folder, self.state = name, os.path.join(work, name), -1
        self.random = random.Random(name)
        os.mkdir(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def next(self):
        self.state += 1
        self.step()

    def fill(self, connection, messages):
        """A table whose index is hit at random, as those of chat apps are. Most runs are the table's and never change: so
        a list is always worth storing as a difference.
        """
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE m(id INTEGER PRIMARY KEY, key BLOB, t TEXT)")
        connection.execute("CREATE INDEX by_key ON m(key)")
        self.chat_on(connection, messages)
        connection.execute("COMMIT")

    def chat_on(self, connection, messages):
        rows = ((self.random.randbytes(16), self.random.randbytes(250).hex()) for _ in range(messages))
        connection.executemany("INSERT INTO m(key, t) VALUES(?, ?)", rows)


class Chats(Series):
    """A database that takes three messages a state; one whose app was killed with changes in its log, one whose log was
    damaged then, and one in the middle of a transaction; from the fifth state on a copy of the first one, as apps keep
    them.
    """

    STATES = 18

    def __init__(self, work):
        super().__init__(work, "chats")
        self.scratch = os.path.join(work, "scratch")
        os.mkdir(self.scratch)

    def step(self):
        with opened(self.path("daily.db")) as connection:
            self.chat_on(connection, 3) if self.state else self.fill(connection, 10_000)
        if self.state == 0:
            self.kill("log.db", self.in_the_log)
            self.kill("journal.db", self.in_a_transaction)
            others = self.random
            # What the other databases are must not depend on this one.
            self.random = random.Random("damaged")
            self.kill("damaged.db", self.in_the_log)
            self.damage("damaged.db-wal")
            self.random = others
        if self.state == 4:
            shutil.copy2(self.path("daily.db"), self.path("daily 1.db"))

    def kill(self, name, work):
        """Copies a database with what lies beside it from under a connection: that is what a killed app leaves."""
        path = os.path.join(self.scratch, name)
        with opened(path) as connection:
            self.fill(connection, 2000)
            work(connection)
            for suffix in ("", "-wal", "-journal"):
                if os.path.exists(path + suffix):
                    shutil.copyfile(path + suffix, self.path(name) + suffix)

    def damage(self, name):
        """Changes a byte of a frame in the middle, behind which transactions end."""
        with open(self.path(name), "r+b") as file:
            at = 32 + (os.path.getsize(self.path(name)) - 32) // 4120 // 2 * 4120 + 100
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 16]))

    def in_the_log(self, connection):
        connection.execute("PRAGMA journal_mode=WAL")
        self.chat_on(connection, 200)

    def in_a_transaction(self, connection):
        connection.execute("PRAGMA cache_size=10")
        connection.execute("BEGIN")
        connection.execute("UPDATE m SET t = upper(t) || 'x'")


class Large(Series):
    """A database of more runs than a list page holds."""

    STATES = 3

    def __init__(self, work):
        super().__init__(work, "large")

    def step(self):
        with opened(self.path("large.db")) as connection:
            if self.state == 0:
                self.fill(connection, 2000)
                connection.execute("CREATE TABLE blobs(b BLOB)")
                connection.execute("INSERT INTO blobs VALUES(?)", (self.random.randbytes(34 << 20),))
            else:
                self.chat_on(connection, 3)


class Many(Series):
    """More databases than a page of lineage records holds."""

    STATES = 2

    def __init__(self, work):
        super().__init__(work, "many")

    def step(self):
        for number in range(60) if self.state == 0 else (7,):
            with opened(self.path(f"{number}.db")) as connection:
                self.chat_on(connection, 1) if self.state else self.fill(connection, 5)

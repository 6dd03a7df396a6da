"""The tables of a journal; each row ends with a checksum of what is before it."""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE chunks (
  round INTEGER NOT NULL, offset INTEGER NOT NULL, first_id INTEGER NOT NULL, data BLOB NOT NULL,
  failures TEXT NOT NULL, ledger TEXT NOT NULL, sum INTEGER NOT NULL, grad BLOB, grad_sum INTEGER,
  PRIMARY KEY (round, offset));
CREATE TABLE kept (
  role TEXT NOT NULL, id INTEGER NOT NULL, score REAL NOT NULL, plausibility REAL NOT NULL, held_out REAL,
  latent BLOB NOT NULL, parts TEXT NOT NULL, kind TEXT NOT NULL, sample BLOB NOT NULL, whole INTEGER NOT NULL,
  sum INTEGER NOT NULL, PRIMARY KEY (role, id));
CREATE TABLE checkpoint (
  slot INTEGER PRIMARY KEY CHECK (slot = 0), round INTEGER, next_id INTEGER, state BLOB, sum INTEGER);
CREATE TABLE repeats (number INTEGER PRIMARY KEY, id INTEGER NOT NULL, score REAL, sum INTEGER NOT NULL);
CREATE TABLE population (slot INTEGER PRIMARY KEY CHECK (slot = 0), data BLOB, sum INTEGER);
CREATE TABLE blobs (name TEXT PRIMARY KEY, data BLOB NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE paid (
  round INTEGER NOT NULL, row INTEGER NOT NULL, nth INTEGER NOT NULL, term TEXT NOT NULL, value REAL,
  failure TEXT NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (round, row, nth, term));
CREATE TABLE known (
  sample BLOB PRIMARY KEY, known TEXT NOT NULL, failure TEXT NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE begun (
  alone INTEGER PRIMARY KEY, round INTEGER NOT NULL, row INTEGER NOT NULL, rows INTEGER NOT NULL,
  times INTEGER NOT NULL, sum INTEGER NOT NULL);
"""

COLUMNS = {
    "meta": 3,
    "chunks": 9,
    "kept": 11,
    "checkpoint": 5,
    "repeats": 4,
    "population": 3,
    "blobs": 3,
    "paid": 7,
    "known": 4,
    "begun": 6,
}
"""How many columns each table has."""

CHUNK, KEPT = (f"VALUES ({', '.join('?' * COLUMNS[name])})" for name in ("chunks", "kept"))
"""What ends a statement that writes a row of `chunks`, or of `kept`."""

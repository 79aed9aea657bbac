"""The rows of the table: each a file with one `ROW`, measured by `make bench ARGS="--only <name>"`."""

from bench.rows import accept, constants, generations, growth, images, ledger, notifications, start
from bench.table import Row

ROWS: tuple[Row, ...] = (
    generations.ROW,
    images.ROW,
    accept.ROW,
    notifications.ROW,
    ledger.ROW,
    constants.ROW,
    growth.ROW,
    start.ROW,
)

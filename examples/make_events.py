"""Write a large log of events as Parquet: ``python make_events.py 2e7 events.parquet``.

Each user has a taste, which decides most items; ``churned`` is one value of each user. Rows are in order of time.
"""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ITEMS, CATEGORIES, EVENTS, BLOCK = 10_000, 30, 40, 1_000_000


def write(rows: int, path: str) -> None:
    """Write ``rows`` events, about ``EVENTS`` of each user."""
    draw = np.random.default_rng(0)
    users = max(rows // EVENTS, 10)
    taste = draw.integers(0, 10, users)
    churned = (taste < 5) ^ (draw.random(users) < 0.1)
    names = [
        pa.array([f"{kind}_{one:05d}" for one in range(size)])
        for kind, size in (("item", ITEMS), ("cat", CATEGORIES))
    ]
    writer = None
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        user = draw.integers(0, users, size)
        near = np.minimum(draw.zipf(1.3, size) - 1, ITEMS // 10 - 1)
        item = np.where(
            draw.random(size) < 0.8, taste[user] * (ITEMS // 10) + near, draw.integers(0, ITEMS, size)
        )
        time = 1_600_000_000_000 + (start + np.arange(size)) * 1500 + draw.integers(0, 1500, size)
        amount = np.where(draw.random(size) < 0.01, np.nan, np.round(draw.lognormal(3, 1, size), 2))
        block = pa.table(
            {
                "user": user + 1000,
                "time": pa.array(time, pa.timestamp("ms")),
                "item": names[0].take(pa.array(item)),
                "amount": pa.array(amount, from_pandas=True),
                "category": names[1].take(pa.array(item * CATEGORIES // ITEMS)),
                "churned": np.where(churned[user], "yes", "no"),
            }
        )
        writer = writer or pq.ParquetWriter(path, block.schema)
        writer.write_table(block)
    if writer is not None:
        writer.close()


if __name__ == "__main__":
    write(int(float(sys.argv[1])), sys.argv[2])

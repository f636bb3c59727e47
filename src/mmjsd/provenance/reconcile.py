"""File times that agree with the records, for whoever goes by file times.

They say nothing after a checkout, a copy or an edit by hand.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from mmjsd.provenance.records import Product, staleness

__all__ = ["reconcile"]

#: Products that are listed one by one, where the reason is the same for all of them.
_SHOWN = 5


def reconcile(products: Iterable[Product], now: int, log: Callable[[str], None]) -> list[Product]:
    """Make the file times of products agree with their records.

    A fresh one that is older than what it is made from, or from the future, as a machine whose clock is ahead
    leaves it, gets the present as its time, and a stale one from the future a second before.

    Args:
        products: in topological order.
        now: the present in nanoseconds, by the clock of their file system.
        log: is told of the stale products that were made before, and why they are stale.

    Returns:
        The stale products. Those that are made from them may turn out the same, and so are not among them.
    """
    stale: list[Product] = []
    outdated: dict[str, list[Path]] = {}
    record_of: dict[Path, Path] = {}
    for product in products:
        if reason := staleness(product):
            stale.append(product)
            if product.record.exists():
                outdated.setdefault(reason, []).append(product.record)
            for path in _made(product):
                if path.lstat().st_mtime_ns >= now:
                    _date([path], now - 10**9)
        else:
            _renew(product, [record_of[path] for path in product.inputs if path in record_of], now)
            record_of |= dict.fromkeys(product.outputs, product.record)
    for reason, records in outdated.items():
        shown = records if len(records) <= _SHOWN else records[:1]
        for record in shown:
            more = f" and {len(records) - 1} more" if shown is not records else ""
            log(f"{record}{more}: to be made again ({reason})")
    return stale


def _renew(product: Product, records: Iterable[Path], now: int) -> None:
    # DVC may put links into its cache there. Of an input the newer of link and file counts for Snakemake, of
    # an output the link, so the link is what gets another time: the cache is not ours to touch.
    asked = max(
        (max(path.stat().st_mtime_ns, path.lstat().st_mtime_ns) for path in (*product.needed, *records)),
        default=0,
    )
    made, latest = _made(product), max(now, asked)
    times = [path.lstat().st_mtime_ns for path in made]
    if min(times) < asked or max(times) > latest:
        _date(made, latest)


def _made(product: Product) -> list[Path]:
    """The files of a product that are there."""
    return [p for p in (*product.outputs, product.record, product.benchmark) if p.exists() or p.is_symlink()]


def _date(paths: Iterable[Path], moment: int) -> None:
    for path in paths:
        os.utime(path, ns=(moment, moment), follow_symlinks=False)

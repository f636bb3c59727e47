import errno
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mmjsd.provenance import files
from mmjsd.provenance.files import atomic_write, temporary_name
from mmjsd.provenance.locks import HOST
from mmjsd.provenance.reconcile import reconcile
from mmjsd.provenance.records import Product, UpToDate, discard_unfinished, making, staleness


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A package of its own, importable, whose name no other test uses."""
    folder = tmp_path / "library" / f"package_{abs(hash(request.node.nodeid))}"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "helper.py").write_text("# a comment\nvalue = 1\n")
    monkeypatch.syspath_prepend(folder.parent)
    return folder


@pytest.fixture
def chain(tmp_path: Path, package: Path) -> list[Product]:
    """first.txt is made from source.txt, second.txt from first.txt."""
    (tmp_path / "source.txt").write_text("source")

    def product(name: str, source: str, **params: int) -> Product:
        record, output = tmp_path / f"{name}.record.json", tmp_path / f"{name}.txt"
        code = (f"{package.name}.helper",)
        benchmark = tmp_path / f"{name}.tsv"
        return Product(name, record, (output,), dict(params), (tmp_path / source,), code, benchmark)

    return [product("first", "source.txt", size=1), product("second", "first.txt")]


def make(products: list[Product]) -> None:
    for product in products:
        with making(product, force=True):
            for path in product.outputs:
                path.write_text(f"{product.name} from {product.inputs[0].read_text()}")


def settle(products: list[Product], now: int | None = None) -> tuple[list[str], list[str]]:
    """The names of the stale products, and what is said of them."""
    lines: list[str] = []
    stale = reconcile(products, now or time.time_ns(), lines.append)
    return [product.name for product in stale], lines


class TestRecords:
    def test_made_is_fresh(self, chain: list[Product]) -> None:
        assert all("is missing" in str(staleness(product)) for product in chain)
        make(chain)
        assert [staleness(product) for product in chain] == [None] * 2

    def test_equal_origin_gives_equal_bytes(self, chain: list[Product]) -> None:
        make(chain)
        before = chain[0].record.read_bytes()
        make(chain)
        assert chain[0].record.read_bytes() == before

    def test_every_difference_is_named(self, chain: list[Product], package: Path) -> None:
        make(chain)
        first = chain[0]
        first.outputs[0].write_text("edited")
        assert staleness(first) == f"other outputs: {first.outputs[0]}"
        make(chain)
        first.inputs[0].write_text("edited")
        assert staleness(first) == f"other inputs: {first.inputs[0]}"
        make(chain)
        (package / "helper.py").write_text("value = 2")
        assert staleness(first) == f"other code: {package.name}.helper:value"
        make(chain)
        first.params.update(size=2, new=1)
        assert staleness(first) == "other params: size, new"
        first.outputs[0].unlink()
        assert staleness(first) == f"{first.outputs[0]} is missing"

    def test_many_differences_are_counted(self, chain: list[Product]) -> None:
        make(chain)
        chain[0].params.update(dict.fromkeys("abcde", 1))
        assert staleness(chain[0]) == "other params: a, b, c and 2 more"

    def test_what_a_step_does_elsewhere_counts(self, chain: list[Product]) -> None:
        make(chain)
        gone = replace(chain[0], effect=lambda: "its run was deleted")
        assert staleness(gone) == "its run was deleted"
        assert staleness(replace(chain[0], effect=lambda: None)) is None
        told = f"{gone.record}: to be made again (its run was deleted)"
        assert settle([gone, chain[1]]) == (["first"], [told])
        chain[0].outputs[0].write_text("edited")
        assert staleness(gone) == f"other outputs: {chain[0].outputs[0]}"

    @pytest.mark.parametrize(("count", "lines"), [(5, 5), (6, 1), (200, 1)])
    def test_many_with_the_same_reason_are_told_in_a_line(
        self, chain: list[Product], count: int, lines: int
    ) -> None:
        make(chain)
        stale, told = settle([replace(chain[1], effect=lambda: "gone")] * count)
        assert len(stale) == count
        more = f" and {count - 1} more" if lines == 1 else ""
        assert told == [f"{chain[1].record}{more}: to be made again (gone)"] * lines

    @pytest.mark.parametrize("content", ["", "{", "[]", "null", '"text"', "\xff"])
    def test_a_damaged_record_is_none(self, chain: list[Product], content: str) -> None:
        make(chain)
        chain[0].record.write_text(content, encoding="latin-1")
        assert staleness(chain[0]) == "damaged record"

    def test_work_that_fails_leaves_what_was_there(self, chain: list[Product]) -> None:
        make(chain)
        before = chain[0].record.read_bytes()
        text = chain[0].inputs[0].read_text()
        chain[0].inputs[0].write_bytes(b"\xff")  # no text
        with pytest.raises(UnicodeDecodeError):
            make(chain)
        assert staleness(chain[0])
        chain[0].inputs[0].write_text(text)
        assert staleness(chain[0]) is None
        assert chain[0].record.read_bytes() == before

    def test_work_that_fails_half_way_is_not_taken_for_whole(self, chain: list[Product]) -> None:
        make(chain)

        def interrupted() -> None:
            with making(chain[0], force=True):
                chain[0].outputs[0].write_text("half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert staleness(chain[0]) == f"other outputs: {chain[0].outputs[0]}"

    def test_what_is_up_to_date_is_not_made(self, chain: list[Product]) -> None:
        make(chain)
        with pytest.raises(UpToDate, match=r"first\.record\.json: is up to date"), making(chain[0]):
            pytest.fail("made")

    def test_why_something_is_made_again_is_told(
        self, chain: list[Product], capsys: pytest.CaptureFixture[str]
    ) -> None:
        make(chain)
        chain[0].inputs[0].write_text("new source")
        assert capsys.readouterr().out == ""
        with making(chain[0]):
            pass
        assert capsys.readouterr().out == (
            f"{chain[0].record}: is made again (other inputs: {chain[0].inputs[0]})\n"
        )

    def test_what_is_edited_during_the_work_is_not_its_origin(self, chain: list[Product]) -> None:
        with making(chain[0]):
            chain[0].outputs[0].write_text("from the old source")
            chain[0].inputs[0].write_text("new source")
        assert staleness(chain[0]) == f"other inputs: {chain[0].inputs[0]}"

    def test_the_fingerprint_is_of_the_origin(self, chain: list[Product]) -> None:
        def fingerprint() -> str:
            with making(chain[0], force=True) as found:
                chain[0].outputs[0].write_text("")
            return found

        before = fingerprint()
        assert fingerprint() == before
        chain[0].params["size"] = 2
        assert fingerprint() != before

    def test_where_a_source_lies_does_not_count(self, chain: list[Product], tmp_path: Path) -> None:
        def product(place: str) -> Product:
            return replace(chain[0], inputs=(), sources={"official": tmp_path / place})

        with making(product("source.txt")):
            chain[0].outputs[0].write_text("")
        assert json.loads(chain[0].record.read_bytes())["places"] == {
            "official": str(tmp_path / "source.txt")
        }
        (tmp_path / "source.txt").rename(tmp_path / "moved.txt")
        assert staleness(product("moved.txt")) is None
        (tmp_path / "moved.txt").write_text("edited")
        assert staleness(product("moved.txt")) == "other inputs: official"

    def test_unfinished_work_goes_once_it_is_finished(self, chain: list[Product], tmp_path: Path) -> None:
        scratch = tmp_path / "checkpoint"
        product = replace(chain[0], scratch=(scratch,))
        scratch.touch()
        with pytest.raises(KeyboardInterrupt), making(product):
            raise KeyboardInterrupt
        discard_unfinished([product])
        assert scratch.exists()
        with making(product):
            product.outputs[0].write_text("")
        assert not scratch.exists()
        scratch.touch()  # as by a kill just before
        discard_unfinished([product])
        assert not scratch.exists()
        scratch.touch()
        with pytest.raises(UpToDate), making(product):
            pytest.fail("made")
        assert not scratch.exists()


class TestReconcile:
    def test_fresh_products_are_not_named(self, chain: list[Product]) -> None:
        make(chain)
        assert settle(chain) == ([], [])

    def test_what_was_never_made_is_stale_without_a_word(self, chain: list[Product]) -> None:
        assert settle(chain) == (["first", "second"], [])

    def test_what_is_made_from_stale_things_may_stay_what_it_is(self, chain: list[Product]) -> None:
        make(chain)
        chain[0].params["size"] = 2
        assert settle(chain) == (
            ["first"],
            [f"{chain[0].record}: to be made again (other params: size)"],
        )
        make(chain[:1])  # to the same bytes
        assert settle(chain) == ([], [])

    def test_what_has_a_lost_record_spares_the_rest(self, chain: list[Product]) -> None:
        make(chain)
        chain[0].record.unlink()
        assert settle(chain) == (["first"], [])

    def test_nothing_is_removed(self, chain: list[Product]) -> None:
        make(chain)
        before = [product.record.read_bytes() for product in chain]
        chain[0].params["size"] = 2
        settle(chain)
        assert [product.record.read_bytes() for product in chain] == before
        del chain[0].params["size"]
        chain[0].params["size"] = 1
        assert settle(chain) == ([], [])

    def test_file_times_follow_the_origin(self, chain: list[Product]) -> None:
        make(chain)
        for age, path in enumerate(
            [chain[1].record, chain[1].outputs[0], chain[0].record, chain[0].outputs[0]]
        ):
            os.utime(path, (1000 + age, 1000 + age))
        os.utime(chain[0].inputs[0], (2000, 2000))
        chain[1].benchmark.write_text("")
        os.utime(chain[1].benchmark, (1000, 1000))
        settle(chain)

        def time(path: Path) -> int:
            return path.stat().st_mtime_ns

        assert time(chain[0].inputs[0]) <= min(time(chain[0].outputs[0]), time(chain[0].record))
        for made in (chain[1].outputs[0], chain[1].record, chain[1].benchmark):
            assert max(time(chain[0].outputs[0]), time(chain[0].record)) <= time(made)

    def test_a_stale_product_from_the_future_is_older_than_now(self, chain: list[Product]) -> None:
        make(chain)
        now = time.time_ns()
        for path in (chain[0].record, chain[0].outputs[0]):
            os.utime(path, ns=(now + 10**12, now + 10**12))
        chain[0].params["size"] = 2
        settle(chain, now)
        assert max(path.stat().st_mtime_ns for path in (chain[0].record, chain[0].outputs[0])) < now

    def test_a_fresh_product_from_the_future_is_of_the_present(self, chain: list[Product]) -> None:
        """As a machine whose clock is ahead leaves it."""
        make(chain)
        ahead = time.time_ns() + 3600 * 10**9
        for path in (chain[0].record, *chain[0].outputs):
            os.utime(path, ns=(ahead, ahead))
        assert settle(chain) == ([], [])
        times = [product.record.stat().st_mtime_ns for product in chain]
        assert times == sorted(times)
        assert times[-1] < ahead

    def test_times_in_order_are_left_alone(self, chain: list[Product]) -> None:
        make(chain)
        before = [product.record.stat().st_mtime_ns for product in chain]
        settle(chain)
        assert [product.record.stat().st_mtime_ns for product in chain] == before


class TestTemporaryName:
    def test_what_dead_processes_of_this_machine_left_goes(self, tmp_path: Path) -> None:
        path = tmp_path / "file.txt"
        dead = tmp_path / f".file.txt.{HOST}.{2**22 + 1}.tmp"
        alive = tmp_path / f".file.txt.{HOST}.{os.getppid()}.tmp"
        elsewhere = [
            tmp_path / f".file.txt.{host}.{2**22 + 1}.tmp" for host in ("another-host", f"{HOST}.cluster")
        ]
        for left in (dead, alive, *elsewhere):
            left.touch()
        assert temporary_name(path).parent == tmp_path
        assert sorted(tmp_path.glob(".*")) == sorted([alive, *elsewhere])

    def test_two_hosts_write_under_two_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Their processes may have the same number."""
        here = temporary_name(tmp_path / "file.txt")
        monkeypatch.setattr(files, "HOST", f"{HOST}-2")
        there = temporary_name(tmp_path / "file.txt")
        assert here != there
        here.touch()
        assert temporary_name(tmp_path / "file.txt") == there
        assert here.exists()


class TestAtomicWrite:
    def test_text_and_bytes(self, tmp_path: Path) -> None:
        atomic_write(tmp_path / "file", "grün")
        assert (tmp_path / "file").read_bytes() == "grün".encode()
        atomic_write(tmp_path / "file", b"\x00")
        assert (tmp_path / "file").read_bytes() == b"\x00"

    def test_a_failure_leaves_the_old_content_and_no_rest(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "file"
        target.write_text("old")

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(files.os, "replace", full)
        with pytest.raises(OSError, match="No space left") as caught:
            atomic_write(target, "new")
        assert caught.value.filename == str(target)
        assert target.read_text() == "old"
        assert list(tmp_path.iterdir()) == [target]

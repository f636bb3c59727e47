import math

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from torch.nn.functional import one_hot

from mmjsd.errors import MmjsdError
from mmjsd.modalities import text
from mmjsd.modalities.text import ALPHABET, decode, encode
from mmjsd.reporting.canvas import house_style, sheets


def test_alphabet_has_seventy_distinct_symbols_in_order() -> None:
    assert len(ALPHABET) == len(set(ALPHABET)) == 70
    assert ALPHABET.startswith("abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"")
    assert ALPHABET.endswith("{} \n")


def test_every_symbol_survives_the_round_trip() -> None:
    assert encode([ALPHABET], 70).tolist() == [list(range(70))]
    assert decode(encode([ALPHABET, "a, b"], 72, pad="*")) == [ALPHABET + "**", "a, b" + "*" * 68]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["ninety-nine"], "'ninety-nine' has 11 characters; shorten it to 8"),
        (["Zero"], "'Zero' has 'Z', which the alphabet has not; replace it"),
        (["né", "x"], "'né' has 'é', which"),
        (["Aß"], "has 'A', 'ß', which"),
    ],
)
def test_encode_refuses(texts: list[str], message: str) -> None:
    with pytest.raises(MmjsdError, match=message):
        encode(texts, 8)


@pytest.mark.parametrize("bad", [-1, 70])
def test_decode_refuses_unknown_ids(bad: int) -> None:
    with pytest.raises(MmjsdError, match=r"0\.\.69"):
        decode(np.array([[0, bad]]))


def test_the_likelihood_takes_logits() -> None:
    """The reference passes log-probabilities where probabilities belong, which reverses their order."""
    ids = torch.randint(70, (4, 8))
    certain = 50 * one_hot(ids, 70).float()
    torch.testing.assert_close(text.log_likelihood(certain, ids, "categorical", None), torch.zeros(4))
    uniform = torch.zeros(4, 8, 70)
    torch.testing.assert_close(
        text.log_likelihood(uniform, ids, "categorical", None), torch.full((4,), -8 * math.log(70))
    )
    torch.testing.assert_close(text.likelihood_mean(certain, "categorical").argmax(-1), ids)


def test_probabilities_sum_to_one() -> None:
    """Those of the likelihood of all texts of two characters, and those of its mean."""
    logits = torch.randn(1, 2, 70, dtype=torch.float64)
    pairs = torch.cartesian_prod(torch.arange(70), torch.arange(70))
    every = text.log_likelihood(logits.expand(len(pairs), -1, -1), pairs, "categorical", None)
    torch.testing.assert_close(every.exp().sum(), torch.tensor(1.0))
    torch.testing.assert_close(text.likelihood_mean(logits, "categorical").sum(-1), torch.ones(1, 2))


def test_a_varied_text_is_uncertain_but_readable() -> None:
    torch.manual_seed(0)
    ids = torch.randint(70, (50, 33))
    varied = text.vary(ids)
    torch.testing.assert_close(varied.sum(-1), torch.ones(50, 33))
    assert (varied.argmax(-1) == ids).float().mean() > 0.99
    assert 0.5 < varied.max(-1).values.mean() < 0.95


@pytest.mark.parametrize("length", [1, 2, 8, 9, 33, 300])
def test_a_classifier_reads_ids_and_probabilities_alike(length: int) -> None:
    torch.manual_seed(0)
    body = text.classifier_body((length,)).eval()
    ids = torch.randint(70, (5, length))
    features = body(ids)
    assert features.shape == (5, 128)
    torch.testing.assert_close(body(one_hot(ids, 70).float()), features)
    assert body.train()(text.vary(ids[:1])).shape == (1, 128)  # the last batch may be a single text


@pytest.mark.parametrize("length", [1, 8])
def test_a_short_text_is_written_into_its_cell(length: int) -> None:
    characters = torch.arange(2 * length).view(2, length) % 60
    axes = drawn(one_hot(characters, 70).float(), 2)
    written: list[list[tuple[float, float, str]]] = [[], []]
    for symbol, x, y, _, _ in glyphs(axes):
        assert 0 <= y <= 1
        assert int(x) <= x < x + 0.5 / 8 <= int(x) + 1
        written[int(x)].append((round(y, 6), x, symbol))
    texts = ["".join(symbol for *_, symbol in sorted(found)) for found in written]
    assert texts == decode(characters.numpy())
    assert all(len({y for y, *_ in found}) == 1 for found in written)


def test_of_long_texts_words_are_written_as_large_as_they_fit() -> None:
    sentence = "bags under eyes, male, no beard, oval face, young"
    texts = [sentence, "*" * 40 + ", ".join([sentence] * 4), "x" * 256]
    axes = drawn(ids(texts, 256), 3)
    sizes = []
    for cell, whole in enumerate(texts):
        own = [glyph for glyph in glyphs(axes) if cell <= glyph[1] < cell + 1]
        lines: dict[float, list[tuple[float, str]]] = {}
        for symbol, x, y, size, _ in own:
            assert x + 0.6 * size <= cell + 1
            assert 0 <= y <= 1
            lines.setdefault(round(y, 6), []).append((x, symbol))
        words = whole.replace("*", "").split()
        written = ["".join(symbol for _, symbol in sorted(line)) for _, line in sorted(lines.items())]
        assert "".join(written) == "".join(words)
        ends = [len("".join(words[: n + 1])) for n in range(len(words))]
        breaks = [len("".join(written[: n + 1])) for n in range(len(written))]
        assert len(breaks) > 3
        assert cell == 2 or set(breaks) <= set(ends)
        sizes.append(own[0][3])
    assert sizes[0] > sizes[1]
    assert sizes[0] > sizes[2]


@pytest.mark.parametrize("length", [30, 60])
def test_words_that_the_reference_lacks_are_underlined(length: int) -> None:
    axes = drawn(ids(["no beard, black hair"], length), 1, ids(["black hair, young, no"], length))
    marked = [glyph for glyph in glyphs(axes) if glyph[4]]
    assert "".join(symbol for symbol, *_ in sorted(marked, key=lambda glyph: glyph[1])).replace("_", "") == (
        "beard,"
    )
    places = [[glyph[1:3] for glyph in marked if (glyph[0] == "_") is line] for line in (True, False)]
    assert sorted(places[0]) == sorted(places[1])


def test_a_blank_takes_a_place() -> None:
    a, b, c = (x for _, x, *_ in glyphs(drawn(ids(["ab c"], 8), 1)))
    assert c - b == pytest.approx(2 * (b - a))


def ids(texts: list[str], length: int) -> torch.Tensor:
    return torch.from_numpy(encode(texts, length, pad="*" if length > 8 else " ").astype(np.int64))


def drawn(values: torch.Tensor, columns: int, reference: torch.Tensor | None = None) -> Axes:
    with house_style():
        figure, (axes,) = sheets(["t"], 1, columns, "")
        text.draw_compared(axes, values, reference, columns)
        figure.canvas.draw()
    return axes


def glyphs(axes: Axes) -> list[tuple[str, float, float, float, bool]]:
    """Character, place, size in cells and whether it is marked, of each that is drawn."""
    found = []
    for characters in axes.collections:
        (path,) = characters.get_paths()
        symbol, size = next(
            (symbol, size)
            for symbol, outline in OUTLINES.items()
            if len(outline) == len(path.vertices)
            for size in [np.abs(path.vertices).max() / np.abs(outline).max()]
            if np.allclose(path.vertices, outline * [size, -size])
        )
        marked = characters.get_facecolor()[0][0] > 0
        found += [(symbol, x, y, size, marked) for x, y in characters.get_offsets()]
    return found


OUTLINES = {
    symbol: TextPath((0, 0), symbol, size=1, prop=FontProperties(family="monospace")).vertices
    for symbol in ALPHABET
    if not symbol.isspace()
}

import math

import numpy as np
import pytest
import torch
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


@pytest.mark.parametrize(("length", "lines"), [(1, 1), (8, 1), (33, 4), (300, 12)])
def test_a_text_is_written_into_its_cell(length: int, lines: int) -> None:
    characters = torch.arange(2 * length).view(2, length) % 60
    with house_style():
        figure, (axes,) = sheets(["t"], 1, 2, "")
        text.draw(axes, one_hot(characters, 70).float(), 2)
        figure.canvas.draw()
    written: list[list[tuple[float, float, str]]] = [[], []]
    glyphs = {glyph(symbol): symbol for symbol in ALPHABET if not symbol.isspace()}
    for drawn in axes.collections:
        for x, y in drawn.get_offsets():
            assert 0 <= y <= 1
            assert int(x) <= x < x + 0.5 / max(8, length**0.5) <= int(x) + 1
            written[int(x)].append((round(y, 6), x, glyphs[drawn.get_paths()[0].vertices.tobytes()]))
    texts = ["".join(symbol for *_, symbol in sorted(found)) for found in written]
    assert texts == decode(characters.numpy())
    assert all(len({y for y, *_ in found}) == lines for found in written)


def test_a_blank_takes_a_place() -> None:
    with house_style():
        _, (axes,) = sheets(["t"], 1, 1, "")
        text.draw(axes, torch.from_numpy(encode(["ab c"], 8).astype(np.int64)), 1)
    a, b, c = (drawn.get_offsets()[0, 0] for drawn in axes.collections)
    assert c - b == pytest.approx(2 * (b - a))


def glyph(symbol: str) -> bytes:
    return TextPath((0, 0), symbol, size=1, prop=FontProperties(family="monospace")).vertices.tobytes()

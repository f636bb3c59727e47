import numpy as np

from mmjsd.data.standin.attributes import ATTRIBUTES
from mmjsd.data.text import WORDS, attribute_texts, word_table
from mmjsd.modalities.text import decode


def test_word_table_has_each_word_at_each_offset_once() -> None:
    ids, labels = word_table()
    texts = decode(ids)
    assert len(set(texts)) == len(texts) == len(labels) == 40
    assert ids.dtype == np.uint8
    assert labels.dtype == np.int64
    assert [text.strip() for text in texts] == [WORDS[label] for label in labels]
    # the last place stays blank: offsets are 0..7-len(word)
    offsets = [len(text) - len(text.lstrip()) for text in texts]
    assert offsets == [offset for word in WORDS for offset in range(8 - len(word))]


def test_a_text_starts_where_it_is_told_as_far_as_it_fits() -> None:
    classes = ["Big_Nose", "Young"]
    labels = np.array([[1, 1], [0, 1], [1, 0]], np.uint8)
    ids = attribute_texts(labels, classes, np.array([0, 3, 99]), length=20)
    assert decode(ids) == ["big nose, young*****", "***young************", "************big nose"]


def test_texts_name_the_present_attributes() -> None:
    labels = np.zeros((200, 40), np.uint8)
    labels[:, [0, 1, 39]] = 1
    texts = decode(attribute_texts(labels, ATTRIBUTES, np.random.default_rng(0)))
    assert {len(text) for text in texts} == {256}
    assert {text.strip("*") for text in texts} == {"5 o clock shadow, arched eyebrows, young"}
    offsets = [len(text) - len(text.lstrip("*")) for text in texts]
    room = 256 - len("5 o clock shadow, arched eyebrows, young")
    assert 0 <= min(offsets) < 20
    assert room - 20 < max(offsets) <= room


def test_attributes_are_dropped_from_the_end_until_the_text_fits() -> None:
    labels = np.ones((1, 40), np.uint8)
    text = decode(attribute_texts(labels, ATTRIBUTES, np.random.default_rng(0)))[0].strip("*")
    words = [name.lower().replace("_", " ") for name in ATTRIBUTES]
    kept = len(text.split(", "))
    assert text == ", ".join(words[:kept])
    assert len(", ".join(words[: kept + 1])) > 256


def test_all_offsets_occur_and_a_full_text_fits() -> None:
    classes = ["a" * 254, "b" * 256]
    labels = np.array([[1, 0]] * 200 + [[0, 1], [0, 0]], np.uint8)
    texts = decode(attribute_texts(labels, classes, np.random.default_rng(0)))
    assert {text.index("a") for text in texts[:200]} == {0, 1, 2}
    assert texts[200:] == ["b" * 256, "*" * 256]

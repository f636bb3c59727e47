import numpy as np

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

from mmjsd.evaluation.metrics_file import read_metrics


def test_numbers_of_older_files_that_are_none_are_left_out(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"a": NaN, "b": Infinity, "c": -Infinity, "d": 1, "meta/e": "text"}')
    assert read_metrics(path) == {"d": 1, "meta/e": "text"}

from training.evaluation.table import as_markdown, as_scores, summary


def _row(
    french: float, japanese: float, tatoeba: float, xquad: float
) -> dict[str, dict[str, float]]:
    return {
        "DBP15K names": {"fr": french, "ja": japanese},
        "Tatoeba": {"de": tatoeba},
        "XQuAD paragraphs": {"de": xquad},
    }


TABLE = {
    "none": _row(10.0, 0.0, 5.0, 1.0),
    "phrase": _row(60.0, 20.0, 5.5, 2.0),
    "sentence": _row(30.0, 10.0, 50.0, 2.0),
}


def test_cells_are_means_over_languages() -> None:
    assert summary(TABLE)["phrase"] == {
        "DBP15K names": 40.0,
        "Tatoeba": 5.5,
        "XQuAD paragraphs": 2.0,
    }
    scores = as_scores(TABLE)
    assert scores["adapter_by_task"]["none"]["DBP15K names"] == 5.0
    assert scores["by_language"] == TABLE
    assert set(scores["figures"]) == {"DBP15K names", "Tatoeba", "XQuAD paragraphs"}


def test_the_best_of_each_column_is_bold_ties_included() -> None:
    lines = as_markdown(TABLE).splitlines()
    assert lines[0].startswith("|  | phrase: DBP15K names, Hit@1 | sentence: Tatoeba, accuracy |")
    assert lines[2] == "| no adapter | 5.0 | 5.0 | 1.0 |"
    assert lines[3] == "| phrase adapter | **40.0** | 5.5 | **2.0** |"
    assert lines[4] == "| sentence adapter | 20.0 | **50.0** | **2.0** |"
    assert "| none | 10.0 | 0.0 |" in lines

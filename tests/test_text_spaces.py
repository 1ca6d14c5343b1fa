"""Texts by words, tokens, sentences and passages: where the parts lie, and what is left when some are left out."""

import unicodedata
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whybox.errors import InputError, OptionError, SchemaError
from whybox.spaces import Fields, Passages, Sentences, Tokens, Words
from whybox.spaces._split import cluster_spans, passage_spans, sentence_spans, word_spans
from whybox.typing import Ask, Coalitions, Space

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467\U0001f3fd"
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
WRITING = st.text(st.sampled_from("ab éñ .,!?'’-\n\t  \u0301\u200d\u200b你好のไทยאבعر😀🏽🇩🇪1٣½²_$\ud800"), max_size=50)


def texts_of(bound, codes, instance=0):
    codes = np.array(codes, dtype=bool).reshape(-1, bound.n_features(instance))
    ask = Ask(np.array([instance]), codes)
    return bound.compose(ask, 0, len(codes) * bound.draws)


def words(text, **options):
    return [text[i:j] for i, j in word_spans(text, **options)]


SPLITS = {
    "It's well-made.": ["It's", "well", "made"],
    "U.S.A. e.g. 3.14 and 1,000.5": ["U.S.A", "e.g", "3.14", "and", "1,000.5"],
    "end.Next good...bad": ["end", "Next", "good", "bad"],
    "don’t l’été naïve": ["don’t", "l’été", "naïve"],
    "nai\u0308ve cafe\u0301!": ["nai\u0308ve", "cafe\u0301"],
    "हिन्दी में": ["हिन्दी", "में"],
    'שלום עו"ד': ["שלום", 'עו"ד'],
    "مَرْحَبًا بك": ["مَرْحَبًا", "بك"],
    "你好吗": ["你", "好", "吗"],
    "カタカナとひ": ["カタカナ", "と", "ひ"],
    f"so {FAMILY}\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7 1\ufe0f\u20e3 ❤️": [
        "so",
        FAMILY,
        "\U0001f1e9\U0001f1ea",
        "\U0001f1eb\U0001f1f7",
        "1\ufe0f\u20e3",
        "❤️",
    ],
    "snake_case @user #tag": ["snake_case", "user", "tag"],
    "": [],
    " \t\n": [],
    "?!...": [],
}


@pytest.mark.parametrize("text", SPLITS)
def test_words_are_found(text):
    assert words(text) == SPLITS[text]


def test_punctuation_can_be_words():
    assert words("Wow!!! No, no.", punctuation=True) == ["Wow", "!!!", "No", ",", "no", "."]
    assert words("¿Qué…?", punctuation=True) == ["¿", "Qué", "…", "?"]


def is_extend(character):
    return unicodedata.category(character) in ("Mn", "Mc", "Me")


@given(ANY_TEXT | WRITING)
def test_words_are_in_order_apart_and_no_mark_is_cut_from_its_letter(text):
    spans = word_spans(text)
    done = 0
    for start, stop in spans:
        assert done <= start < stop <= len(text)
        assert not text[start:stop].isspace()
        done = stop
        if stop < len(text):
            assert not is_extend(text[stop])


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_words_do_not_depend_on_what_stands_far_away(text):
    assert words(text) == words(text + " é")[: len(words(text))]


@settings(max_examples=60)
@given(ANY_TEXT | WRITING, st.sampled_from(["", "[MASK]", "... "]), st.integers(0, 2**32 - 1))
def test_everything_kept_is_the_text_itself_and_parts_are_left_out_by_definition(text, fill, seed):
    bound = Words(fill=fill).bind([text], None)
    d = bound.n_features(0)
    codes = np.random.default_rng(seed).random((9, d)) < 0.5
    codes[0] = True
    made = texts_of(bound, codes) if d else bound.compose(Ask(np.array([0]), codes), 0, 9)
    assert made[0] == text
    for kept, one in zip(codes, made, strict=True):
        assert one == by_hand(text, bound.marks(0), kept, fill)


def by_hand(text, spans, kept, fill):
    """Word by word, from the last to the first, so that positions stay right."""
    for (start, stop), stays in reversed(list(zip(spans.tolist(), kept, strict=True))):
        if stays:
            continue
        if fill:
            text = text[:start] + fill + text[stop:]
        elif start == spans[0, 0]:
            text = text[:start] + text[stop:].lstrip()
        else:
            text = text[:start].rstrip() + text[stop:]
    return text


def test_white_space_goes_with_its_word():
    bound = Words().bind(["  The food,  was good! \n"], None)
    assert texts_of(bound, [1, 1, 1, 1]) == ["  The food,  was good! \n"]
    assert texts_of(bound, [0, 1, 1, 1]) == ["  food,  was good! \n"]
    assert texts_of(bound, [1, 0, 1, 1]) == ["  The,  was good! \n"]
    assert texts_of(bound, [1, 1, 0, 0]) == ["  The food,! \n"]
    assert texts_of(bound, [0, 0, 0, 0]) == ["  ,! \n"]


def test_fills_stand_in_and_are_averaged():
    bound = Words(fill=("_", "so")).bind(["a b"], None)
    assert (bound.draws, texts_of(bound, [[1, 0], [0, 0]])) == (2, ["a _", "a so", "_ _", "so so"])
    ask = Ask(np.array([0]), np.array([[True, False]]))
    assert bound.fold(ask, np.array([[[[1.0], [3.0]]]])).tolist() == [[[2.0]]]
    assert bound.take(ask, np.array([1])) == ["a so"]


@pytest.mark.parametrize(("d", "fill"), [(1, ""), (8, "_"), (19, "")])
def test_many_coalitions_are_put_together_alike_and_few_texts_keep_their_pieces(d, fill):
    texts = [" ".join(f"w{place}x{i}," for i in range(d)) for place in range(10)]
    bound = Words(fill=fill).bind(texts, None)
    codes = np.random.default_rng(0).random((3000, d)) < 0.5
    for place, text in enumerate(texts):
        made = bound.compose(Ask(np.array([place]), codes), 0, 3000)
        spans = bound.marks(place)
        assert made[::97] == [by_hand(text, spans, kept, fill) for kept in codes[::97]]
        few = Words(fill=fill).bind(texts, None)  # with pieces of its own, of fewer words
        assert made[:50] == few.compose(Ask(np.array([place]), codes[:50]), 0, 50)
    assert sum(bool(one.made) for one in bound.cuts) == 8
    assert texts_of(bound, codes[:50], 0) == [by_hand(texts[0], bound.marks(0), kept, fill) for kept in codes[:50]]


def test_rows_are_taken_from_anywhere():
    texts = ["one two three", "four five six", "seven eight nine"]
    bound = Words().bind(texts, None)
    codes = np.array(list(product([False, True], repeat=3)))
    ask = Ask(np.array([2, 0]), codes)
    everything = bound.compose(ask, 0, 16)
    assert everything[7] == texts[2]
    assert everything[15] == texts[0]
    index = np.array([15, 3, 8, 8, 0])
    assert bound.take(ask, index) == [everything[i] for i in index]
    assert bound.compose(ask, 5, 11) == everything[5:11]
    keys = bound.keys(ask)
    assert len({tuple(key) for key in keys.tolist()}) == 16
    assert np.array_equal(bound.keys(Ask(np.array([0]), codes)), keys[8:])


def test_bounds_are_spaces_of_coalitions():
    for space in (Words(), Sentences(), Passages(), Fields({"a": Words()})):
        assert isinstance(space, Space)
    assert isinstance(Words().bind(["a"], None), Coalitions)
    assert isinstance(Fields({"a": Words()}).bind([{"a": "b"}], None), Coalitions)


@pytest.mark.parametrize(
    "x",
    [["a b", "c"], ("a b", "c"), pd.Series(["a b", "c"], index=[7, 9]), np.array(["a b", "c"], dtype=object), np.array(["a b", "c"])],
    ids=["list", "tuple", "Series", "objects", "strings"],
)
def test_texts_come_in_any_container_and_reach_the_model_as_a_list(x):
    bound = Words().bind(x, None)
    assert bound.plain(0, 2) == ["a b", "c"]
    assert all(type(text) is str for text in bound.plain(0, 2))


WRONG = {
    "one text": ("a text", r"pass \[text\]"),
    "bytes": (b"a text", r"pass \[text\]"),
    "nothing": ([], "at least one"),
    "None": (None, "NoneType"),
    "a missing text": (["a", None], "NoneType .*in row 1"),
    "NaN": (pd.Series(["a", np.nan]), "row 1"),
    "numbers": ([1, 2], "int .*in row 0"),
    "bytes in a list": ([b"a"], "bytes .*in row 0"),
    "a table": (pd.DataFrame({"text": ["a"]}), "Fields"),
    "two axes": (np.array([["a"]]), r"shape \(1, 1\)"),
    "a dict": ({"a": "b"}, "dict"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_sequence_of_texts_is_refused_by_name(name):
    x, said = WRONG[name]
    for space in (Words(), Sentences(), Passages()):
        with pytest.raises(InputError, match=said):
            space.bind(x, None)


def test_custom_splitters_are_checked():
    lines = Words(lambda text: [(0, 1), (2, 4)])
    assert lines.bind(["ab cd"], None).feature_names(0) == ("a", " c")
    for spans in ([(2, 1)], [(0, 2), (1, 3)], [(0, 9)], [(-1, 2)], [3], [(1, 1)], ["ab"]):
        with pytest.raises(InputError, match="splitter"):
            Words(lambda _, spans=spans: spans).bind(["abc"], None)
    for splitter in ("words", str):
        with pytest.raises(OptionError, match="splitter"):
            Words(splitter)


def test_options_are_checked():
    for fill in (None, 3, (), ("a", 1)):
        with pytest.raises(OptionError, match="fill"):
            Words(fill=fill)
    for count in (0, -1, 1.5, True):
        with pytest.raises(OptionError, match="words"):
            Passages(count)
    with pytest.raises(OptionError, match="fast tokenizer"):
        Tokens(lambda text: text)


def test_sentences_end_where_they_should():
    text = 'Mr. J. Smith said: "Go!" He went (at 3.5 km/h)... and fell. Why?\nNew line\n\n 好。是！'
    expected = ['Mr. J. Smith said: "Go!"', "He went (at 3.5 km/h)... and fell.", "Why?", "New line", "好。", "是！"]
    assert [text[i:j] for i, j in sentence_spans(text)] == expected


@given(ANY_TEXT | WRITING, st.integers(1, 7))
def test_sentences_and_passages_hold_every_word_once(text, most):
    for spans in (sentence_spans(text), passage_spans(text, most)):
        done = 0
        for start, stop in spans:
            assert not text[done:start].strip()
            assert done <= start < stop
            done = stop
        assert not text[done:].strip()
    for start, stop in passage_spans(text, most):
        assert len(word_spans(text[start:stop])) <= most + 1  # a cut may fall within what is a word only as a whole


def test_passages_keep_paragraphs_apart_where_they_are_long_enough():
    text = "One two three. Four five.\n\nSix seven. Eight."
    assert Passages(8).bind([text], None).feature_names(0) == ("One two three. Four five.", "Six seven. Eight.")


class ByteTokens:
    """Stands for a byte-level tokenizer: an emoji is four tokens of one place, a space belongs to the token after it."""

    is_fast = True

    def __call__(self, text, **_):
        found, start = [], 0
        for i, character in enumerate(text):
            if ord(character) > 0xFFFF:
                found += [(i, i + 1)] * 4
            elif character == " ":
                start = i
                continue
            else:
                found.append((min(start, i) if text[i - 1 : i] == " " else i, i + 1))
        return {"offset_mapping": [(0, 0), *found]}


def test_tokens_keep_characters_whole_and_leave_white_space_out():
    bound = Tokens(ByteTokens()).bind(["ab \U0001f600 e\u0301", ""], None)
    assert bound.feature_names(0) == ("a", "b", "\U0001f600", "e\u0301")
    assert bound.n_features(1) == 0
    assert texts_of(bound, [1, 0, 0, 1]) == ["a e\u0301"]


def test_tokens_of_a_real_tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="?"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        ["walking talking"] * 9, tokenizers.trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet, show_progress=False)
    )
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=inner)
    text = "walking \U0001f600 naïve"
    bound = Tokens(fast).bind([text], None)
    assert "\U0001f600" in bound.feature_names(0)
    assert all(not word.isspace() and word == word.strip() for word in bound.feature_names(0))
    assert texts_of(bound, np.ones(bound.n_features(0))) == [text]
    assert "".join(bound.feature_names(0)) == text.replace(" ", "")


@given(ANY_TEXT | WRITING)
def test_clusters_are_never_cut(text):
    spans = cluster_spans(text, [(i, i + 1) for i in range(len(text))])
    done = 0
    for start, stop in spans:
        assert done <= start < stop
        assert not text[start].isspace()
        done = stop
    assert all(not is_extend(text[start]) or start == 0 or text[start - 1].isspace() for start, _ in spans)


def test_a_long_text_is_cut_in_no_time_and_put_together_again():
    text = "A naïve 😀 word, and then some more. " * 2800  # 100,800 characters
    bound = Words().bind([text], None)
    assert bound.n_features(0) == 8 * 2800
    assert texts_of(bound, np.ones((1, bound.n_features(0)))) == [text]
    assert Passages().bind([text], None).n_features(0) < 300


def test_tree_holds_every_word_once():
    def leaves(tree):
        return [tree] if isinstance(tree, int) else [leaf for branch in tree for leaf in leaves(branch)]

    text = "One two. Three! " * 80
    tree = Words().bind([text], None).tree(0)
    assert leaves(tree) == list(range(240))
    assert len(tree) > 1
    assert tree[0][0] == [0, 1]
    assert Words().bind([""], None).tree(0) == []


RECORDS = [
    {"question": "Who came?", "context": "Ann came. Bob left.", "id": 7},
    {"question": "", "context": "Nobody.", "id": None},
]


@pytest.mark.parametrize("frame", [False, True])
def test_records_are_cut_by_field_and_put_together_again(frame):
    x = pd.DataFrame(RECORDS, index=[5, 6]) if frame else RECORDS
    bound = Fields({"question": Words(fill="_"), "context": Sentences()}).bind(x, None)
    assert [bound.n_features(i) for i in range(2)] == [4, 1]
    assert bound.feature_names(0) == ("question: Who", "question: came", "context: Ann came.", "context: Bob left.")
    shown = bound.inputs(0)
    assert [shown[i:j] for i, j in bound.marks(0).tolist()] == list(bound.data(0)) == ["Who", "came", "Ann came.", "Bob left."]
    assert bound.tree(0) == [[[[0, 1]]], [2, 3]]
    rows = texts_of(bound, [[1, 1, 1, 1], [0, 1, 0, 1]])
    records = rows.to_dict("records") if frame else rows
    assert records[0]["context"] == RECORDS[0]["context"]
    assert records[1]["question"] == "_ came?"
    assert records[1]["context"] == "Bob left."
    assert records[1]["id"] == 7
    if frame:
        assert list(rows.dtypes) == list(x.dtypes)
        assert bound.plain(0, 2).equals(x.reset_index(drop=True))
    else:
        assert bound.plain(0, 2) == RECORDS
        rows[0]["id"] = 0
        assert RECORDS[0]["id"] == 7
    assert bound.row_keys() is not None


def test_wrong_records_are_refused_by_name():
    space = Fields({"a": Words()})
    for x, error in (({"a": "b"}, InputError), ("b", InputError), (["b"], InputError), (None, InputError), ([], InputError)):
        with pytest.raises(error):
            space.bind(x, None)
    with pytest.raises(SchemaError, match="row 1 has no 'a'"):
        space.bind([{"a": "b"}, {"c": "d"}], None)
    with pytest.raises(SchemaError, match="no column"):
        space.bind(pd.DataFrame({"c": ["d"]}), None)
    with pytest.raises(InputError, match="float"):
        space.bind([{"a": 1.5}], None)
    for fields in ({}, ["a"], {"a": "words"}, {"a": Words(fill=("x", "y"))}):
        with pytest.raises(OptionError, match="field"):
            Fields(fields)

"""The router: the classes of DESIGN.md, in every script, by examples and by laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import TEXT_GRANULARITIES, Granularity
from service.encoding.granularity import route
from service.encoding.routing.markless import sentence_features
from service.encoding.routing.scripts import MAX_SENTENCE_CHARACTERS, Script, script_of
from service.errors import InvalidInput

NAMES_WITH_STOPS = [
    "St. John's",
    "U.S.",
    "Washington, D.C.",
    "Dr. No",
    "Mr. Bean",
    "J. R. R. Tolkien",
    "Martin Luther King Jr.",
    "Acme Inc.",
    "Mt. Everest",
    "St. Louis Blues",
    "Sgt. Pepper's Lonely Hearts Club Band",
    "E. coli",
    "No. 5",
    "Vol. 2",
    "Ph.D.",
    "z. B.",
    "1. FC Köln",
    "г. Москва",
    "А. С. Пушкин",
    "Yahoo! Japan",
]
TECHNICAL_NAMES = [
    "Node.js",
    ".NET",
    "C++",
    "3.14",
    "Python 3.11.2",
    "10.5.2025",
    "example.com",
    "https://example.com/a?b=c!d",
    "user@example.com",
    "COVID-19",
]
TITLES = [
    "The Lord of the Rings",
    "Guns N' Roses",
    "Machine Learning for Text",
    "machine learning",
    "natural language processing",
    "Save as...",
    "Save as…",
]
NAMES_IN_SCRIPTS = [
    "東京タワー",
    "北京大学",
    "서울특별시",
    "กรุงเทพมหานคร",
    "ภาษาอังกฤษ",
    "ບ້ານ",
    "ភ្នំពេញ",
    "မြန်မာ",
    "نيويورك",
    "جزر القمر",
    "नई दिल्ली",
    "ירושלים",
    "Ελλάδα",
    "Հայաստան",
    "საქართველო",
    "አዲስ አበባ",
    "བོད་",
    "🎉",
    "🍎 apple",
]


@pytest.mark.parametrize("text", [*NAMES_WITH_STOPS, *TECHNICAL_NAMES, *TITLES, *NAMES_IN_SCRIPTS])
def test_a_name_or_term_is_a_phrase(text: str) -> None:
    assert route(text) is Granularity.PHRASE


MARKED_SENTENCES = [
    "Hello.",
    "Stop!",
    "Really?",
    "The value is 3.14 today.",
    "I use Node.js every day.",
    "Visit example.com today!",
    "See https://example.com/a?b=c. for more.",
    "See https://example.com/a?B=C for more.",
    "Call the prof.",
    "Well... Tom left.",
    "Er kam (endlich!) Montag an.",
    "何？、と彼は聞いた。",
    "Dr. Smith went to Washington.",
    "J. R. R. Tolkien wrote The Hobbit.",
    "He lives in the U.S.",
    "Mr. and Mrs. Jones, of No. 5 St. James's St., are here.",
    "Er wohnt z. B. in Berlin.",
    "Am 3. Mai kam er nach Hause.",
    "Die Stadt liegt im Bundesland St. Gallen.",
    "Prof. Dr. Müller kommt um 8.30 Uhr.",
    "Он родился в 1990 г. в Москве.",
    "Wait... what do you mean?",
    "¿Dónde está?",
    "Πού πας;",
    "彼は学生です。",
    "我喜欢猫。",
    "你好吗？",
    "나는 학생입니다.",
    "أنا أحب القهوة.",
    "هل أنت بخير؟",
    "میں گھر جا رہا ہوں۔",
    "मैं स्कूल जाता हूँ।",
    "मैं स्कूल जाता हूँ |",
    "אני אוהב קפה.",
    "Ես սիրում եմ քեզ։",
    "Ես սիրում եմ քեզ:",
    "ሰላም ነው።",
    "ខ្ញុំស្រឡាញ់អ្នក។",
    "ကျွန်တော် ကျောင်းသွားတယ်။",
    "လက်ဖမိုး၊ လက်ချောင်းများ ဆေးကြောပါ။",
    "Տանը մարդ կա՞:",
    "მე სახლში ვარ.",
    "ང་བོད་པ་ཡིན།",
]
QUOTED_SENTENCES = [
    'He said, "Stop!" and left.',
    '"Stop!" he said.',
    '"stop!" he said.',
    '"I am tired."',
    "«Arrête !»",
    "「やめて！」と彼は言った。",
    "他说：“我累了。”",
    "(He left.)",
]
UNMARKED_SENTENCES = [
    "I like cats",
    "we do not know where he went",
    "les enfants ne sont pas là",
    "ich weiß nicht wo er ist",
    "мы не знаем где он",
    "我不知道他在哪里",
    "彼は昨日東京に行きました",
    "나는 어제 학교에 갔다",
    "मैं नहीं जानता वह कहाँ है",
    "ฉันไม่รู้ว่าเขาอยู่ที่ไหน",
    "ฉันอยู่ที่นี่มาตั้งแต่ปี 2556",
    "من نمی دانم او کجا است",
]
SENTENCES_WITH_EMOJI = ["I have no idea 😀", "Great! 🎉", "😀 I am here."]


@pytest.mark.parametrize(
    "text",
    [*MARKED_SENTENCES, *QUOTED_SENTENCES, *UNMARKED_SENTENCES, *SENTENCES_WITH_EMOJI],
)
def test_one_sentence_is_a_sentence(text: str) -> None:
    assert route(text) is Granularity.SENTENCE


@pytest.mark.parametrize(
    "text",
    [
        "I came. I saw.",
        "What? No!",
        '"Hi." "Hello."',
        "¡Hola! ¿cómo estás?",
        "He is from the U.S. He likes it.",
        "I was born in 1990. Then we moved.",
        "i have a fever. it started yesterday.",
        "Das ist gut. Der Hund schläft.",
        "Πού πας; Πάω σπίτι.",
        "Ես եկա։ Դու գնացիր։",
        "你好。我很好。",
        "彼は来た。彼女は帰った。",
        "나는 왔다. 그는 갔다.",
        "나는 가. 그는 와.",
        "मैं आया। वह गया।",
        "मैं आया | वह गया |",
        "أنا هنا. أين أنت؟",
        "ذهبت إلى البيت.ثم نمت.",
        "میں آیا۔ وہ گیا۔",
        "አለ። ሄደ።",
        "მე მოვედი. ის წავიდა London-ში.",
        "ฉันไปตลาดเมื่อวานนี้ ฉันซื้อผลไม้มาหลายอย่าง เขาไม่ได้ไปกับฉัน",
    ],
)
def test_more_than_one_sentence_is_a_paragraph(text: str) -> None:
    assert route(text) is Granularity.PARAGRAPH


@pytest.mark.parametrize(
    "text",
    [
        "- apples\n- pears",
        "• Äpfel\r\n• Birnen",
        "1. Open the lid\n2. Pour water\n3. Wait",
        "milk\neggs\nbread",
        "A heading\n\nThe text below it",
    ],
)
def test_lists_and_blocks_of_lines_are_paragraphs(text: str) -> None:
    assert route(text) is Granularity.PARAGRAPH


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("This sentence was wrapped at a\nnarrow margin.", Granularity.SENTENCE),
        ("Universal Declaration\nof Human Rights", Granularity.PHRASE),
        ("they\nknow", Granularity.SENTENCE),
        (
            "This is one sentence that somebody has set in lines of some sixty\n"
            "characters each, as mail programs used to do with all that they\n"
            "sent, and it has a single full stop.",
            Granularity.SENTENCE,
        ),
    ],
)
def test_a_wrapped_text_is_judged_as_one_line(text: str, expected: Granularity) -> None:
    assert route(text) is expected


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u3000\u2003"])
def test_an_empty_text_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(InvalidInput, match="empty or white space only; give at least one") as error:
        route(text)
    assert error.value.status == 422


LETTERS = {
    Script.ALPHABET: "a",
    Script.SEMITIC: "ب",
    Script.INDIC: "क",
    Script.HANGUL: "가",
    Script.KANA: "あ",
    Script.HAN: "国",
    Script.SOUTHEAST: "ก",
}


@pytest.mark.parametrize("script", Script)
def test_a_text_too_long_for_the_sentence_adapter_is_a_paragraph(script: Script) -> None:
    limit = MAX_SENTENCE_CHARACTERS[script]
    # One unbroken word of the script: nothing but its length can make it a paragraph.
    assert route(LETTERS[script] * limit) is not Granularity.PARAGRAPH
    assert route(LETTERS[script] * (limit + 1)) is Granularity.PARAGRAPH


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("plain", Script.ALPHABET),
        ("Привет", Script.ALPHABET),
        ("قلم", Script.SEMITIC),
        ("தமிழ்", Script.INDIC),
        ("한국어", Script.HANGUL),
        ("漢字とかな", Script.KANA),
        ("漢字", Script.HAN),
        ("ไทย", Script.SOUTHEAST),
        ("Python 是一种语言", Script.HAN),
        ("The character 漢 is quoted in this text", Script.ALPHABET),
    ],
)
def test_the_script_of_most_of_the_text_counts(text: str, script: Script) -> None:
    assert script_of(text) is script


@pytest.mark.parametrize(
    ("text", "script", "shown"),
    [
        (
            "Red, green: 2 boxes",
            Script.ALPHABET,
            {"words<=4", "cues=0", "comma", "digit", "bracket, colon or slash"},
        ),
        ("New York", Script.ALPHABET, {"words<=2", "cues=0", "title case"}),
        ("they know that I know", Script.ALPHABET, {"words<=5", "cues>4"}),
        ("한국어를 배웠다", Script.HANGUL, {"words<=2", "cues=0", "ending"}),
        ("彼は来た", Script.KANA, {"characters<=5", "cues=2", "ending"}),
        ("ภาษาไทย", Script.SOUTHEAST, {"characters<=10", "cues=0", "noun"}),
    ],
)
def test_a_text_without_a_mark_is_judged_by_what_it_shows(
    text: str, script: Script, shown: set[str]
) -> None:
    assert set(sentence_features(text, script)) == shown


visible = st.text(min_size=1).filter(lambda text: bool(text.strip()))


@given(visible)
def test_every_visible_text_has_a_text_granularity(text: str) -> None:
    assert route(text) in TEXT_GRANULARITIES


@given(st.text("ab .!?…;:|\"'«»()[]。「」।\n\t1A-•\ud800\x00", min_size=1).filter(str.strip))
def test_marks_in_any_order_are_taken(text: str) -> None:
    assert route(text) in TEXT_GRANULARITIES


@given(visible, st.text(" \t\n\u3000"), st.text(" \t\n\u3000"))
def test_white_space_around_a_text_says_nothing(text: str, before: str, after: str) -> None:
    assert route(before + text + after) is route(text)


SEPARATE = [
    text
    for text in MARKED_SENTENCES
    # A sentence that closes with an abbreviation's stop needs a pronoun after it to be told.
    if not text.endswith(("U.S.", "prof."))
]


@given(st.lists(st.sampled_from(SEPARATE), min_size=2, max_size=4))
def test_sentences_of_any_scripts_joined_by_a_space_are_a_paragraph(sentences: list[str]) -> None:
    assert route(" ".join(sentences)) is Granularity.PARAGRAPH


@given(st.sampled_from(MARKED_SENTENCES), st.sampled_from(['"{}"', "“{}”", "«{}»", "({})"]))
def test_quotes_around_a_sentence_change_nothing(sentence: str, quotes: str) -> None:
    assert route(quotes.format(sentence)) is Granularity.SENTENCE

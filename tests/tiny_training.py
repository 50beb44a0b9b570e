"""Tiny encoders of three families, a tiny corpus and tiny test sets, all written to disk here."""

from __future__ import annotations

import json
import lzma
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from training.corpora.rows import Row
from training.corpora.table import FORMAT_VERSION, REPORT_KEY, SCHEMA
from training.student.model import StudentConfig, StudentModel
from training.student.recipe import BackboneRecipe
from training.trainer import Corpus

LANGUAGES = ("de", "fr", "ja", "th", "ru", "ar", "hi", "ko", "zh", "tr")
_WORDS = {
    language: words
    for language, *words in map(
        str.split,
        """\
en red green blue small large old new quiet house river stone letter bridge garden
de rot grün blau klein groß alt neu still Haus Fluss Stein Brief Brücke Garten
fr rouge vert bleu petit grand vieux neuf calme maison fleuve pierre lettre pont
ja 赤い 緑 青い 小さな 大きな 古い 新しい 静か 家 川 石 手紙 橋 庭
th แดง เขียว น้ำเงิน เล็ก ใหญ่ เก่า ใหม่ เงียบ บ้าน แม่น้ำ หิน จดหมาย สะพาน สวน
ru красный зелёный синий малый большой старый новый тихий дом река камень письмо
ar أحمر أخضر أزرق صغير كبير قديم جديد هادئ بيت نهر حجر رسالة جسر حديقة
hi लाल हरा नीला छोटा बड़ा पुराना नया शांत घर नदी पत्थर पत्र पुल बगीचा
ko 빨간 초록 파란 작은 큰 오래된 새로운 조용한 집 강 돌 편지 다리 정원
zh 红 绿 蓝 小 大 旧 新 静 房子 河 石头 信 桥 花园
tr kırmızı yeşil mavi küçük büyük eski yeni sessiz ev nehir taş mektup köprü
""".splitlines(),
    )
}


def sentence(language: str, number: int, length: int) -> str:
    """A made-up text of `length` words; texts of one number are translations of each other."""
    words = _WORDS[language]
    return " ".join(
        words[(number * 7 + place * 5 + number // 3) % len(words)] for place in range(length)
    )


def translations() -> list[list[tuple[str, str]]]:
    """Words that mean the same, each with its language."""
    return [
        [(language, words[place]) for language, words in _WORDS.items() if place < len(words)]
        for place in range(max(map(len, _WORDS.values())))
    ]


def _all_texts() -> list[str]:
    return [sentence(language, number, 6) for language in _WORDS for number in range(60)]


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers whose tokens are the words and numbers of the tiny corpus.

    Not a trained vocabulary, which ties would make differ from one run to the next.
    """
    folder = tmp_path_factory.mktemp("tiny-bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words = {
        word
        for text in (*_all_texts(), *map(str, range(60)), ". ! ?")
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    }
    vocabulary = {token: place for place, token in enumerate([*special, *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=None, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def _pieces(size: int) -> list[tuple[str, float]]:
    """The special tokens and the most frequent parts of words, with their logarithms: the library's
    own trainer gives others each time."""
    words = Counter(f"▁{word}" for text in _all_texts() for word in text.split())
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for start, end in combinations(range(len(word) + 1), 2):
            counts[word[start:end]] += count
    ranked = sorted(counts, key=lambda piece: (len(piece) > 1, -counts[piece], piece))
    total = sum(counts.values())
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    chosen = ranked[: size - len(special)]
    return special + [(piece, math.log(counts[piece] / total)) for piece in chosen]


@pytest.fixture(scope="session")
def xlmr_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random XLM-R of two layers with a Unigram tokenizer, its padding token at row 1."""
    folder = tmp_path_factory.mktemp("tiny-xlmr")
    tokenizer = Tokenizer(models.Unigram(_pieces(300), unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair=None, special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", cls_token="<s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=66,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    XLMRobertaModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def student_folder(bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random student of two layers, with the tiny BERT's tokens."""
    folder = tmp_path_factory.mktemp("tiny-student")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(bert_folder)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = StudentModel(
        StudentConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
        )
    )
    for name, parameter in model.encoder.named_parameters():
        if name.endswith(("attention.output.weight", "dense.weight")):
            torch.nn.init.normal_(parameter, std=0.2)  # fresh, they are zero and add nothing
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def made_student_folder(student_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny student with the record that `polygrain-train backbone` would leave beside it."""
    folder = tmp_path_factory.mktemp("made") / "backbone"
    shutil.copytree(student_folder, folder)
    recipe = BackboneRecipe.model_validate(
        {
            "teacher": "none",
            "languages": ["en", "de"],
            "vocabulary": {"size": 300},
            "static": {"steps": 1, "batch_pairs": 2, "learning_rate": 0.1},
            "context": {
                "steps": 1,
                "batch_pairs": 2,
                "layers": 2,
                "heads": 4,
                "feed_forward": 64,
            },
        }
    )
    (folder / "run.json").write_text(json.dumps({"recipe": recipe.model_dump(mode="json")}))
    return folder


def write_xz(file: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write rows as a TSV file, xz-compressed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(file, "wt", encoding="utf-8", newline="\n") as out:
        out.writelines("\t".join(row) + "\n" for row in rows)


PAIRS_HEADER = ("source", "granularity", "id", "lang_a", "lang_b", "text_a", "text_b")


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 phrases, sentences and paragraphs in ten languages, aligned with English."""
    folder = tmp_path_factory.mktemp("corpus")
    write_xz(folder / "made.pairs.tsv.xz", [PAIRS_HEADER, *made_pairs("made")])
    return folder


def made_pairs(source: str) -> Iterator[tuple[str, ...]]:
    """Rows of 60 phrases, sentences and paragraphs in ten languages, aligned with English."""
    for granularity, length in (("phrase", 2), ("sentence", 6), ("paragraph", 20)):
        for language in LANGUAGES:
            for number in range(60):
                english = f"{sentence('en', number, length)} {number}"
                other = f"{sentence(language, number, length)} {number}"
                row = (source, granularity, f"{granularity}.{number}", "en", language)
                yield (*row, english, other)


@pytest.fixture(scope="session")
def entity_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus table of 60 entities in eleven languages, each a phrase, a sentence and a paragraph
    of three sentences. Every text ends in its number, in digits, and a name of its own."""
    rows = []
    for number in range(60):
        name = f"Z{chr(97 + number // 26)}{chr(97 + number % 26)}"
        for granularity, lengths in (("phrase", [2]), ("sentence", [6]), ("paragraph", [5, 6, 7])):
            for language in ("en", *LANGUAGES):
                parts = [
                    f"{sentence(language, number, length)} {number} {name}" for length in lengths
                ]
                text = ". ".join(parts) + "." * (len(parts) > 1)
                rows.append(Row(f"entity.{number}", "made", "CC0", granularity, language, text))
    return write_table(tmp_path_factory.mktemp("entities") / "corpus.parquet", rows)


def write_table(file: Path, rows: Sequence[Row]) -> Path:
    """Write rows, those of one alignment id together, as a corpus table that was never cleaned."""
    report = json.dumps({"format_version": FORMAT_VERSION})
    schema = SCHEMA.with_metadata({REPORT_KEY: report})
    pq.write_table(pa.Table.from_pylist([row._asdict() for row in rows], schema), file)
    return file


@pytest.fixture(scope="session")
def evaluation_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest folder of test sets: one pair, whose English is number 5 of the corpus."""
    folder = tmp_path_factory.mktemp("evaluation")
    planted = f"{sentence('en', 5, 6)} 5".upper() + "!"
    row = ("held-out", "sentence", "x.1", "en", "de", planted, "Nirgends sonst")
    write_xz(folder / "held_out.pairs.tsv.xz", [PAIRS_HEADER, row])
    return folder


@pytest.fixture(scope="session")
def corpus(corpus_folder: Path, evaluation_folder: Path) -> Corpus:
    """The tiny corpus, and the test sets to be kept out of it."""
    return Corpus(corpus_folder, evaluation_folder)


RecipeWriter = Callable[..., Path]


@pytest.fixture
def write_recipe(tmp_path: Path) -> RecipeWriter:
    """A function that writes a recipe of three tiny adapters for a backbone folder."""

    def write(backbone: Path, steps: int = 6, half_weights: bool = False) -> Path:
        text = f"""
backbone = "{backbone}"
half_weights = {str(half_weights).lower()}
reduction_factor = 4
languages = [{", ".join(f'"{language}"' for language in LANGUAGES)}]
"""
        for granularity, max_tokens in (("phrase", 16), ("sentence", 32), ("paragraph", 48)):
            text += f"""
[adapters.{granularity}]
granularity = "{granularity}"
max_tokens = {max_tokens}
steps = {steps}
batch_pairs = 16
learning_rate = 0.02
temperature = 0.05
"""
        file = tmp_path / "recipe.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write

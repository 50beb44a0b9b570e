"""Which adapter a text belongs to, told from its characters alone.

The classes are DESIGN.md's. A `phrase` is a name or term with no sentence in it, a `sentence` is
one sentence, a `paragraph` is more than one, or one that is too long for the sentence adapter. How
the decision is made, and how often it is right, is in docs/routing.md.
"""

from __future__ import annotations

import re
from enum import StrEnum

from models.bundle import Granularity
from service.errors import InvalidInput


class Script(StrEnum):
    """Scripts, grouped by what tells a sentence in them when no mark does."""

    ALPHABET = "alphabet"  # Latin, Cyrillic, Greek, Armenian, Georgian, and all not named below
    SEMITIC = "semitic"  # Arabic, Hebrew, Syriac, Thaana, N'Ko, Ethiopic: words, no capitals
    INDIC = "indic"  # Devanagari to Sinhala: words, no capitals, verb last
    HANGUL = "hangul"  # words, verb last
    KANA = "kana"  # Japanese: no spaces, verb last
    HAN = "han"  # Chinese: no spaces
    SOUTHEAST = "southeast"  # Thai, Lao, Khmer, Burmese: no spaces within a clause


# About 128 tokens, the sentence adapter's maximum, in characters. See docs/routing.md.
MAX_SENTENCE_CHARACTERS = {
    Script.ALPHABET: 450,
    Script.SEMITIC: 380,
    Script.INDIC: 400,
    Script.HANGUL: 240,
    Script.KANA: 220,
    Script.HAN: 200,
    Script.SOUTHEAST: 400,
}
_LONGEST = max(MAX_SENTENCE_CHARACTERS.values())

# The first character outside the alphabets, by the order of `_GROUPS`.
_SCRIPT = re.compile(
    "([\u0590-\u08ff\u1200-\u139f\ufb1d-\ufdff\ufe70-\ufefc])"
    "|([\u0900-\u0dff\ua8e0-\ua8ff])"
    "|([\u1100-\u11ff\u3130-\u318f\uac00-\ud7af])"
    "|([\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f])"
    "|([\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
    "|([\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\uaa60-\uaa7f])"
)
_GROUPS = (
    Script.ALPHABET,
    Script.SEMITIC,
    Script.INDIC,
    Script.HANGUL,
    Script.KANA,
    Script.HAN,
    Script.SOUTHEAST,
)
_KANA = re.compile("[\u3040-\u30ff\uff66-\uff9f]")
_HANGUL = re.compile("[\uac00-\ud7af]")
_LATIN = re.compile("[A-Za-z]")


def script_of(text: str) -> Script:
    """The group of the script that most of `text` is written in; ALPHABET where in doubt."""
    if text.isascii() or not (found := _SCRIPT.search(text)):
        return Script.ALPHABET
    script = _GROUPS[found.lastindex or 0]
    # A quoted word does not make the text around it Chinese: a Latin word has about four letters
    # for each character of an unspaced script.
    if text[0].isascii() and len(_LATIN.findall(text)) > 4 * len(_SCRIPT.findall(text)):
        return Script.ALPHABET
    if script is Script.HAN:
        if _KANA.search(text):
            return Script.KANA
        if _HANGUL.search(text):
            return Script.HANGUL
    return script


# Marks that end a sentence whatever follows: Unicode's Sentence_Terminal, less full stop and
# ellipsis (both doubtful, below) and Burmese U+104A, which is used as a comma.
_ALWAYS_FINAL = frozenset(
    "!?\u0589\u061d\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965"
    "\u0df4\u0f0d\u0f0e\u104b\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944"
    "\u1945\u1aa8\u1aa9\u1aaa\u1aab\u1b5a\u1b5b\u1b5e\u1b5f\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047"
    "\u2048\u2049\u2e2e\u2e3c\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8"
    "\ua9c9\uaa5d\uaa5e\uaa5f\uaaf0\uaaf1\uabeb\ufe52\ufe56\ufe57\uff01\uff0e\uff1f\uff61"
)


def _words(table: str) -> frozenset[str]:
    return frozenset(table.split())


def _endings(table: str) -> tuple[str, ...]:
    # "|" stands between endings, so that one may start with a space and be a word of its own.
    return tuple(table.split("|"))


# Full stops that end no sentence: what follows completes them. Lower case, without the last stop.
_TITLES = _words("""
    mr mrs ms messrs dr drs prof st sts ste ft mt rev hon gen col maj sgt lt cpt capt cmdr adm
    gov rep pres supt insp vs viz cf cca approx vol vols eds op figs eq pp pg nos esp hr fr
    frl dipl ing bzw bzgl ca evtl ggf inkl exkl engl frz russ urspr geb gest sog vgl mme mlle
    m sr sra srta ud uds vds exmo exma dª dña av avda apdo rte pza sig sigg dott dssa avv geom
    prof.ssa egr gent spett dhr mevr mw dra drg ir bpk sdr jl kab prov doc mgr mudr judr bc
    phdr rndr csc ul tzv tzn např apod resp mj hl inż dyr im św ks abp bp tzw np m.in zob por
    łac tel mob núm num nº n° s p pág págs им ул д стр см ср проф акад св гр тов р рр тыс млн
    млрд напр греч лат англ нем франц яп вул обл т вид км см дол грн чл инж арх αγ κ κα δρ καθ
    αρ σελ πχ τηλ οδ د أ م ا ص ج ق هـ دكتور ר׳ ד״ר פרופ רח עמ מס सुश्री डॉ प्रो श्री श्रीमती
    कृ पं सं रु क्र ডা ড মো dz t pn bknz sn av alb doç yrd feb febr apr jun jul aug sep oct
    nov dec okt dez
    """)
# These close a clause as often as not: a new sentence only where its first word says so.
_TAILS = _words("""
    etc inc ltd co corp llc plc jr sr esq al ibid usw usf enz itd itp atd ect kk oyj oy ab as
    gmbh ag bhd pte pty srl spa cía hnos bros ave blvd rd sq bldg dept univ assn est dst dll
    tbk ltda г гг mm т.д т.п др пр і.н ін гг тд тп vb vs κλπ κτλ
    """)
# These lead to a number.
_NUMBERED = _words("no nr art fig núm num ch sec vol p pp st abs kap tab pos")
# German, Czech, Finnish and others write ordinals with a full stop: what stands before such a
# number where the stop is no end.
_BEFORE_ORDINAL = _words("""
    am im der die das des dem den vom zum zur bis seit ab und oder beim jeder jeden ein eine
    einen seinen ihren seine ihre dieser diesem kaiser könig papst den d dne od do ze v na w
    dnia a az kl ca op på til fra i ii iii
    """)

# Words that stand in sentences far more often than in names and terms: pronouns, copulas,
# auxiliaries, negations, question words, complementisers. Chosen on the training part (ten times
# as frequent in its sentences as in phrases of any language), then read by hand for content words.
_CUE_WORDS = _words("""
    you to is I that my was this have don't are we he it what me your she his i'm want
    know think did has be they
    je vous pas tu que ne ce est nous suis elle j'ai c'est ça sont tout avez ils
    qu'il te été mon
     es él qué está mi ella esta estoy si eso fue yo muy
    è non ha sono io ho questo perché lei mio suo era mia lui sta ci siete
    eu você é não ele isso muito ela meu foi vocês estava os nós estou seu tem minha
    să este nu am că asta ea fost sunt mai ai mă bine au va trebuie dacă
    ich bin bist ist sie nicht ein er wir hat habe dass mir war haben ihr sind sich wie mich eine
    kann wenn
    ik het hij dat niet heb heeft zijn ben mijn wat dit kan hebben wil jullie hem waar
    deze
    jag är det att inte har var han här mig vi dig vad hur hon kommer skulle ska vill så ni
    måste
     hän että oli ei ole minä olen mitä hänen sinä tämä ovat niin minun sinun minulle onko
    sen kun ollut nyt kuin sitä minua olet minulla
    ma see kas ta oma mind ära mida seda mul mina midagi siin sulle mulle minu kui
    hogy nem ez meg volt azt vagyok ezt ki én nekem már még nagyon miért tudom csak
    olyan amit 
    bir bu bunu daha için neden onu çok kadar bana değil onun şey olduğunu mı her benim
    musun biz nasıl sana
    že jsem co jsi mě byl jsme jak proč měl by jsou bych ještě ti když aby tohle kdo není
    nikdo být
    nie jest że się czy mnie tego jestem był są mam jesteś tym ona żeby być będzie może mogę
    kiedy
    aku saya dia ini itu tidak kamu apa akan kami kau kita ingin adalah bisa tahu pernah
    mereka sudah mau apakah
    tôi bạn là ấy không đã chúng sẽ này gì muốn đó nó mình cô cậu nói nào khi
    nina ana tuna mna wana mimi wewe yeye sisi wao alikuwa walikuwa ilikuwa kwamba hii hiyo
    huyu huo lakini ili nini nani hakuna
    я не что ты это вы мне мы он как меня бы то она тебе нам был чтобы почему вам всё его
    так когда её нужно очень кто ещё
    це ти мені ми він ви мене тобі вона вони сказав як чому щоб був дуже його ще цього коли
    все хто має вже
    да е ли че това си трябва мисля той го съм те какво беше може аз тя няма нещо има са
    му толкова ме
    να ο είναι θα μου δεν ότι δε αυτό σου σας τι ήταν είστε είμαι ένα μια έχει είσαι αρέσει
    μας πολύ μπορώ
    է ր ինձ ք նրանք նրան էր մեզ ինչ սա դա ես եմ ոք նա մենք թողեք եք եղեք
    მე არის შენ არ ვარ ჩემი ჩვენ ეს უფრო არიან ის ხარ რომ ნუ იყოს ვინ ჯერ ხართ შენს უნდა
    كان أن هذا هل لم أنا لا ما كانت هذه ذلك هو هي لقد أنت هنا يكن أين هناك كنت أريد
    می او است که این نمی بود کرد آن کنم دارد تو هستند شما چیزی کند شد باید نیست کنی اگر آنها
    ہے ہیں اس کہ یہ کیا ایک ہو وہ سکتا بھی
    את אני זה הוא לא לי אתה היא מה רוצה היה לך הם יכול שלי יש לעשות שלך צריך הזה אנו הייתי
    יודע כך אינני אותי
    है मैं हैं वह हूँ क्या हो तुम मुझे नहीं था यह आप कर मेरे गया थी उसने हम तुम्हें मेरी तो
    उसे ही
    আমি আমার না কি আমরা চাই আমাকে যে আপনার তুমি আর আপনি মনে বলতে কে সে ফিরে উনি আমাদের হয়
    나는 있어 난 그는 내가 있다 내 네가 있어요 너무 우리는 할 왜 없어 싶어요 너 못
    많이 것이다 걸 거야 같아
    """)
# What starts a sentence after an abbreviation's stop. Articles stand in names too, so they are no
# cue on their own.
_STARTERS = _CUE_WORDS | _words(
    "i the this these those there but and der das die ein eine aber le la les il elle un une el los"
    " las lo gli o a os as het een de en ten ta to этот эта это но а і та"
)
# Verb endings that close a sentence, in languages that put the verb last, and Turkish.
_CUE_ENDINGS = {
    Script.ALPHABET: _endings(
        "yor|yorum|yorsun|yoruz|yorlar|acak|ecek|acağım|eceğim|değil|mıştı|mişti|"
        "muştu|mısın|misin|musun|müsün|tır|tir|dılar|diler|dular|düler|է|եմ|են|ես|եք|"
        "էր|էի"
    ),
    Script.SEMITIC: _endings(
        " است| نیست| کرد| کنم| کند| شد| بود| دارم| دارد| ہے| ہیں| تھا| تھی| گا| گی|"
        " گیا| گئی| تھے| ہوں| ہو"
    ),
    Script.INDIC: _endings(
        " है| हैं| था| थी| थे| हूँ| हूं| हो| गया| गई| गए| दो| दिया| लिया| किया|ेगा|"
        "ेगी|ेंगे|ूँगा|ूंगा| आहे| आहेत| होता| होती| নেই|েছে|েছি|েছেন|ছিল|ছিলাম|ছিলেন|"
        "লাম|লেন|বেন|ছেন|ছে|ছি| হয়|বে| না| छ| छन्|ந்தது|கிறது|ார்கள்|ார்|ேன்"
    ),
    Script.HANGUL: _endings("다|요|까|야|죠|해|돼|네|니|어|아라|어라|시오|거든|잖아|구나|는데"),
    Script.KANA: _endings(
        "た|だ|です|ます|ません|せん|よ|ね|か|な|る|う|い|んだ|のだ|かな|わ|ぞ|ぜ|"
        "のか|ください|て|くれ|ろ"
    ),
    Script.HAN: _endings("了|吗|嗎|吧|呢|啊|呀|啦|么|麼"),
    Script.SOUTHEAST: _endings(
        "แล้ว|ไหม|ครับ|ค่ะ|คะ|อยู่|ไร|นะ|ด้วย|มั้ย|หรือ|เลย|ไหน|ແລ້ວ|ບໍ່|ຢູ່|ຫຍັງ|"
        "ហើយ|ទេ|ទេឬ|ដែរ|သည်|တယ်|မယ်|လား|ဘူး|ပါ|နော်|လဲ|ပြီ"
    ),
}
# The same as `_CUE_WORDS` for scripts that write no spaces: matched anywhere in the text.
_CUE_CHUNKS = {
    Script.KANA: re.compile(
        "は|を|が|って|です|ます|ました|ません|でした|だった|ない|なかった|たい|から|けど|[私彼僕]|"
        "あなた|これ|それ|ここ|何|誰|どこ|いつ|なぜ|こと|もう|とても|、"
    ),
    Script.HAN: re.compile(
        "[我你您他她它们們这這那了吗嗎吧呢么麼是在没沒很都就也还還说說想让讓谁誰把被给給为為，]|不[要会會能是想知]|"
        "可以|知道|喜欢|喜歡|已经|已經|正在|因为|因為|所以|但是|如果|什么|什麼"
    ),
    Script.SOUTHEAST: re.compile(
        "ฉัน|เขา|เธอ|คุณ|พวก|เรา|มัน|ท่าน|ใคร|อะไร|ทำไม|ไหน|เท่าไร|เท่าไหร่|เมื่อ|อย่างไร|ใด|กี่|ไหม|จะ|"
        "เป็น|อยู่|นั้น|นี้|คือ|ถูก|ต้อง|อยาก|ครับ|ค่ะ|เพราะ|ถ้า|แต่|ว่า|ควร|ไม่|แล้ว|ไป|พูด|บอก|ตอบ|เห็น|รู้|คิด|"
        "ชอบ|ซื้อ|กิน|ขึ้น|ลง|เข้า|ออก|ตก|เสีย|พบ|เจอ|ร้องไห้|หัวเราะ|นอน|นั่ง|ตื่น|ตาย|แตก|หัก|หมด|เปิด|ขับ|"
        "เด็ก|ผู้หญิง|ผู้ชาย|แม่|พ่อ|เพื่อน|"
        "ຂ້ອຍ|ເຈົ້າ|ເຂົາ|ລາວ|ທ່ານ|ພວກ|ຈະ|ໄດ້|ບໍ່|ແມ່ນ|ແລ້ວ|ຢູ່|"
        "ខ្ញុំ|គាត់|អ្នក|ពួក|យើង|នាង|វា|បាន|នឹង|មិន|កំពុង|ត្រូវ|តើ|ហើយ|គឺ|"
        "ကျွန်|သူ|ငါ|မင်း|ခဲ့|တယ်|မယ်|ဘူး|သည်|လား|နေ|ရှိ"
    ),
}

# --- the end of a sentence inside a text, and at its end ------------------------------------------

_MARKS = re.compile("[" + re.escape("".join(sorted(_ALWAYS_FINAL))) + ".…]+")
_GAP = re.compile(r"\W*")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_LAST_TOKEN = re.compile(r"\S*$")
_WIDE = frozenset("。！？｡")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef]")
_CAPLESS = re.compile(
    "[\u05d0-\u05ea\u0620-\u064a\u0671-\u06d3\u0900-\u0dff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)
_CLOSING = frozenset("\"'»”’›)]}」』）】〉》〕")
# 「…。」と and “……。”他说: what was quoted goes on.
_GOES_ON = re.compile("[とっていはがもをにのなでや、，：]|[^。！？，]{0,6}[说說问問道喊叫答笑]")
_INDIC_PIPE = re.compile("(?<=[\u0900-\u0dff])\\s?\\|+")
_GREEK_QUESTION = re.compile("(?<=[\u0370-\u03ff\u1f00-\u1fff]);")
_ARMENIAN_STOP = re.compile("(?<=[\u055a-\u0587»]):(?!\\w)")
_TOKEN_EDGE = "\"'«»“”„‘’‚‹›()[]{}¿¡—–-/"


def _with_plain_marks(text: str) -> str:
    """`text` with the marks that end a sentence in one script only made those that always do."""
    if "|" in text:
        text = _INDIC_PIPE.sub("।", text)
    if ";" in text:
        text = _GREEK_QUESTION.sub("?", text)
    if ":" in text:
        text = _ARMENIAN_STOP.sub("։", text)
    return text


def _token_before(text: str, stop: int) -> str:
    """The word that the full stop at `stop` closes, in lower case, without quotes and brackets."""
    # Words are short: looking further back than this only costs time.
    found = _LAST_TOKEN.search(text, max(0, stop - 40), stop)
    return found.group().strip(_TOKEN_EDGE).lower() if found else ""


def _is_abbreviation(token: str) -> bool:
    """Whether a full stop after `token` (lower case) belongs to the word, not to the sentence."""
    if token in _TITLES or token in _TAILS:
        return True
    # An initial, of an alphabet: one letter. U.S, z.B, т.е: letters with stops between.
    if len(token) == 1:
        return token.isalpha() and not _SCRIPT.match(token)
    return (
        len(token) <= 9
        and "." in token
        and all(len(p) <= 3 for p in token.split("."))
        and (token.replace(".", "").isalpha())
    )


def _is_final_abbreviation(text: str, stop: int) -> bool:
    """Whether the full stop that closes `text` may be an abbreviation's alone."""
    token = _token_before(text, stop)
    # A title closes a text only where it is the whole of it.
    return _is_abbreviation(token) and (token not in _TITLES or len(token) >= stop)


def _is_small(letter: str) -> bool:
    """Whether `letter` is lower case where its script starts sentences with capitals."""
    # Georgian has capitals in Unicode, for headlines only.
    return letter.islower() and not "\u10d0" <= letter <= "\u10ff"


def _stop_divides(text: str, stop: int, following: int) -> bool:
    """Whether the full stop at `stop` ends a sentence, given that the text goes on there."""
    token = _token_before(text, stop)
    if not token:
        return False
    first = text[following]
    if _is_small(first) and not text.islower():
        return False
    found = _WORD.match(text, following)
    starts_sentence = found is not None and found.group().lower() in _STARTERS
    if token.isdigit():
        if len(token) > 2:
            return not first.isdigit() and not _is_small(first)
        # "1. Januar", "2. Bundesliga", a numbered item.
        before = _token_before(text, stop - len(token) - 1) if stop > len(token) else ""
        if not before or before in _BEFORE_ORDINAL or before.isdigit() or _is_small(first):
            return False
        return starts_sentence or text.isascii()
    if token in _NUMBERED and first.isdigit():
        return False
    if _is_abbreviation(token):
        return starts_sentence and token not in _TITLES and len(token) > 1
    return True


def _divides(text: str, found: re.Match[str], gap: str, following: int) -> bool:
    """Whether the marks `found` end a sentence and another one starts at `following`."""
    mark, first = found.group(), text[following]
    quoted = gap[:1] in _CLOSING
    spaced = any(character.isspace() for character in gap)
    last = mark[-1]
    if last in _WIDE or (last in "!?" and _UNSPACED.match(first)):
        return not (quoted and _GOES_ON.match(text, following)) and gap[:1] not in ("、", "，")
    if mark.strip(".…"):
        if mark.isascii() and not spaced:
            return False
        if _is_small(first):
            return not quoted and (text.islower() or "¿" in gap or "¡" in gap)
        return gap[:1] != ")" and gap[:1] not in (",", "،")
    if "…" in mark or len(mark) > 1:
        if _is_small(first) or not spaced:
            return False
        return len(text[: found.start()].split()) > 2
    if not spaced:
        before = text[found.start() - 1 : found.start()]
        # "Node.js", "3.14" go on; a stop between two letters that know no capitals does not.
        return bool(_CAPLESS.match(before) and _CAPLESS.match(first))
    return _stop_divides(text, found.start(), following)


def _boundary(text: str) -> int:
    """Where the second sentence of `text` starts; -1 where there is none."""
    for found in _MARKS.finditer(text):
        after = _GAP.match(text, found.end())
        following = after.end() if after else len(text)
        if following >= len(text):
            return -1
        if _divides(text, found, text[found.end() : following], following):
            return following
    return -1


def _ends_sentence(text: str) -> bool:
    """Whether `text` closes with a mark that ends a sentence, not with an abbreviation's stop."""
    end = len(text) - 1
    while end >= 0 and not text[end].isalnum():
        mark = text[end]
        if mark in _ALWAYS_FINAL:
            return True
        if mark == "…":
            return False
        if mark == ".":
            # An ellipsis leaves the question open.
            return text[end - 1 : end] != "." and not _is_final_abbreviation(text, end)
        end -= 1
    return False


# --- a text without a final mark ------------------------------------------------------------------

# Thai makes nouns with these, and names of things start with them.
_NOUN_START = re.compile(
    "การ|ความ|ภาษา|ประเทศ|เครื่อง|ร้าน|หมู่เกาะ|เกาะ|ธง|โรง|สถานี|สาธารณ|รูป|สี|ปุ่ม|ลูกศร|นัก|ทาง|ที่|ตัว|โรค|"
    "เมือง|จังหวัด|แม่น้ำ|ทะเล|หน้า|ใบหน้า|แบบ|ชุด|อักษร|เวลา|มือ|ระบบ|สัญลักษณ์|เครือ|อาคาร|พื้นที่|สนาม|ศูนย์"
)
_LENGTH_BUCKETS = (1, 2, 3, 4, 5, 6, 8, 11, 15)
_UNSPACED_BUCKETS = {
    Script.KANA: (3, 5, 7, 9, 12, 16, 22),
    Script.HAN: (2, 3, 4, 5, 6, 8, 11, 16),
    Script.SOUTHEAST: (6, 10, 14, 18, 24, 32, 48, 72, 100),
}


def _bucket_names(bounds: tuple[int, ...], unit: str) -> tuple[str, ...]:
    """The feature of each count up to the last bound, by index; the last stands for all above."""
    names: list[str] = []
    lower = -1
    for bound in bounds:
        names += [f"{unit}<={bound}"] * (bound - lower)
        lower = bound
    return (*names, f"{unit}>{bounds[-1]}")


_WORDS = _bucket_names(_LENGTH_BUCKETS, "words")
_CHARACTERS = {
    script: _bucket_names(bounds, "characters") for script, bounds in _UNSPACED_BUCKETS.items()
}
_CUES = ("cues=0", "cues=1", "cues=2", "cues=3", "cues=4", "cues>4")
_TRIM = " \t\n\"'«»“”„‘’()[]{}.,;:!?…*_-–—।、。"


def features(text: str, script: Script) -> list[str]:
    """What a text without a final mark shows for and against being a sentence, by name."""
    bare = text.strip(_TRIM) or text
    shown: list[str] = []
    if chunks := _CUE_CHUNKS.get(script):
        names = _CHARACTERS[script]
        shown.append(names[min(len(bare), len(names) - 1)])
        shown.append(_CUES[min(len(set(chunks.findall(bare))), 5)])
        if " " in bare:
            shown.append("space")
        if script is Script.SOUTHEAST and _NOUN_START.match(bare):
            shown.append("noun")
    else:
        words = bare.split()
        shown.append(_WORDS[min(len(words), len(_WORDS) - 1)])
        spoken = bare.lower().replace(",", "").split()
        cues = sum(word in _CUE_WORDS for word in spoken) + ("I" in words)
        shown.append(_CUES[min(cues, 5)])
        if script is Script.ALPHABET and len(words) > 1 and not any(w[0].islower() for w in words):
            shown.append("title case")
        if "," in bare or "،" in bare:
            shown.append("comma")
    if (endings := _CUE_ENDINGS.get(script)) and bare.lower().endswith(endings):
        shown.append("ending")
    # Names list what they hold; in a long text these marks say nothing.
    if len(bare) <= 60 and any(mark in bare for mark in "(:/（："):
        shown.append("bracket, colon or slash")
    if any(character.isdigit() for character in bare):
        shown.append("digit")
    return shown


# Log-odds for a sentence against a phrase; `python -m benchmarks.router --fit` prints them.
_WEIGHTS: dict[Script, dict[str, float]] = {
    Script.ALPHABET: {
        "bias": 3.31,
        "bracket, colon or slash": -4.54,
        "comma": 1.81,
        "cues=0": -3.31,
        "cues=1": 0.7,
        "cues=2": 2.25,
        "cues=3": 1.83,
        "cues=4": 1.25,
        "cues>4": 0.59,
        "digit": 0.09,
        "ending": 3.41,
        "title case": -3.56,
        "words<=1": -5.86,
        "words<=11": 1.96,
        "words<=15": 3.33,
        "words<=2": -2.74,
        "words<=3": -1.51,
        "words<=4": -0.87,
        "words<=5": -0.0,
        "words<=6": 0.42,
        "words<=8": 0.82,
        "words>15": 7.76,
    },
    Script.SEMITIC: {
        "bias": 2.37,
        "bracket, colon or slash": -3.42,
        "comma": 1.31,
        "cues=0": -2.74,
        "cues=1": 1.49,
        "cues=2": 2.06,
        "cues=3": 0.97,
        "cues=4": 0.45,
        "cues>4": 0.15,
        "digit": 0.06,
        "ending": 0.75,
        "words<=1": -5.14,
        "words<=11": 2.27,
        "words<=15": 2.83,
        "words<=2": -2.85,
        "words<=3": -1.21,
        "words<=4": -0.17,
        "words<=5": 0.54,
        "words<=6": 0.84,
        "words<=8": 1.61,
        "words>15": 3.65,
    },
    Script.INDIC: {
        "bias": 1.05,
        "bracket, colon or slash": -2.15,
        "comma": 0.13,
        "cues=0": -2.5,
        "cues=1": 0.36,
        "cues=2": 1.79,
        "cues=3": 0.93,
        "cues=4": 0.34,
        "cues>4": 0.12,
        "digit": 0.95,
        "ending": 2.79,
        "words<=1": -3.63,
        "words<=11": 1.85,
        "words<=15": 2.05,
        "words<=2": -2.1,
        "words<=3": -1.45,
        "words<=4": -0.53,
        "words<=5": 0.39,
        "words<=6": 0.29,
        "words<=8": 0.88,
        "words>15": 3.31,
    },
    Script.HANGUL: {
        "bias": 0.66,
        "bracket, colon or slash": -2.83,
        "comma": 1.65,
        "cues=0": -2.2,
        "cues=1": 2.11,
        "cues=2": 0.53,
        "cues=3": 0.22,
        "cues=4": 0.01,
        "digit": 0.64,
        "ending": 3.27,
        "words<=1": -4.29,
        "words<=11": 0.89,
        "words<=15": 0.18,
        "words<=2": -1.84,
        "words<=3": 0.15,
        "words<=4": 0.97,
        "words<=5": 1.56,
        "words<=6": 1.5,
        "words<=8": 1.5,
        "words>15": 0.04,
    },
    Script.KANA: {
        "bias": -0.26,
        "bracket, colon or slash": -2.0,
        "characters<=12": 0.56,
        "characters<=16": 1.3,
        "characters<=22": 1.83,
        "characters<=3": -2.39,
        "characters<=5": -2.36,
        "characters<=7": -0.89,
        "characters<=9": 0.27,
        "characters>22": 1.42,
        "cues=0": -4.09,
        "cues=1": -0.67,
        "cues=2": 1.39,
        "cues=3": 1.49,
        "cues=4": 0.78,
        "cues>4": 0.84,
        "digit": 0.37,
        "ending": 4.56,
        "space": -0.96,
    },
    Script.HAN: {
        "bias": 2.11,
        "bracket, colon or slash": -9.02,
        "characters<=11": 0.56,
        "characters<=16": 1.24,
        "characters<=2": 0.37,
        "characters<=3": -3.54,
        "characters<=4": -2.77,
        "characters<=5": 1.84,
        "characters<=6": -1.02,
        "characters<=8": -0.25,
        "characters>16": 5.68,
        "cues=0": -4.04,
        "cues=1": -1.45,
        "cues=2": 2.21,
        "cues=3": 2.3,
        "cues=4": 1.75,
        "cues>4": 1.34,
        "digit": -0.06,
        "ending": 1.19,
        "space": 0.43,
    },
    Script.SOUTHEAST: {
        "bias": 1.87,
        "bracket, colon or slash": -2.28,
        "characters<=10": -1.05,
        "characters<=100": 0.06,
        "characters<=14": -0.35,
        "characters<=18": 0.27,
        "characters<=24": 1.0,
        "characters<=32": 1.14,
        "characters<=48": 2.12,
        "characters<=6": -1.56,
        "characters<=72": 0.1,
        "characters>100": 0.13,
        "cues=0": -2.92,
        "cues=1": -0.11,
        "cues=2": 1.67,
        "cues=3": 1.66,
        "cues=4": 0.89,
        "cues>4": 0.69,
        "digit": 0.38,
        "ending": 0.44,
        "noun": -1.61,
        "space": -1.37,
    },
}


def _is_sentence_without_mark(text: str, script: Script) -> bool:
    weights = _WEIGHTS[script]
    score = weights["bias"]
    for name in features(text, script):
        score += weights.get(name, 0.0)
    return score > 0


# --- Thai and Lao: more than one sentence, without a mark -----------------------------------------

_MARKLESS = re.compile("[\u0e00-\u0eff]")
_CLAUSE_BUCKETS = (40, 60, 80, 100, 120, 150, 180, 220)
_PAUSE_BUCKETS = (0, 1, 2, 3, 4, 6, 9)
# A space beside a digit, a Latin word or the repetition mark is spelling, not a pause.
_PAUSE = re.compile("(?<=[\u0e00-\u0eff]) +(?=[\u0e00-\u0e45\u0e80-\u0ec5])")
_CLAUSE_START = re.compile(
    " (?:ฉัน|ผม|เขา|เธอ|คุณ|พวก|เรา|มัน|แต่|และ|ถ้า|หาก|โดย|เมื่อ|ดังนั้น|นอกจาก|อย่างไรก็|นี่|"
    "ຂ້ອຍ|ເຈົ້າ|ເຂົາ|ລາວ|ທ່ານ|ພວກ|ແຕ່|ຖ້າ)"
)
_TEXT_LENGTHS = _bucket_names(_CLAUSE_BUCKETS, "characters")
_PAUSE_NAMES = _bucket_names(_PAUSE_BUCKETS, "pauses")
_STARTS = ("starts=0", "starts=1", "starts=2", "starts>2")


def several_features(text: str) -> list[str]:
    """What a Thai or Lao text shows for being more than one sentence, by name."""
    starts = len(_CLAUSE_START.findall(text))
    pauses = len(_PAUSE.findall(text))
    shown = [
        _TEXT_LENGTHS[min(len(text), len(_TEXT_LENGTHS) - 1)],
        _PAUSE_NAMES[min(pauses, len(_PAUSE_NAMES) - 1)],
        _STARTS[min(starts, 3)],
    ]
    if "แล้ว " in text or "ครับ " in text or "ค่ะ " in text:
        shown.append("particle before a space")
    return shown


# Log-odds for more than one sentence against one; printed by the same command.
_SEVERAL_WEIGHTS: dict[str, float] = {
    "bias": 3.04,
    "characters<=100": 1.4,
    "characters<=120": -0.27,
    "characters<=150": 0.62,
    "characters<=180": 0.65,
    "characters<=220": 0.63,
    "characters<=40": -2.14,
    "characters<=60": 0.65,
    "characters<=80": 0.96,
    "characters>220": 0.54,
    "particle before a space": 0.4,
    "pauses<=0": -3.06,
    "pauses<=1": 1.86,
    "pauses<=2": 1.87,
    "pauses<=3": 1.33,
    "pauses<=4": 0.55,
    "pauses<=6": 0.25,
    "pauses<=9": 0.19,
    "pauses>9": 0.04,
    "starts=0": -1.03,
    "starts=1": 3.2,
    "starts=2": 0.35,
    "starts>2": 0.52,
}


def _is_several_without_mark(text: str) -> bool:
    score = _SEVERAL_WEIGHTS["bias"]
    for name in several_features(text):
        score += _SEVERAL_WEIGHTS.get(name, 0.0)
    return score > 0


# --- the decision ---------------------------------------------------------------------------------

_ITEM = re.compile(r"(?:[-*•‣◦▪·–—]|\(?\w{1,3}[.)])\s+\S")
_BLANK_LINE = re.compile(r"\n\s*\n")


def _is_list(lines: list[str]) -> bool:
    """Whether lines of text stand apart, rather than being one text that was wrapped."""
    if sum(bool(_ITEM.match(line)) for line in lines) > 1 or len(lines) > 2:
        # A wrapped text fills its lines: all but the last are about as long as the longest.
        longest = max(map(len, lines))
        wrapped = longest > 40 and all(2 * len(line) > longest for line in lines[:-1])
        return not wrapped or any(_ITEM.match(line) for line in lines[1:])
    return False


def route(text: str) -> Granularity:
    """The granularity of `text`: PHRASE, SENTENCE or PARAGRAPH, by its characters alone.

    Pure and quick (some microseconds for a short text). Raises InvalidInput where `text` is empty
    or white space only.
    """
    text = text.strip()
    if not text:
        raise InvalidInput(
            "text is empty or white space only; give at least one character that is not a space"
        )
    if len(text) > _LONGEST:
        return Granularity.PARAGRAPH
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        if _BLANK_LINE.search(text) or _is_list(lines):
            return Granularity.PARAGRAPH
        text = " ".join(lines)
    script = script_of(text)
    if len(text) > MAX_SENTENCE_CHARACTERS[script]:
        return Granularity.PARAGRAPH
    if not text.isascii():
        text = _with_plain_marks(text)
    ends = _ends_sentence(text)
    second = _boundary(text)
    if second >= 0 and (
        ends
        or _is_sentence_without_mark(text[:second], script)
        or _is_sentence_without_mark(text[second:], script)
    ):
        return Granularity.PARAGRAPH
    if not ends and not _is_sentence_without_mark(text, script):
        return Granularity.PHRASE
    # Whatever mark is at its end, one between two sentences of Thai or Lao is rare.
    if script is Script.SOUTHEAST and _MARKLESS.search(text) and _is_several_without_mark(text):
        return Granularity.PARAGRAPH
    return Granularity.SENTENCE

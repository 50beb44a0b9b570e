"""What a full stop ends: a sentence, or only the abbreviation, initial or number before it."""

from __future__ import annotations

import re

from service.encoding.routing.cues import CUE_WORDS, words
from service.encoding.routing.scripts import Script, is_small, script_of

# Full stops that end no sentence: what follows completes them. Lower case, without the last stop.
_TITLES = words("""
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
_TAILS = words("""
    etc inc ltd co corp llc plc jr sr esq al ibid usw usf enz itd itp atd ect kk oyj oy ab as
    gmbh ag bhd pte pty srl spa cía hnos bros ave blvd rd sq bldg dept univ assn est dst dll
    tbk ltda г гг mm т.д т.п др пр і.н ін гг тд тп vb vs κλπ κτλ
    """)
# These lead to a number.
_NUMBERED = words("no nr art fig núm num ch sec vol p pp st abs kap tab pos")
# German, Czech, Finnish and others write ordinals with a full stop: what stands before such a
# number where the stop is no end.
_BEFORE_ORDINAL = words("""
    am im der die das des dem den vom zum zur bis seit ab und oder beim jeder jeden ein eine
    einen seinen ihren seine ihre dieser diesem kaiser könig papst den d dne od do ze v na w
    dnia a az kl ca op på til fra i ii iii
    """)
# What starts a sentence after an abbreviation's stop. Articles stand in names too, so they are no
# cue on their own.
_STARTERS = CUE_WORDS | words("""
    i the this these those there but and der das die ein eine aber le la les il elle un une el los
    las lo gli o a os as het een de en ten ta to этот эта это но а і та
    """)

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_LAST_TOKEN = re.compile(r"\S*$")
_TOKEN_EDGE = "\"'«»“”„‘’‚‹›()[]{}¿¡—–-/"


def stop_divides(text: str, stop: int, following: int) -> bool:
    """Whether the full stop at `stop` ends a sentence, given that the text goes on there."""
    token = _token_before(text, stop)
    if not token:
        return False
    first = text[following]
    if is_small(first) and not text.islower():
        return False
    found = _WORD.match(text, following)
    starts_sentence = found is not None and found.group().lower() in _STARTERS
    if token.isdigit():
        if len(token) > 2:
            return not first.isdigit() and not is_small(first)
        # "1. Januar", "2. Bundesliga", a numbered item.
        before = _token_before(text, stop - len(token) - 1) if stop > len(token) else ""
        if not before or before in _BEFORE_ORDINAL or before.isdigit() or is_small(first):
            return False
        return starts_sentence or text.isascii()
    if token in _NUMBERED and first.isdigit():
        return False
    if _is_abbreviation(token):
        return starts_sentence and token not in _TITLES and len(token) > 1
    return True


def is_final_abbreviation(text: str, stop: int) -> bool:
    """Whether the full stop that closes `text` may be an abbreviation's alone."""
    token = _token_before(text, stop)
    # A title closes a text only where it is the whole of it.
    return _is_abbreviation(token) and (token not in _TITLES or len(token) >= stop)


def _is_abbreviation(token: str) -> bool:
    """Whether a full stop after `token` (lower case) belongs to the word, not to the sentence."""
    if token in _TITLES or token in _TAILS:
        return True
    # An initial, of an alphabet: one letter. U.S, z.B, т.е: letters with stops between.
    if len(token) == 1:
        return token.isalpha() and script_of(token) is Script.ALPHABET
    return (
        len(token) <= 9
        and "." in token
        and all(len(p) <= 3 for p in token.split("."))
        and (token.replace(".", "").isalpha())
    )


def _token_before(text: str, stop: int) -> str:
    """The word that the full stop at `stop` closes, in lower case, without quotes and brackets."""
    # Words are short: looking further back than this only costs time.
    found = _LAST_TOKEN.search(text, max(0, stop - 40), stop)
    return found.group().strip(_TOKEN_EDGE).lower() if found else ""

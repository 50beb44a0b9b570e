"""Words and verb endings that stand in sentences far more often than in names and terms."""

from __future__ import annotations

import re

from service.encoding.routing.scripts import Script


def words(table: str) -> frozenset[str]:
    """The words of `table`, which white space parts."""
    return frozenset(table.split())


def _endings(table: str) -> tuple[str, ...]:
    # "|" stands between endings, so that one may start with a space and be a word of its own.
    return tuple(table.split("|"))


# Words that stand in sentences far more often than in names and terms: pronouns, copulas,
# auxiliaries, negations, question words, complementisers. Chosen on the training part (ten times
# as frequent in its sentences as in phrases of any language), then read by hand for content words.
CUE_WORDS = words("""
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
# Verb endings that close a sentence, in languages that put the verb last, and Turkish.
CUE_ENDINGS = {
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
# The same as `CUE_WORDS` for scripts that write no spaces: matched anywhere in the text.
CUE_CHUNKS = {
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

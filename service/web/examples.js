// Examples that fill a form with one click. Written for this project.

export const COMPARE = [
  {
    title: "One thought, six languages",
    texts: [
      "The library opens at nine in the morning.",
      "La biblioteca abre a las nueve de la mañana.",
      "Библиотека открывается в девять часов утра.",
      "図書館は朝九時に開きます。",
      "تفتح المكتبة في الساعة التاسعة صباحا.",
      "Kütüphane sabah dokuzda açılıyor.",
      "Le train pour Lyon part du quai numéro deux.",
    ],
  },
  {
    title: "Names",
    texts: ["Mount Fuji", "富士山", "Fuji-Berg", "Гора Фудзи", "जापान", "Mount Everest"],
  },
  {
    title: "Alike is not the same",
    texts: [
      "My brother bought a red bicycle.",
      "Mein Bruder kaufte ein rotes Fahrrad.",
      "Mein Bruder verkaufte ein rotes Auto.",
      "अकेली बिल्ली छत पर सो रही है।",
      "Bisikletimi kardeşim aldı.",
    ],
  },
  {
    title: "Right to left",
    texts: [
      "אחי קנה אופניים אדומים.",
      "اشترى أخي دراجة حمراء.",
      "برادرم یک دوچرخه قرمز خرید.",
      "My brother bought a red bicycle.",
      "המים רותחים במאה מעלות.",
    ],
  },
  {
    title: "Word, sentence, paragraph",
    texts: [
      "bees",
      "Bees turn nectar into honey.",
      "Les abeilles recueillent le nectar des fleurs et l’emportent à la ruche. Elles l’y transforment en miel, "
        + "qui les nourrit pendant l’hiver.",
      "蜜蜂采集花蜜，把它带回蜂巢。在那里它变成蜂蜜，成为它们冬天的食物。",
    ],
  },
];

export const ALIGN = [
  {
    title: "English and Spanish",
    source: "The museum opens at ten. On Mondays it is closed. Children under twelve do not pay. "
      + "The café in the garden stays open until the evening.",
    target: "El museo abre a las diez. Los lunes está cerrado. Los niños menores de doce años no pagan. "
      + "La cafetería del jardín permanece abierta hasta la noche.",
  },
  {
    title: "German and Japanese",
    source: "Der Zug hatte eine Stunde Verspätung. Wir warteten am Bahnhof und tranken Tee. "
      + "Am Abend kamen wir endlich zu Hause an.",
    target: "電車は一時間遅れました。私たちは駅で待ちながらお茶を飲みました。夕方にやっと家に着きました。",
  },
  {
    title: "English and Arabic",
    source: "Water boils at one hundred degrees. On high mountains it boils sooner. The air is thinner there.",
    target: "يغلي الماء عند مئة درجة. ويغلي في الجبال العالية قبل ذلك. فالهواء هناك أقل كثافة.",
  },
  {
    title: "English and French",
    source: "My grandmother lives in a small village by the sea. Every summer we visit her. We swim and pick berries.",
    target: "Ma grand-mère habite un petit village au bord de la mer, et nous lui rendons visite chaque été. "
      + "Nous nageons et cueillons des baies.",
  },
];

// Questions to the demonstration; no passage has their words.
export const QUERIES = [
  "Why does the ocean come and go?",
  "Почему нельзя смотреть на солнце?",
  "火山はなぜ噴火するのか",
  "كيف يصنع العسل؟",
  "चाय काली क्यों होती है?",
  "Ninawezaje kuazima kitabu?",
].map((query) => ({ title: query, query }));

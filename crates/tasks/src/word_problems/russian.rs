//! Plots told in Russian, as in `english.rs`.
//!
//! In a template, `{n+}` is a number with the thing in the form that it asks for, `{n=}` the same as an object, and
//! `{n+год}` with another noun; `[нашёл|нашла]` is for a man or a woman, `<его~мой>` for somebody or for me. Whoever
//! stands second in a story is of the other gender. `{A2}` is of whom, `{A3}` to whom.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::russian_words::{
    ANYBODY, BODIES, FOOD, GOODS, HOLDERS, MEN, MONEY, OTHERS, PLACES, WOMEN, accusative, counted, declined, object,
    was,
};
use super::{Change, End, Plot, Start, capitalised, fill};
use crate::calculations::number_words;
use crate::task::{Language, Split};
use crate::wording::uncapitalised;

const MORE: &[&str] = &[
    "Сколько {many} у {A2}, если было {n}, а стало на {k} больше?",
    "У меня {n+}. Ты дал мне ещё {k}. Сколько у меня теперь?",
    "К {n} прибавили ещё {k=}. Сколько {many} стало?",
    "{A3} {n+год}. Сколько лет <[ему|ей]~мне> будет через {k=год}?",
    "Утром было {n+градус}, потом стало на {k} теплее. Сколько градусов стало?",
    "Цена была {n+$} и выросла на {k}. Какая цена теперь?",
    "У {A2} было {n+$}, [он|она] [заработал|заработала] ещё {k}. Сколько стало?",
    "Вчера у {A2} {было} {n+}, а сегодня на {k} больше. Сколько {many} сегодня?",
    "В баке {n+литр} воды. Налили ещё {k}. Сколько литров стало?",
];
const LESS: &[&str] = &[
    "Сколько {many} останется, если из {n} забрать {k}?",
    "Если у меня {n+} и я отдам тебе {k}, сколько у меня останется?",
    "В книге {n+страница}. {A} [прочитал|прочитала] {k}. Сколько страниц осталось?",
    "В классе {n+ученик}, из них {k} болеют. Сколько учеников в классе?",
    "В классе {n+ученик}, из них {k+девочка}. Сколько мальчиков?",
    "Верёвка длиной {n+метр}. Отрезали {k}. Сколько метров осталось?",
    "В магазине {было} {n+}. Продали {k}. Сколько осталось?",
    "У {A2} было {n+$}. {A} [потратил|потратила] {k}. Сколько денег осталось?",
    "До города {n} км. Проехали {k} км. Сколько километров осталось?",
    "{A3} {n+год}. Сколько лет <[ему|ей]~мне> было {k=год} назад?",
    "Утром было {n+градус}, потом стало на {k} холоднее. Сколько градусов стало?",
    "Цена была {n+$} и упала на {k}. Какая цена теперь?",
    "В коробке должно быть {n+}, но {k} не хватает. Сколько {many} в коробке?",
    "{A} [взял|взяла] с собой {n=}, но {k} [потерял|потеряла]. Сколько осталось?",
    "{A} [поймал|поймала] {n=рыба} и {k} [отпустил|отпустила]. Сколько рыб осталось?",
    "Было {n+}. Пропало {k}. Сколько осталось?",
    "На столе {n+свеча}. Из них {k} погасло. Сколько свечей осталось?",
];
const TWO: &[&str] = &[
    "У {A2} {n+}, а у {B2} {k}. Сколько {many} у <них~нас> вместе?",
    "У {A2} {n+}, у {B2} {k+}. Сколько всего?",
    "{A} [прочитал|прочитала] {n=страница} в понедельник и {k} во вторник. Сколько страниц всего?",
    "В классе {n+мальчик} и {k+девочка}. Сколько всего детей?",
    "В {hp} красных {many} {n}, а синих {k}. Сколько всего {many}?",
    "В одной клетке {n+птица}, в другой {k}. Сколько птиц всего?",
    "На ферме {n+корова} и {k+овца}. Сколько всего животных?",
    "Утром {A} [прошёл|прошла] {n} км, а вечером {k} км. Сколько километров всего?",
    "Ручка стоит {n=$}, а книга {k=$}. Сколько стоят обе?",
    "{A} [съел|съела] {n=food} вчера и {k} сегодня. Сколько всего?",
    "{A} [решил|решила] {n=задача}, а {B} {k}. Сколько задач <они~мы> решили вместе?",
    "Команда набрала {n=очко}, потом ещё {k}. Сколько очков всего?",
    "Сколько {many} вместе у {A2} и {B2}, если у {A2} {n}, а у {B2} {k}?",
];
const BOXES: &[&str] = &[
    "В {hp1} {n+}. Сколько {many} в {k} {hps}?",
    "Есть {k+h}, {each} {n+}. Сколько всего {many}?",
    "У {A2} {k+h}, {each} {n+}. Сколько {many} у {A2}?",
    "В зале {k+ряд}, в каждом {n+место}. Сколько мест в зале?",
    "{A} [читал|читала] {n=страница} каждый день. Сколько страниц за {k=день}?",
    "Каждый день {A} [пробегал|пробегала] {n} км. Сколько километров за {k=день}?",
    "В автобус помещается {n+человек}. Сколько человек поместится в {k} таких?",
    "{A} [получал|получала] {n=$} в час. Сколько {$} за {k=час}?",
    "{A} [купил|купила] {k=h}, {each} {n+}. Сколько {many} [купил|купила] {A}?",
    "Сколько {many} в {k} {hps}, если в {hp1} {n+}?",
    "У каждого из {k} детей {n+}. Сколько всего {many}?",
    "За неделю {A} [собирал|собирала] {n=}. Сколько {many} за {k=неделя}?",
];
const PRICE: &[&str] = &[
    "Если {thing} стоит {k=$}, сколько стоят {n+}?",
    "{A} [купил|купила] {n=} по {k=$}. Сколько [он|она] [заплатил|заплатила]?",
    "{A} [взял|взяла] {n=} по {k=$}. Сколько стоят все вместе?",
    "Одна штука стоит {k=$}. Сколько стоят {n+}?",
    "Сколько надо заплатить за {n=} по {k=$}?",
    "{A} [продал|продала] {n=} по {k=$}. Сколько денег [получил|получила] {A}?",
    "Билет стоит {k=$}. Сколько стоят {n+билет}?",
];
/// Here `{n}` is how many, `{k}` what one costs, `{paid}` what is paid.
const PAID: &[&str] = &[
    "{A} [купил|купила] {n=} по {k=$} и [дал|дала] {paid=}. Сколько сдачи?",
    "Одна штука стоит {k=$}. {A} [взял|взяла] {n} и [заплатил|заплатила] {paid=}. Какая сдача?",
    "У {A2} было {paid}. [он|она] [купил|купила] {n=} по {k=$}. Сколько денег осталось?",
    "У {A2} {paid}. Сколько останется, если купить {n=} по {k=$}?",
    "За {n=} по {k=$} {A} [дал|дала] {paid=}. Сколько сдачи?",
];
const BAGS: &[&str] = &[
    "{A} [разделил|разделила] {n=} поровну между {k} детьми. Сколько досталось каждому?",
    "{n=} разложили поровну в {k=h}. Сколько {many} в {hp1}?",
    "{n=} поделили поровну на {k=часть}. Сколько {many} в одной части?",
    "В {k} рядах {n+место}, в каждом ряду поровну. Сколько мест в ряду?",
    "{k+} стоят {n=$}. Сколько стоит одна штука?",
    "{A} [прочитал|прочитала] {n=страница} за {k=день}, каждый день поровну. Сколько страниц в день?",
    "Сколько {many} получит каждый, если {n} разделить между {k} друзьями?",
    "Верёвку в {n=метр} разрезали на {k=часть}. Какой длины каждая?",
    "{k+друг} делят {n=} поровну. Сколько {many} у каждого?",
    "{together} друзей поделили {n=} поровну. Сколько {many} у каждого?",
    "{together} детей разделили поровну {n=}. Сколько {many} досталось каждому?",
    "{n=} поделили поровну на {together4}. Сколько {many} получил каждый?",
];
const PACKS: &[&str] = &[
    "{n=} разложили по {k} в {hacc}. Сколько {hmany} получилось?",
    "Сколько {hmany} нужно, чтобы разложить {n=} по {k}?",
    "У {A2} {n+$}. Одна штука стоит {k}. Сколько штук можно купить?",
    "В классе {n+ученик}. Они встали в команды по {k}. Сколько команд?",
    "В книге {n+страница}. {A} читает по {k} в день. За сколько дней?",
];
const OTHER: &[&str] = &[
    "{A3} {n+год}, <[его|её]~моя> сестра на {k=год} старше. Сколько лет сестре?",
    "{A3} {n+год}. {B} старше на {k=год}. Сколько лет {B3}?",
    "У {A2} {n+}, у {B2} на {k} больше. Сколько {many} у {B2}?",
    "Первое дерево {n+метр}, второе на {k=метр} выше. Какой высоты второе?",
    "Ручка стоит {n=$}, книга на {k} дороже. Сколько стоит книга?",
];
const OTHER_LESS: &[&str] = &[
    "{A3} {n+год}, <[его|её]~мой> брат на {k=год} младше. Сколько лет брату?",
    "{A3} {n+год}. {B} младше на {k=год}. Сколько лет {B3}?",
    "У {A2} {n+}, у {B2} на {k} меньше. Сколько {many} у {B2}?",
    "Первое дерево {n+метр}, второе на {k=метр} ниже. Какой высоты второе?",
    "Книга стоит {n=$}, ручка на {k} дешевле. Сколько стоит ручка?",
];
const OTHER_TIMES: &[&str] = &[
    "У {A2} {n+}, у {B2} {times} больше. Сколько {many} у {B2}?",
    "{A3} {n+год}, <[его|её]~мой> дядя {times} старше. Сколько лет дяде?",
    "Ручка стоит {n=$}, книга {times} дороже. Сколько стоит книга?",
    "{A} [нашёл|нашла] {n=}, а {B} {times} больше. Сколько {many} [нашла|нашёл] {B}?",
    "{A} [собрал|собрала] {n=}, {B} {times} больше. Сколько {many} [собрала|собрал] {B}?",
    "{A} [решил|решила] {n=задача}, а {B} {times} больше. Сколько задач [решила|решил] {B}?",
    "У {B2} {times} больше {many}, чем у {A2}. У {A2} {n+}. Сколько {many} у {B2}?",
    "В одной клетке {n+птица}, в другой {times} больше. Сколько птиц в другой?",
    "В красной коробке {n+}, а в синей {times} больше. Сколько {many} в синей?",
    "Одна верёвка {n+метр}, другая {times} длиннее. Сколько метров в другой?",
];
const OTHER_HALF: &[&str] = &[
    "У {A2} {n+}, у {B2} вдвое меньше. Сколько {many} у {B2}?",
    "{A3} {n+год}, <[его|её]~мой> брат вдвое младше. Сколько лет брату?",
    "У {A2} {n+}. Половина из них красные. Сколько красных?",
    "Книга стоит {n=$}, ручка в два раза дешевле. Сколько стоит ручка?",
    "{A} [нашёл|нашла] {n=}, а {B} вдвое меньше. Сколько {many} [нашла|нашёл] {B}?",
    "{A} [собрал|собрала] {n=}, {B} в два раза меньше. Сколько {many} [собрала|собрал] {B}?",
    "У {A2} {n+}, а у {B2} в 2 раза меньше. Сколько {many} у {B2}?",
];
/// Here `{n}` is the larger.
const DIFFERENCE: &[&str] = &[
    "У {A2} {n+}, у {B2} {k}. На сколько больше у {A2}?",
    "У {A2} {n+}, а у {B2} {k+}. На сколько меньше у {B2}?",
    "{A3} {n+год}, а {B3} {k}. На сколько лет {A} старше?",
    "Первое дерево {n+метр}, второе {k}. На сколько первое выше?",
    "Книга стоит {n=$}, ручка {k=$}. На сколько книга дороже?",
    "В классе {n+мальчик} и {k+девочка}. На сколько больше мальчиков?",
];
const NEED: &[&str] = &[
    "У {A2} {n+$}. Игрушка стоит {k}. Сколько не хватает?",
    "{A3} нужно {k+}, а есть {n}. Сколько ещё нужно?",
    "Должно быть {k+}, а есть только {n}. Сколько {many} не хватает?",
    "У {A2} {было} {n+}, потом стало {k}. Сколько {many} прибавилось?",
    "В автобусе {k+место}, занято {n}. Сколько свободных мест?",
    "У {A2} {n+}. Сколько ещё нужно, чтобы стало {k}?",
];

const HAS: &[&str] = &[
    "у {A2} {n+}", "у {A2} {было} {n+}", "у {A2} {было} {n+}", "у {A2} есть {n+}", "{A} [купил|купила] {n=}",
    "{A} [собрал|собрала] {n=}", "в {hp} у {A2} {n+}",
];
const HAS_BOXES: &[&str] =
    &["у {A2} {k+h}, {each} {n+}", "{A} [купил|купила] {k=h}, {each} {n+}", "у {A2} есть {k+h}, {each} {n+}"];
const HAS_TWO: &[&str] = &[
    "у {A2} красных {many} {n}, а синих {k}",
    "у {A2} больших {many} {n}, а маленьких {k}",
    "{A} [купил|купила] {n=}, а потом ещё {k}",
    "у {A2} {n+} и ещё {k} дома",
];
/// Whoever does it is `{S}`, and falls away behind "и".
const GAINS: &[&str] = &[
    "{S} [нашёл|нашла] ещё {n=}", "{S} [нашёл|нашла] ещё {n}", "{S} [купил|купила] ещё {n}",
    "{S} [купил|купила] ещё {n=}", "{B} [дала|дал] {he3} ещё {n}", "{B} [подарила|подарил] {he3} {n=}",
    "{S} [получил|получила] ещё {n}", "{S} [взял|взяла] у {B2} {n}", "{B} [принесла|принёс] ещё {n=}",
];
const LOSSES: &[&str] = &[
    "{S} [потерял|потеряла] {n=}",
    "{S} [потерял|потеряла] {n}",
    "{S} [отдал|отдала] {B3} {n=}",
    "{S} [отдал|отдала] {n}",
    "{S} [продал|продала] {n}",
    "{S} [подарил|подарила] {B3} {n}",
    "{B} [взяла|взял] {n=}",
    "{S} [дал|дала] {B3} {n}",
    "ещё {n} [он|она] [потерял|потеряла]",
    "ещё {n} [он|она] [отдал|отдала] {B3}",
    "{n} из них [он|она] [отдал|отдала] {B3}",
    "{n} [он|она] [выбросил|выбросила]",
    "{n} пропало",
];
const EATS: &[&str] = &["{S} [съел|съела] {n}", "{S} [съел|съела] {n=}", "{B} [съела|съел] {n}"];
const HALVES: &[&str] = &[
    "{S} [отдал|отдала] половину {B3}",
    "{S} [потерял|потеряла] половину",
    "{S} [продал|продала] половину",
    "половину [он|она] [подарил|подарила] {B3}",
];
const LEFT: &[&str] = &[
    "Сколько осталось?", "Сколько {many} осталось?", "Сколько {many} осталось у {A2}?",
    "Сколько у {he2} осталось {many}?", "Сколько {many} теперь у {A2}?", "Сколько {many} у {he2} теперь?",
];
/// When nothing has changed.
const ALL: &[&str] = &[
    "Сколько {many} у {A2}?", "Сколько всего {many}?", "Сколько всего {many} у {A2}?", "Сколько {many} у {he2}?",
    "Сколько у {he2} всего {many}?",
];
const NOW: &[&str] = &[
    "Сколько {many} стало у {A2}?", "Сколько стало?", "Сколько всего {many} у {A2}?", "Сколько {many} теперь у {A2}?",
    "Сколько {many} у {he2} теперь?", "Сколько у {he2} стало {many}?",
];

/// Who and what a story is about.
struct Cast {
    me: bool,
    woman: bool,
    food: bool,
    /// Small numbers before a noun are in words.
    in_words: bool,
    /// How often something is taken is `вдвое` and not `в 2 раза`, or else `в два раза`.
    as_adverb: bool,
    times_in_words: bool,
    thing: &'static str,
    edible: &'static str,
    money: &'static str,
    holder: (&'static str, &'static str, &'static str),
    words: Vec<(&'static str, String)>,
}

impl Cast {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let pick = |from: &[&'static str], rng: &mut ChaCha8Rng| from.choose(rng).copied().unwrap_or_default();
        let woman = rng.random_bool(0.5);
        let me = rng.random_bool(0.25);
        let names = if woman { &WOMEN } else { &MEN };
        let name = pick(if rng.random_bool(0.1) { &ANYBODY[usize::from(!woman)] } else { names }, rng);
        let other = pick(if woman { &MEN } else { &WOMEN }, rng);
        let food = rng.random_bool(0.4);
        let (edible, goods) = (pick(&FOOD, rng), pick(&GOODS, rng));
        let [of, to] = declined(name);
        let [of_other, to_other] = declined(other);
        let [who, of, to, he, he2, he3] = match (me, woman) {
            (true, _) => ["я", "меня", "мне", "я", "меня", "мне"],
            (_, true) => [name, &of, &to, "она", "неё", "ей"],
            _ => [name, &of, &to, "он", "него", "ему"],
        };
        let words = [
            ("A", who),
            ("A2", of),
            ("A3", to),
            ("he", he),
            ("he2", he2),
            ("he3", he3),
            ("B", other),
            ("B2", &of_other),
            ("B3", &to_other),
        ];
        Self {
            me,
            woman,
            food,
            in_words: rng.random_bool(0.2),
            as_adverb: rng.random_bool(0.35),
            times_in_words: rng.random_bool(0.5),
            thing: if food { edible } else { goods },
            edible,
            money: pick(&MONEY, rng),
            holder: HOLDERS.choose(rng).copied().unwrap_or(HOLDERS[0]),
            words: words.into_iter().map(|(key, word)| (key, word.to_owned())).collect(),
        }
    }

    /// One of `ways` with these numbers.
    fn say(&self, ways: &[&str], n: u32, k: u32, rng: &mut ChaCha8Rng) -> String {
        self.fill(ways.choose(rng).copied().unwrap_or_default(), n, k)
    }

    fn fill(&self, template: &str, n: u32, k: u32) -> String {
        let many = |noun: &str| noun.split(' ').nth(2).unwrap_or_default().to_owned();
        let (holder, in_one, in_many) = self.holder;
        let male = matches!(holder.split(' ').next(), Some("пакет" | "ящик" | "мешок"));
        // Of me, "he" and "she" are "I".
        let template = if self.me { template.replace("[он|она]", "я") } else { template.to_owned() };
        fill(&template, [self.me, self.woman], |key| match key {
            "n" => n.to_string(),
            "k" => k.to_string(),
            "times" => self.times(k),
            "together" => collective(k, false),
            "together4" => collective(k, true),
            "thing" => self.thing.split(' ').next().unwrap_or_default().to_owned(),
            "many" => many(self.thing),
            "$" => many(self.money),
            "было" => was(self.thing, n).to_owned(),
            "each" => format!("в {}", if male { "каждом" } else { "каждой" }),
            "hp" => in_one.to_owned(),
            "hp1" => format!("{} {in_one}", if male { "одном" } else { "одной" }),
            "hps" => in_many.to_owned(),
            "hmany" => many(holder),
            "hacc" => format!("{} {}", if male { "каждый" } else { "каждую" }, accusative(holder)),
            _ => match (key.split_once('+'), key.split_once('=')) {
                (Some((number, noun)), _) => self.spelled(counted(self.noun(noun), if number == "n" { n } else { k })),
                (_, Some((number, noun))) => self.spelled(object(self.noun(noun), if number == "n" { n } else { k })),
                _ => self
                    .words
                    .iter()
                    .find(|(other, _)| *other == key)
                    .map_or_else(String::new, |(_, word)| word.clone()),
            },
        })
    }

    /// `в 2 раза`, `в три раза`, `вдвое`
    fn times(&self, k: u32) -> String {
        match (k, self.as_adverb) {
            (2, true) => "вдвое".to_owned(),
            (3, true) => "втрое".to_owned(),
            (4, true) => "вчетверо".to_owned(),
            _ => {
                let number = if self.times_in_words { number_words(k, Language::Russian) } else { k.to_string() };
                format!("в {number} {}", if (2..=4).contains(&k) { "раза" } else { "раз" })
            }
        }
    }

    /// What is paid, put in as a subject or an object.
    fn paid(&self, template: &str, paid: u32) -> String {
        template.replace("{paid}", &counted(self.money, paid)).replace("{paid=}", &object(self.money, paid))
    }

    /// `5 книг`, now and then as `пять книг`: from five on, the number is the same whatever the noun is.
    fn spelled(&self, text: String) -> String {
        match text.split_once(' ').and_then(|(number, noun)| Some((number.parse().ok()?, noun))) {
            Some((number @ 5..=20, noun)) if self.in_words => {
                format!("{} {noun}", number_words(number, Language::Russian))
            }
            _ => text,
        }
    }

    /// The noun that a template means.
    fn noun(&self, key: &str) -> &'static str {
        match key {
            "" => self.thing,
            "$" => self.money,
            "h" => self.holder.0,
            "food" => self.edible,
            _ => noun(key),
        }
    }
}

/// So many people together, `трое`; `for_whom`: among whom something is divided, `троих`.
fn collective(count: u32, for_whom: bool) -> String {
    const WORDS: [[&str; 2]; 6] = [
        ["двое", "двоих"],
        ["трое", "троих"],
        ["четверо", "четверых"],
        ["пятеро", "пятерых"],
        ["шестеро", "шестерых"],
        ["семеро", "семерых"],
    ];
    let words = (count as usize).checked_sub(2).and_then(|at| WORDS.get(at));
    match words {
        Some(words) => words[usize::from(for_whom)].to_owned(),
        None if for_whom => format!("{count} человек"),
        None => count.to_string(),
    }
}

/// All forms of a noun.
fn noun(first: &str) -> &'static str {
    let all = OTHERS.iter().chain(&GOODS).chain(&FOOD);
    all.copied().find(|noun| noun.split(' ').next() == Some(first)).unwrap_or_default()
}

/// The story of a plot.
pub(super) fn tell(plot: &Plot, rng: &mut ChaCha8Rng) -> String {
    if rng.random_bool(0.6)
        && let Some(whole) = frame(plot, rng)
    {
        return capitalised(&whole);
    }
    if rng.random_bool(0.4)
        && let Some(story) = place(plot, rng)
    {
        return capitalised(&story);
    }
    capitalised(&owner(plot, rng))
}

/// A whole problem of one step, or of change for money.
fn frame(plot: &Plot, rng: &mut ChaCha8Rng) -> Option<String> {
    let cast = Cast::draw(rng);
    let (ways, n, k) = match (plot.start, &plot.changes[..], plot.end) {
        (Start::Has(n), [Change::More(k)], End::Now) => (MORE, n, *k),
        (Start::Has(n), [Change::Less(k)], End::Now) => (LESS, n, *k),
        (Start::Two(n, k), [], End::Now) => (TWO, n, k),
        (Start::Boxes(k, n), [], End::Now) => {
            let bodies: Vec<_> = BODIES.iter().filter(|(count, ..)| *count == n).collect();
            if rng.random_bool(0.3)
                && let Some((_, one, several, parts)) = bodies.choose(rng)
                && let Some((few, many)) = parts.split_once(' ')
            {
                let parts = if n < 5 { few } else { many };
                return Some(format!("у {one} {n} {parts}. Сколько {many} у {k} {several}?"));
            }
            (BOXES, n, k)
        }
        (Start::Has(n), [], end) => match end {
            End::Price(k) => (PRICE, n, k),
            End::Paid(k, paid) => {
                let way = PAID.choose(rng).copied()?;
                return Some(cast.fill(&cast.paid(way, paid), n, k));
            }
            End::Bags(k) => (BAGS, n, k),
            End::Packs(k) => (PACKS, n, k),
            End::Other(k) => (OTHER, n, k),
            End::OtherLess(k) => (OTHER_LESS, n, k),
            End::OtherTimes(k) => (OTHER_TIMES, n, k),
            End::OtherHalf => (OTHER_HALF, n, 2),
            End::Difference(k) => (DIFFERENCE, n.max(k), n.min(k)),
            End::Need(k) => (NEED, n, k),
            _ => return None,
        },
        _ => return None,
    };
    Some(cast.say(ways, n, k, rng))
}

/// Birds on a tree, people on a bus.
fn place(plot: &Plot, rng: &mut ChaCha8Rng) -> Option<String> {
    let (Start::Has(n), End::Now) = (plot.start, plot.end) else { return None };
    let (who, at, come, go) = *PLACES.choose(rng)?;
    let who = noun(who);
    let many = who.split(' ').nth(2)?;
    let mut text = match rng.random_range(0..3) {
        0 => format!("{at} {}", counted(who, n)),
        1 => format!("{at} {} {}", was(who, n), counted(who, n)),
        _ => format!("{} {at}", counted(who, n)),
    };
    for change in &plot.changes {
        let (template, count) = match *change {
            Change::More(count) => (come, count),
            Change::Less(count) => (go, count),
            Change::Half => return None,
        };
        text += [", ", ". ", ". ", ". Потом "].choose(rng).copied().unwrap_or(". ");
        text += &fill(template, [false; 2], |_| count.to_string());
    }
    let question = match (matches!(plot.changes.last(), Some(Change::Less(_))), rng.random_range(0..4)) {
        (true, 0) => "Сколько осталось?".to_owned(),
        (true, 1) => format!("Сколько {many} осталось?"),
        (true, 2) => format!("Сколько {many} осталось {at}?"),
        (false, 0) => "Сколько стало?".to_owned(),
        (false, 1) => format!("Сколько {many} стало {at}?"),
        (false, 2) => format!("Сколько теперь {many}?"),
        _ => format!("Сколько {many} теперь {at}?"),
    };
    Some(format!("{text}. {question}"))
}

/// What somebody has, in sentences that may be joined.
fn owner(plot: &Plot, rng: &mut ChaCha8Rng) -> String {
    let cast = Cast::draw(rng);
    let (start, n, k) = match plot.start {
        Start::Has(n) => (HAS, n, 0),
        Start::Boxes(k, n) => (HAS_BOXES, n, k),
        Start::Two(n, k) => (HAS_TWO, n, k),
    };
    let start = start.choose(rng).copied().unwrap_or_default();
    // Who did what came last, so that "и потерял 3" is said of them.
    let mut of_them = start.starts_with("{A}");
    let mut sentences = vec![cast.fill(start, n, k)];
    // 0: each by itself; 1: the first two are one; 2: all are one.
    let joined = rng.random_range(0..3);
    for (place, change) in plot.changes.iter().enumerate() {
        let (ways, n) = match *change {
            Change::More(n) => (GAINS, n),
            Change::Less(n) if cast.food && rng.random_bool(0.4) => (EATS, n),
            Change::Less(n) => (LOSSES, n),
            Change::Half => (HALVES, 2),
        };
        let mut template = ways.choose(rng).copied().unwrap_or_default().to_owned();
        // Of boxes, too, there may be more or fewer.
        if matches!(plot.start, Start::Boxes(..)) {
            template = template.replace("{n}", "{n=}");
        }
        let last = place + 1 == plot.changes.len();
        match sentences.last_mut() {
            Some(sentence) if joined == 2 || joined == 1 && place == 0 => {
                *sentence += match (last && of_them, rng.random_bool(0.4)) {
                    (true, true) => " и потом ",
                    (true, false) => " и ",
                    _ => ", ",
                };
                *sentence += &cast.fill(&template.replace("{S} ", if of_them { "" } else { "{he} " }), n, 0);
            }
            _ => {
                let then = if rng.random_bool(0.25) { "потом " } else { "" };
                let subject = if rng.random_bool(0.4) { "{A}" } else { "{he}" };
                sentences.push(cast.fill(&format!("{then}{}", template.replace("{S}", subject)), n, 0));
            }
        }
        of_them = template.starts_with("{S}");
    }
    let (end, question) = ending(plot, &cast, rng);
    sentences.extend(end);
    // "Если у меня 5 яблок и я съел 2, сколько осталось?"
    if sentences.len() == 1 && rng.random_bool(0.1) {
        return format!("если {}, {}", sentences[0], uncapitalised(&question));
    }
    format!("{}. {question}", sentences.join(". "))
}

/// What the question needs, and the question.
fn ending(plot: &Plot, cast: &Cast, rng: &mut ChaCha8Rng) -> (Option<String>, String) {
    let first = plot.has().unwrap_or_default();
    let (pairs, n): (&[(&str, &str)], u32) = match plot.end {
        End::Now => {
            let ways = match plot.changes.last() {
                None => ALL,
                Some(Change::More(_)) => NOW,
                Some(Change::Less(_) | Change::Half) => LEFT,
            };
            return (None, cast.say(ways, 0, 0, rng));
        }
        End::Price(n) => (
            &[
                ("каждая штука стоит {n=$}", "Сколько стоят все вместе?"),
                ("цена одной штуки {n+$}", "Сколько стоит всё вместе?"),
                ("{A} [продал|продала] всё по {n=$}", "Сколько денег [получил|получила] {A}?"),
            ],
            n,
        ),
        End::Paid(n, paid) => {
            let sentence =
                ["каждая штука стоит {n=$}, {A} [заплатил|заплатила] {paid=}", "цена одной — {n+$}, а дали {paid=}"];
            let sentence = sentence.choose(rng).copied().unwrap_or_default();
            let question = ["Сколько сдачи?", "Какая сдача?", "Сколько денег осталось?"].choose(rng).copied();
            return (Some(cast.fill(&cast.paid(sentence, paid), n, n)), question.unwrap_or_default().to_owned());
        }
        End::Bags(n) => (
            &[
                ("{A} [разложил|разложила] их поровну в {n=h}", "Сколько {many} в {hp1}?"),
                ("{A} [разделил|разделила] их поровну между {n} друзьями", "Сколько {many} у каждого?"),
                ("{A} [раздал|раздала] их поровну {n} детям", "Сколько досталось каждому?"),
            ],
            n,
        ),
        End::Packs(n) => (
            &[
                ("{A} [разложил|разложила] их по {n} в {hacc}", "Сколько {hmany} получилось?"),
                ("{A} [раздал|раздала] их детям, каждому по {n}", "Сколько было детей?"),
            ],
            n,
        ),
        End::Other(n) | End::Together(n) => {
            (&[("у {B2} на {n} больше", ""), ("у {B2} на {n=} больше, чем у {A2}", "")], n)
        }
        End::OtherLess(n) | End::TogetherLess(n) => {
            (&[("у {B2} на {n} меньше", ""), ("у {B2} на {n=} меньше, чем у {A2}", "")], n)
        }
        End::OtherTimes(n) | End::TogetherTimes(n) => {
            (&[("у {B2} {times} больше", ""), ("у {B2} {times} больше, чем у {A2}", "")], n)
        }
        End::OtherHalf => (&[("у {B2} вдвое меньше", ""), ("у {B2} в два раза меньше", "")], 2),
        End::Difference(n) => match first > n {
            true => (&[("у {B2} {n+}", "На сколько больше у {A2}?"), ("у {B2} {n}", "На сколько меньше у {B2}?")], n),
            false => (&[("у {B2} {n+}", "На сколько больше у {B2}?"), ("у {B2} {n}", "На сколько меньше у {A2}?")], n),
        },
        End::Need(n) => {
            (&[("{A3} нужно {n=}", "Сколько ещё нужно?"), ("надо, чтобы стало {n}", "Сколько не хватает?")], n)
        }
    };
    let (sentence, question) = pairs.choose(rng).copied().unwrap_or_default();
    let question = match plot.end {
        End::Together(_) | End::TogetherLess(_) | End::TogetherTimes(_) => {
            ["Сколько {many} у <них~нас> вместе?", "Сколько у <них~нас> всего?", "Сколько {many} вместе?"]
                .choose(rng)
                .copied()
        }
        End::Other(_) | End::OtherLess(_) | End::OtherTimes(_) | End::OtherHalf => {
            ["Сколько {many} у {B2}?", "Сколько у {B2}?"].choose(rng).copied()
        }
        _ => Some(question),
    };
    (Some(cast.fill(sentence, n, n)), cast.fill(question.unwrap_or_default(), n, n))
}

/// Counting for pre-training: a few numbers of a thing in a row, or a little more or less of it. No held-out problem
/// of one step is solved.
pub(crate) fn counting(rng: &mut ChaCha8Rng) -> String {
    let cast = Cast::draw(rng);
    loop {
        let (a, b) = (rng.random_range(1..=50_u32), rng.random_range(1..=50_u32));
        let each = rng.random_range(2..=9);
        let (plot, template) = match rng.random_range(0..5) {
            0 => {
                let things: Vec<String> = (a..a + 4).map(|count| counted(cast.thing, count)).collect();
                return format!("{}.", things.join(", "));
            }
            1 => (Plot::new(Start::Has(a), &[Change::More(b)]), GAINS),
            2 => (Plot::new(Start::Has(a.max(b)), &[Change::Less(a.min(b))]), LOSSES),
            3 => (Plot::new(Start::Two(a, b), &[]), HAS_TWO),
            _ => (Plot::new(Start::Boxes(rng.random_range(2..=9), each), &[]), HAS_BOXES),
        };
        let Some(equations) = plot.equations() else { continue };
        if Split::of(&Plot::id(&equations)) == Split::HeldOut {
            continue;
        }
        let sum = equations[0].write();
        let start = match plot.start {
            Start::Boxes(boxes, each) => format!("{}: всего {sum}.", cast.say(template, each, boxes, rng)),
            Start::Two(a, b) => format!("{}: всего {sum}.", cast.say(template, a, b, rng)),
            Start::Has(count) => {
                let has = cast.fill(["у {A2} {n+}", "у {A2} {было} {n+}"][usize::from(a > b)], count, 0);
                let less = plot.changes.first().is_some_and(|change| matches!(change, Change::Less(_)));
                let change = template.choose(rng).copied().unwrap_or_default().replace("{S}", "{he}");
                let change = cast.fill(&change, if less { a.min(b) } else { b }, 0);
                format!("{has}. {change}. {} {sum}.", if less { "осталось" } else { "стало" })
            }
        };
        return capitalised(&start);
    }
}

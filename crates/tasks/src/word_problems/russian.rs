//! Plots told in Russian, with the noun in the form that its number asks for.
//!
//! Everything happens in the present tense, which has no gender. After numbers the nouns stand in the nominative or
//! accusative, which differ only after 1, 21, 31…: `21 книга`, but `находит 21 книгу`.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::{Change, End, Plot, Start, Story};
use crate::task::Split;

/// A name: who, whose (after `у`), to whom.
struct Name(&'static str, &'static str, &'static str);

const NAMES: [Name; 12] = [
    Name("Аня", "Ани", "Ане"),
    Name("Борис", "Бориса", "Борису"),
    Name("Вера", "Веры", "Вере"),
    Name("Глеб", "Глеба", "Глебу"),
    Name("Дина", "Дины", "Дине"),
    Name("Егор", "Егора", "Егору"),
    Name("Зоя", "Зои", "Зое"),
    Name("Иван", "Ивана", "Ивану"),
    Name("Лена", "Лены", "Лене"),
    Name("Марк", "Марка", "Марку"),
    Name("Нина", "Нины", "Нине"),
    Name("Олег", "Олега", "Олегу"),
];

/// A noun: one, the same as an object, two to four, five and more.
struct Noun(&'static str, &'static str, &'static str, &'static str);

const THINGS: [Noun; 12] = [
    Noun("яблоко", "яблоко", "яблока", "яблок"),
    Noun("книга", "книгу", "книги", "книг"),
    Noun("орех", "орех", "ореха", "орехов"),
    Noun("марка", "марку", "марки", "марок"),
    Noun("камень", "камень", "камня", "камней"),
    Noun("шар", "шар", "шара", "шаров"),
    Noun("ручка", "ручку", "ручки", "ручек"),
    Noun("ключ", "ключ", "ключа", "ключей"),
    Noun("груша", "грушу", "груши", "груш"),
    Noun("лампа", "лампу", "лампы", "ламп"),
    Noun("перо", "перо", "пера", "перьев"),
    Noun("чашка", "чашку", "чашки", "чашек"),
];
const BOX: Noun = Noun("коробка", "коробку", "коробки", "коробок");
const BAG: Noun = Noun("пакет", "пакет", "пакета", "пакетов");
const COIN: Noun = Noun("монета", "монету", "монеты", "монет");

/// Which form a number asks for.
#[derive(Debug, PartialEq)]
enum Form {
    One,
    Few,
    Many,
}

/// By the last two digits: 1, 21, 101; 2 to 4, 22; the rest, with 11 to 14.
fn form(count: u32) -> Form {
    match (count % 100, count % 10) {
        (11..=14, _) => Form::Many,
        (_, 1) => Form::One,
        (_, 2..=4) => Form::Few,
        _ => Form::Many,
    }
}

impl Noun {
    /// `21 книга`
    fn counted(&self, count: u32) -> String {
        let noun = match form(count) {
            Form::One => self.0,
            Form::Few => self.2,
            Form::Many => self.3,
        };
        format!("{count} {noun}")
    }

    /// The same as an object: `21 книгу`.
    fn object(&self, count: u32) -> String {
        match form(count) {
            Form::One => format!("{count} {}", self.1),
            _ => self.counted(count),
        }
    }
}

/// The story of a plot.
pub(super) fn tell(plot: &Plot, rng: &mut ChaCha8Rng) -> Story {
    let place = rng.random_range(0..NAMES.len());
    let Name(who, whose, whom) = &NAMES[place];
    // Anybody but the first.
    let Name(other, others, to_other) = &NAMES[(place + rng.random_range(1..NAMES.len())) % NAMES.len()];
    let things = THINGS.choose(rng).unwrap_or(&THINGS[0]);
    let mut sentences = vec![match plot.start {
        Start::Has(count) => format!("У {whose} {}.", things.counted(count)),
        Start::Boxes(boxes, each) => {
            format!("У {whose} {}, в каждой {}.", BOX.counted(boxes), things.counted(each))
        }
    }];
    for change in &plot.changes {
        sentences.push(match (change, rng.random_range(0..3)) {
            (Change::More(more), 0) => format!("{who} находит ещё {}.", things.object(*more)),
            (Change::More(more), 1) => format!("{who} покупает ещё {}.", things.object(*more)),
            (Change::More(more), _) => format!("{other} даёт {whom} ещё {}.", things.object(*more)),
            (Change::Less(less), 0) => format!("{who} теряет {}.", things.object(*less)),
            (Change::Less(less), 1) => format!("{who} отдаёт {to_other} {}.", things.object(*less)),
            (Change::Less(less), _) => format!("{who} продаёт {}.", things.object(*less)),
        });
    }
    let many = things.3;
    let question = match plot.end {
        End::Now if plot.changes.is_empty() => format!("Сколько {many} у {whose}?"),
        End::Now => format!("Сколько {many} теперь у {whose}?"),
        End::Price(coins) => {
            sentences.push(format!("Цена каждой штуки {}.", COIN.counted(coins)));
            "Сколько монет стоят все вместе?".to_owned()
        }
        End::Bags(bags) => {
            sentences.push(format!("{who} раскладывает их поровну в {}.", BAG.object(bags)));
            format!("Сколько {many} в каждом пакете?")
        }
        End::Together(more) => {
            sentences.push(format!("У {others} на {} больше, чем у {whose}.", things.object(more)));
            format!("Сколько {many} у них вместе?")
        }
    };
    Story { sentences, question }
}

/// Counting for pre-training: a few numbers of a thing in a row, or a little more or less of it. No held-out problem
/// of one step is solved.
pub(crate) fn counting(rng: &mut ChaCha8Rng) -> String {
    let things = THINGS.choose(rng).unwrap_or(&THINGS[0]);
    let Name(who, whose, _) = NAMES.choose(rng).unwrap_or(&NAMES[0]);
    loop {
        let (a, b) = (rng.random_range(1..=50_u32), rng.random_range(1..=50_u32));
        let (start, changes) = match rng.random_range(0..4) {
            0 => {
                let counted: Vec<String> = (a..a + 4).map(|count| things.counted(count)).collect();
                return format!("{}.", counted.join(", "));
            }
            1 => (Start::Has(a), vec![Change::More(b)]),
            2 => (Start::Has(a.max(b)), vec![Change::Less(a.min(b))]),
            _ => (Start::Boxes(rng.random_range(2..=9), rng.random_range(2..=9)), vec![]),
        };
        let plot = Plot { start, changes, end: End::Now };
        let Some(equations) = plot.equations() else { continue };
        if Split::of(&Plot::id(&equations)) == Split::HeldOut {
            continue;
        }
        let sum = equations[0].write();
        return match (start, plot.changes.first()) {
            (Start::Boxes(boxes, each), _) => {
                format!("{}, в каждой {}: всего {sum}.", BOX.counted(boxes), things.counted(each))
            }
            (Start::Has(count), Some(Change::Less(less))) => {
                format!("Было {}. {who} теряет {}. Осталось {sum}.", things.counted(count), things.object(*less))
            }
            (Start::Has(count), _) => {
                let more = things.object(b);
                format!("У {whose} {}. {who} находит ещё {more}. Стало {sum}.", things.counted(count))
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ask_for_forms() {
        let [apple, book] = [&THINGS[0], &THINGS[1]];
        for (count, nominative, object) in [
            (1, "1 книга", "1 книгу"),
            (2, "2 книги", "2 книги"),
            (4, "4 книги", "4 книги"),
            (5, "5 книг", "5 книг"),
            (11, "11 книг", "11 книг"),
            (12, "12 книг", "12 книг"),
            (14, "14 книг", "14 книг"),
            (20, "20 книг", "20 книг"),
            (21, "21 книга", "21 книгу"),
            (22, "22 книги", "22 книги"),
            (111, "111 книг", "111 книг"),
            (121, "121 книга", "121 книгу"),
        ] {
            assert_eq!((book.counted(count).as_str(), book.object(count).as_str()), (nominative, object));
        }
        assert_eq!([1, 2, 5].map(|count| apple.counted(count)), ["1 яблоко", "2 яблока", "5 яблок"]);
    }
}

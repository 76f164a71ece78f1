//! How people put a calculation, in English and in Russian.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::Calculation;
use crate::task::Language;
use crate::wording::{Case, dress};
use crate::words::mistyped;

/// What is said of a quotient that is no whole number.
pub(super) fn refusal(language: Language) -> &'static str {
    match language {
        Language::English => "I can only divide without a remainder. Try: What is 84/7?",
        Language::Russian => "Я умею только делить без остатка. Например: сколько будет 84/7?",
    }
}

/// The calculation in some wording.
pub(super) fn pose(calculation: &Calculation, language: Language, rng: &mut ChaCha8Rng) -> String {
    let question = match rng.random_range(0..10) {
        // Nothing but the signs.
        0..3 => {
            let ends = ["", "", "", "=", " =", "=?", " = ?", "?", " ?"];
            let text = format!("{}{}", in_signs(calculation, rng), ends.choose(rng).copied().unwrap_or_default());
            // Mostly without a word, so that nothing tells the language.
            if rng.random_bool(0.8) {
                return text;
            }
            text
        }
        3..6 => asked(&in_signs(calculation, rng), language, rng),
        6..8 => asked(&in_words(calculation, language, rng), language, rng),
        8 => in_words(calculation, language, rng),
        _ => match calculation.numbers[..] {
            [a, b] => told(calculation.signs[0], a, b, language, rng),
            _ => asked(&in_signs(calculation, rng), language, rng),
        },
    };
    let question = if rng.random_bool(0.04) { mistyped(&question, rng) } else { question };
    dress(&question, language, Case::Free, rng)
}

/// `347 + 289`, in the signs that keyboards and schools have.
fn in_signs(calculation: &Calculation, rng: &mut ChaCha8Rng) -> String {
    let spaced = rng.random_bool(0.4);
    let mut text = calculation.numbers[0].to_string();
    for (sign, number) in calculation.signs.iter().zip(&calculation.numbers[1..]) {
        let plain = rng.random_bool(0.75);
        let shown = match sign {
            '*' if !plain => *["x", "×", "х", "·", "X"].choose(rng).unwrap_or(&"x"),
            '/' if !plain => *[":", "÷", ":"].choose(rng).unwrap_or(&":"),
            '-' if !plain => *["−", "–"].choose(rng).unwrap_or(&"−"),
            '*' => "*",
            '/' => "/",
            '-' => "-",
            _ => "+",
        };
        text += &if spaced { format!(" {shown} {number}") } else { format!("{shown}{number}") };
    }
    text
}

/// `347 plus 289`; small numbers mostly in words, of which one or another may be in digits.
fn in_words(calculation: &Calculation, language: Language, rng: &mut ChaCha8Rng) -> String {
    let spelled = rng.random_bool(0.6) && calculation.numbers.iter().all(|n| *n < 100);
    let number = |n: u32, rng: &mut ChaCha8Rng| {
        if spelled && rng.random_bool(0.9) { number_words(n, language) } else { n.to_string() }
    };
    let mut text = number(calculation.numbers[0], rng);
    for (sign, n) in calculation.signs.iter().zip(&calculation.numbers[1..]) {
        let ways: &[&str] = match (language, sign) {
            (Language::English, '+') => &["plus", "plus", "and", "added to"],
            (Language::English, '-') => &["minus", "minus", "take away", "less"],
            (Language::English, '*') => &["times", "times", "multiplied by", "by"],
            (Language::English, _) => &["divided by", "divided by", "over", "divide by"],
            (Language::Russian, '+') => &["плюс", "плюс", "прибавить"],
            (Language::Russian, '-') => &["минус", "минус", "отнять", "вычесть"],
            (Language::Russian, '*') => &["умножить на", "умножить на", "на"],
            (Language::Russian, _) => &["разделить на", "разделить на", "делить на", "поделить на"],
        };
        // "5 and 3" and "4 by 6" alone say little; "less" and "over" do in a chain.
        let ways = if calculation.signs.len() > 1 { &ways[..1] } else { ways };
        text += &format!(" {} {}", ways.choose(rng).copied().unwrap_or_default(), number(*n, rng));
    }
    text
}

/// A question about `what`.
fn asked(what: &str, language: Language, rng: &mut ChaCha8Rng) -> String {
    let ways: &[&str] = match language {
        Language::English => &[
            "What is {}?", "What is {}?", "What's {}?", "How much is {}?", "How much is {}?", "Calculate {}.",
            "Compute {}.", "What does {} equal?", "What do you get for {}?", "Solve {}.", "Work out {}.",
            "{} is what?", "{} equals?", "{} makes what?", "How much does {} make?", "What is the answer to {}?",
            "Find {}.", "What is the result of {}?", "Can you calculate {}?", "Do you know what {} is?",
            "I want to know {}.", "Can you do {}?", "Evaluate {}.", "Give me the result of {}.", "Whats {}?",
            "How many is {}?", "What would {} be?", "Can you work out {}?", "Figure out {}.", "Tell me what {} is.",
            "Tell me how much {} is.", "Help me with {}.", "{} - how much is it?", "What is the value of {}?",
            "{}, what is it?", "What comes out of {}?", "My homework says {}. What is the answer?",
            "I have to work out {}. Can you do it?", "In my book there is {}. What comes out?",
            "The exercise is {}. What is the result?", "{}: what does that make?",
            "I got stuck at {}. How much is it?", "What number is {}?", "{} please", "{} = x, what is x?",
            "The bill says {}. How much is that?",
        ],
        Language::Russian => &[
            "Сколько будет {}?",
            "Сколько будет {}?",
            "Сколько {}?",
            "Чему равно {}?",
            "Посчитай {}.",
            "Вычисли {}.",
            "Реши {}.",
            "Найди {}.",
            "Реши пример: {}.",
            "Сосчитай {}.",
            "Сколько это {}?",
            "Чему равняется {}?",
            "Какой ответ у {}?",
            "Знаешь, сколько будет {}?",
            "Можешь посчитать {}?",
            "{} - сколько будет?",
            "{} это сколько?",
            "{} равно?",
            "Найди значение {}.",
            "Посчитай, сколько будет {}.",
            "Скажи, сколько будет {}.",
            "А {}?",
            "Какой результат у {}?",
            "Сколько получится {}?",
            "{} будет?",
            "Подсчитай {}.",
            "Что будет, если {}?",
            "Нам задали {}. Какой ответ?",
            "В учебнике пример {}. Сколько будет?",
            "Не могу решить {}. Сколько это?",
            "Помоги с примером {}.",
            "Мне нужно посчитать {}. Сколько выйдет?",
        ],
    };
    ways.choose(rng).copied().unwrap_or("{}").replace("{}", what)
}

/// Two numbers with the operation as a word of its own: `the sum of 3 and 4`.
fn told(sign: char, a: u32, b: u32, language: Language, rng: &mut ChaCha8Rng) -> String {
    let ways: &[&str] = match (language, sign) {
        (Language::English, '+') => &[
            "What is the sum of A and B?", "Add A and B.", "Add B to A.", "What is A and B together?", "Sum A and B.",
            "How much are A and B together?", "Find the sum of A and B.", "Can you add A and B?",
            "The sum of A and B?", "What is B more than A?", "Add up A and B.", "What do I get if I add A and B?",
            "Increase A by B.", "If I add B to A, what do I get?", "The total of A and B?",
            "A increased by B is what?",
        ],
        (Language::English, '-') => &[
            "What is the difference between A and B?", "Subtract B from A.", "Take B away from A.", "Take B from A.",
            "Find the difference of A and B.", "Can you subtract B from A?", "What is B less than A?",
            "A decreased by B?", "What is left if I take B from A?", "If you take B from A, what is left?",
            "Decrease A by B.", "How much is left of A after B?", "What do I get if I subtract B from A?",
            "What remains of A without B?",
        ],
        (Language::English, '*') => &[
            "What is the product of A and B?", "Multiply A by B.", "Multiply A and B.", "Find the product of A and B.",
            "Can you multiply A by B?", "The product of A and B?", "A times B is what?",
            "What do I get if I multiply A by B?", "Multiply A with B.", "How much is A times B?",
            "A multiplied with B?",
        ],
        (Language::English, _) => &[
            "Divide A by B.", "What is the quotient of A and B?", "How many times does B go into A?",
            "Can you divide A by B?", "Find the quotient of A and B.", "What do I get if I divide A by B?",
            "Split A into B equal parts.", "How often does B fit into A?", "Share A among B.",
            "What is A divided into B parts?",
        ],
        (Language::Russian, '+') => &[
            "Сложи A и B.", "Чему равна сумма A и B?", "Найди сумму A и B.", "Прибавь B к A.", "Прибавь к A число B.",
            "Сумма A и B?", "Сложи числа A и B.", "Какая сумма у A и B?", "К A прибавить B?", "Если к A прибавить B?",
            "Сколько будет, если сложить A и B?", "Увеличь A на B.", "Сколько вместе A и B?", "Сложить A и B.",
        ],
        (Language::Russian, '-') => &[
            "Вычти B из A.",
            "Отними B от A.",
            "Чему равна разность A и B?",
            "Найди разность A и B.",
            "Вычти из A число B.",
            "Разность A и B?",
            "От A отнять B?",
            "Сколько будет, если из A вычесть B?",
            "Уменьши A на B.",
            "Отними от A B.",
            "Какая разница между A и B?",
            "Если от A отнять B?",
            "Сколько останется, если от A отнять B?",
        ],
        (Language::Russian, '*') => &[
            "Умножь A на B.",
            "Чему равно произведение A и B?",
            "Найди произведение A и B.",
            "Произведение A и B?",
            "Перемножь A и B.",
            "Сколько будет, если A умножить на B?",
            "Помножь A на B.",
            "Если A умножить на B?",
        ],
        (Language::Russian, _) => &[
            "Раздели A на B.",
            "Чему равно частное A и B?",
            "Найди частное A и B.",
            "Подели A на B.",
            "Частное A и B?",
            "Сколько будет, если A разделить на B?",
            "Раздели число A на B.",
            "Если A разделить на B?",
        ],
    };
    let numbers = if a < 100 && b < 100 && rng.random_bool(0.2) && language == Language::English {
        [number_words(a, language), number_words(b, language)]
    } else {
        [a.to_string(), b.to_string()]
    };
    // The places are single capitals between blanks; English begins no sentence with "A" here but as a place.
    let way = ways.choose(rng).copied().unwrap_or_default();
    let mut text = String::new();
    for (at, word) in way.split(' ').enumerate() {
        let (core, mark) = word.split_at(word.trim_end_matches(['.', '?', ',']).len());
        let word = match core {
            "A" => &numbers[0],
            "B" => &numbers[1],
            _ => core,
        };
        text += &format!("{}{word}{mark}", if at > 0 { " " } else { "" });
    }
    text
}

/// A number below 100 in words.
pub(crate) fn number_words(number: u32, language: Language) -> String {
    const ENGLISH: [&str; 20] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
        "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    ];
    const ENGLISH_TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    const RUSSIAN: [&str; 20] = [
        "ноль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять", "десять", "одиннадцать",
        "двенадцать", "тринадцать", "четырнадцать", "пятнадцать", "шестнадцать", "семнадцать", "восемнадцать",
        "девятнадцать",
    ];
    const RUSSIAN_TENS: [&str; 8] =
        ["двадцать", "тридцать", "сорок", "пятьдесят", "шестьдесят", "семьдесят", "восемьдесят", "девяносто"];
    let (small, tens, joint) = match language {
        Language::English => (&ENGLISH, &ENGLISH_TENS, "-"),
        Language::Russian => (&RUSSIAN, &RUSSIAN_TENS, " "),
    };
    match (number as usize / 10, number as usize % 10) {
        _ if number < 20 => small[number as usize].to_owned(),
        (ten @ 2..=9, 0) => tens[ten - 2].to_owned(),
        (ten @ 2..=9, one) => format!("{}{joint}{}", tens[ten - 2], small[one]),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_words() {
        for (number, english, russian) in [
            (0, "zero", "ноль"),
            (13, "thirteen", "тринадцать"),
            (47, "forty-seven", "сорок семь"),
            (90, "ninety", "девяносто"),
        ] {
            assert_eq!(number_words(number, Language::English), english);
            assert_eq!(number_words(number, Language::Russian), russian);
        }
    }

    #[test]
    fn the_numbers_stand_in_their_places() {
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..400 {
            let mut rng = crate::draw::rng(0, "told", 0, index);
            seen.insert(told('-', 352, 79, Language::English, &mut rng));
        }
        assert!(
            seen.contains("Subtract 79 from 352.") && seen.contains("What is left if I take 79 from 352?"),
            "{seen:?}"
        );
        assert!(seen.iter().all(|text| text.contains("352") && text.contains("79") && !text.contains(" A")));
    }
}

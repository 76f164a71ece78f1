//! Judges a Countdown answer: a small parser over exact fractions.
//!
//! ```text
//! answer  = sum [ "=" target ]
//! sum     = product { ("+" | "-") product }
//! product = factor  { ("*" | "/") factor }
//! factor  = "-" factor | "(" sum ")" | digits
//! ```
//! `×`, `÷` and `−` are read as `*`, `/` and `-`. Not here: powers, roots, decimals, joining
//! digits into new numbers.

/// Longest answer that is looked at, in bytes; it also bounds the parser's recursion.
const MAX_LEN: usize = 256;

/// Why an expression has no value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The answer is at fault, and how.
    Answer(String),
    /// A value does not fit.
    Overflow,
}

fn fault<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Answer(reason.into()))
}

/// Whether the answer is an expression over `numbers`, each used at most once, worth `target`.
pub(super) fn hits(answer: &str, numbers: &[u32], target: u32) -> Result<bool, Fault> {
    if answer.len() > MAX_LEN {
        return fault(format!("longer than {MAX_LEN} bytes"));
    }
    let text: Vec<char> = answer
        .chars()
        .filter(|c| *c != ' ')
        .map(|c| match c {
            '×' => '*',
            '÷' => '/',
            '−' => '-',
            other => other,
        })
        .collect();
    if has_split_number(answer) {
        return fault("two numbers without an operator");
    }
    let mut parser = Parser { text: &text, at: 0, unused: numbers.to_vec() };
    let value = parser.sum()?;
    if parser.take('=') {
        let claimed = parser.digits()?;
        if claimed != u128::from(target) {
            return fault("claims to make another number");
        }
    }
    match parser.peek() {
        None => Ok(value == Fraction::whole(target)),
        Some(c) => fault(format!("unexpected {c:?}")),
    }
}

/// Blanks mean nothing, except between digits: `2 5` is not 25.
fn has_split_number(answer: &str) -> bool {
    let mut words = answer.split(' ').filter(|word| !word.is_empty());
    let mut ends_in_digit = false;
    words.any(|word| {
        let split = ends_in_digit && word.starts_with(|c: char| c.is_ascii_digit());
        ends_in_digit = word.ends_with(|c: char| c.is_ascii_digit());
        split
    })
}

struct Parser<'a> {
    text: &'a [char],
    at: usize,
    /// The given numbers that the expression has not used yet.
    unused: Vec<u32>,
}

impl Parser<'_> {
    fn sum(&mut self) -> Result<Fraction, Fault> {
        let mut value = self.product()?;
        loop {
            if self.take('+') {
                value = value.plus(self.product()?)?;
            } else if self.take('-') {
                value = value.plus(self.product()?.negated()?)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<Fraction, Fault> {
        let mut value = self.factor()?;
        loop {
            if self.take('*') {
                value = value.times(self.factor()?)?;
            } else if self.take('/') {
                value = value.times(self.factor()?.inverse()?)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn factor(&mut self) -> Result<Fraction, Fault> {
        if self.take('-') {
            return self.factor()?.negated();
        }
        if self.take('(') {
            let value = self.sum()?;
            return match self.take(')') {
                true => Ok(value),
                false => fault("a parenthesis is not closed"),
            };
        }
        let number = self.digits()?;
        let given = self.unused.iter().position(|n| u128::from(*n) == number);
        match given {
            Some(index) => Ok(Fraction::whole(self.unused.swap_remove(index))),
            None => fault(format!("{number} was not given, or is used too often")),
        }
    }

    fn digits(&mut self) -> Result<u128, Fault> {
        let start = self.at;
        let mut number = 0_u128;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            // No given number comes near the end of 128 bits, so saturating is enough.
            number = number.saturating_mul(10).saturating_add(u128::from(digit));
            self.at += 1;
        }
        if self.at == start {
            return match self.peek() {
                Some(c) => fault(format!("unexpected {c:?}")),
                None => fault("the expression breaks off"),
            };
        }
        Ok(number)
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }
}

/// An exact fraction in lowest terms with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fraction {
    numerator: i128,
    denominator: i128,
}

impl Fraction {
    fn whole(n: u32) -> Self {
        Self { numerator: i128::from(n), denominator: 1 }
    }

    /// `numerator / denominator` for a positive denominator; `None` stands for an overflow.
    fn reduced(numerator: Option<i128>, denominator: Option<i128>) -> Result<Self, Fault> {
        let (Some(numerator), Some(denominator)) = (numerator, denominator) else {
            return Err(Fault::Overflow);
        };
        let (mut a, mut b) = (numerator.unsigned_abs(), denominator.unsigned_abs());
        while b > 0 {
            (a, b) = (b, a % b);
        }
        let divisor = i128::try_from(a).map_err(|_| Fault::Overflow)?;
        Ok(Self { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    fn plus(self, other: Self) -> Result<Self, Fault> {
        let left = self.numerator.checked_mul(other.denominator);
        let right = other.numerator.checked_mul(self.denominator);
        let sum = left.zip(right).and_then(|(l, r)| l.checked_add(r));
        Self::reduced(sum, self.denominator.checked_mul(other.denominator))
    }

    fn times(self, other: Self) -> Result<Self, Fault> {
        Self::reduced(self.numerator.checked_mul(other.numerator), self.denominator.checked_mul(other.denominator))
    }

    fn negated(self) -> Result<Self, Fault> {
        Self::reduced(self.numerator.checked_neg(), Some(self.denominator))
    }

    fn inverse(self) -> Result<Self, Fault> {
        if self.numerator == 0 {
            return fault("divides by zero");
        }
        let sign = self.numerator.signum();
        Self::reduced(self.denominator.checked_mul(sign), self.numerator.checked_mul(sign))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn right_answers() {
        for answer in
            ["(7*8)+3-1", "7*8+3-1", " 7 × 8 − 1 + 3 ", "((7*8)+3)-1 = 58", "-1+3+8*7", "7*8-(1-3)", "3-(1-8*7)"]
        {
            assert_eq!(hits(answer, &[7, 8, 3, 1], 58), Ok(true), "{answer}");
        }
        // Through a fraction, with numbers left over, with a number given twice.
        assert_eq!(hits("8/(3-8/3)", &[8, 8, 3, 3], 24), Ok(true));
        assert_eq!(hits("50÷2", &[50, 2, 9], 25), Ok(true));
        assert_eq!(hits("5+5", &[5, 5], 10), Ok(true));
    }

    #[test]
    fn wrong_answers() {
        assert_eq!(hits("7*8", &[7, 8], 58), Ok(false));
        for answer in [
            "", "5+5", "10", "2 5", "(7", "7)", "7+", "+7", "7**2", "7//2", "7^2", "(7)(2)", "7 2", "7.0", "7,2",
            "7=9", "=7", "7=7=7", "7/(2-2)", "7\n+2", "sqrt(7)", "７", "x",
        ] {
            assert!(matches!(hits(answer, &[7, 5, 2], 7), Err(Fault::Answer(_))), "{answer:?}");
        }
    }

    /// A random expression as a tree, its value by floating point, and its numbers.
    #[derive(Clone, Debug)]
    enum Tree {
        Leaf(u32),
        Node(Box<Tree>, char, Box<Tree>),
    }

    fn tree() -> impl Strategy<Value = Tree> {
        (1..=50_u32).prop_map(Tree::Leaf).prop_recursive(3, 8, 2, |inner| {
            let op = prop::sample::select(vec!['+', '-', '*', '/']);
            (inner.clone(), op, inner).prop_map(|(a, op, b)| Tree::Node(Box::new(a), op, Box::new(b)))
        })
    }

    fn visit(tree: &Tree, numbers: &mut Vec<u32>) -> (String, f64) {
        match tree {
            Tree::Leaf(n) => {
                numbers.push(*n);
                (n.to_string(), f64::from(*n))
            }
            Tree::Node(a, op, b) => {
                let ((a, x), (b, y)) = (visit(a, numbers), visit(b, numbers));
                let value = match op {
                    '+' => x + y,
                    '-' => x - y,
                    '*' => x * y,
                    _ => x / y,
                };
                (format!("({a}{op}{b})"), value)
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_floating_point(tree in tree()) {
            let mut numbers = Vec::new();
            let (text, value) = visit(&tree, &mut numbers);
            // Values nearer than this to an integer without being one would need a
            // denominator above 10^9; eight numbers up to 50 stay far from that here.
            let target = value.round();
            if value.is_finite() && (0.0..1e9).contains(&target) {
                let is_whole = (value - target).abs() < 1e-9 * target.max(1.0);
                match hits(&text, &numbers, target as u32) {
                    Ok(hit) => prop_assert_eq!(hit, is_whole, "{}", text),
                    // Floating point may miss an exact zero below a division.
                    Err(fault) => prop_assert_eq!(fault, Fault::Answer("divides by zero".into())),
                }
            }
            // One number fewer, and the answer uses what was not given.
            numbers.pop();
            prop_assert!(hits(&text, &numbers, 1).is_err());
        }

        #[test]
        fn never_panics(text in "(?s).{0,300}") {
            let _ = hits(&text, &[3, 19, 25], 41);
        }

        #[test]
        fn never_panics_close_to_an_expression(text in "[-+*/()=0-9 ×÷−]{0,80}") {
            let _ = hits(&text, &[0, 1, 2, u32::MAX], 41);
        }
    }
}

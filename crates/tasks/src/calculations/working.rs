//! How a calculation is written out: each step a block, `347+289:`, its columns from the right, `=636`.
//!
//! Every line asks for one thing: a column is written before it is decided whether it borrows (`2-9 12-9=3`), a product
//! before its carry is added (`4*6=24+4=28`), a remainder after its quotient (`20/6=3~2`). Numbers that begin alike are
//! compared digit by digit (`606-610 6=6 0<1<0`) before it is said that their difference is below zero, and of multiples
//! it is said whether the last one is met or too large (`3:81 4:108>`) before it is used.

use std::cmp::Ordering;

use super::Calculation;

/// One step of two numbers as a story writes it: what is known by heart in one line, `36-6=30`, the rest in a block.
/// `None` for what is below zero, leaves a remainder or is too large.
pub(crate) fn step(a: u32, sign: char, b: u32) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    let (result, by_heart) = match sign {
        '+' => (a.checked_add(b)?, a <= 100 && b <= 100),
        '-' => (a.checked_sub(b)?, a <= 100),
        '*' => (a.checked_mul(b)?, a.min(b) < 10 && a.checked_mul(b)? <= 100),
        _ => ((b > 0 && a.is_multiple_of(b)).then(|| a / b)?, a / b <= 10),
    };
    match sign {
        _ if by_heart => lines.push(format!("{a}{sign}{b}={result}")),
        '+' => sum(a, b, &mut lines),
        '-' => columns(a, b, &mut lines),
        '*' => product(a, b, &mut lines)?,
        _ => quotient(a, b, &mut lines)?,
    }
    Some(lines)
}

/// The lines; the last is `=` and the result, or what says that there is none. `None` for what the task does not pose.
pub(super) fn write(calculation: &Calculation) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    match (&calculation.numbers[..], &calculation.signs[..]) {
        (&[a, b], ['+']) => sum(a, b, &mut lines),
        (&[a, b], ['-']) => difference(a, b, &mut lines),
        (&[a, b], ['*']) => product(a, b, &mut lines)?,
        (&[a, b], ['/']) => quotient(a, b, &mut lines)?,
        _ => {
            lines.push(calculation.write());
            for (a, sign, b) in steps(calculation)? {
                match sign {
                    '+' => sum(a, b, &mut lines),
                    '-' => difference(a, b, &mut lines),
                    _ => product(a, b, &mut lines)?,
                }
            }
        }
    }
    Some(lines)
}

/// The steps of a calculation of three numbers, none of which starts below zero: what is added comes before what is
/// taken away.
pub(super) fn steps(calculation: &Calculation) -> Option<Vec<(u32, char, u32)>> {
    let &[a, b, c] = &calculation.numbers[..] else { return None };
    let signs = [*calculation.signs.first()?, *calculation.signs.get(1)?];
    Some(match signs {
        ['+', '+'] => vec![(a, '+', b), (a.checked_add(b)?, '+', c)],
        ['+', '-'] => vec![(a, '+', b), (a.checked_add(b)?, '-', c)],
        ['-', '+'] => vec![(a, '+', c), (a.checked_add(c)?, '-', b)],
        ['-', '-'] => vec![(b, '+', c), (a, '-', b.checked_add(c)?)],
        ['*', sign] => vec![(a, '*', b), (a.checked_mul(b)?, sign, c)],
        [sign, '*'] => vec![(b, '*', c), (a, sign, b.checked_mul(c)?)],
        _ => return None,
    })
}

fn digits(mut number: u32) -> Vec<u32> {
    let mut digits = vec![number % 10];
    while number > 9 {
        number /= 10;
        digits.push(number % 10);
    }
    digits
}

fn sum(a: u32, b: u32, lines: &mut Vec<String>) {
    if a < 10 && b < 10 {
        return lines.push(format!("{a}+{b}={}", a + b));
    }
    lines.push(format!("{a}+{b}:"));
    let (x, y) = (digits(a), digits(b));
    let mut carry = 0;
    for place in 0..x.len().max(y.len()) {
        let (x, y) = (x.get(place).unwrap_or(&0), y.get(place).unwrap_or(&0));
        let carried = if carry > 0 { "+1" } else { "" };
        let sum = x + y + carry;
        lines.push(format!("{x}+{y}{carried}={sum}"));
        carry = sum / 10;
    }
    lines.push(format!("={}", a + b));
}

fn difference(a: u32, b: u32, lines: &mut Vec<String>) {
    let compared = compared(a, b);
    if a == b {
        return lines.push(format!("{a}-{b}{compared}=0"));
    }
    if a < b {
        lines.push(format!("{a}-{b}{compared}<0"));
        columns(b, a, lines);
        return lines.push(format!("=-{}", b - a));
    }
    if !compared.is_empty() {
        lines.push(format!("{a}-{b}{compared}"));
    }
    columns(a, b, lines);
}

/// Digit by digit down to the first that differs, where two numbers are as long and begin alike; else nothing, because
/// one sees at once which is larger.
fn compared(a: u32, b: u32) -> String {
    let (x, y) = (digits(a), digits(b));
    if x.len() != y.len() || x.len() == 1 || x.last() != y.last() {
        return String::new();
    }
    let mut text = String::new();
    for (x, y) in x.iter().zip(&y).rev() {
        let sign = match x.cmp(y) {
            Ordering::Less => '<',
            Ordering::Equal => '=',
            Ordering::Greater => '>',
        };
        text += &format!(" {x}{sign}{y}");
        if x != y {
            break;
        }
    }
    text
}

/// The larger first.
fn columns(a: u32, b: u32, lines: &mut Vec<String>) {
    if a < 10 {
        return lines.push(format!("{a}-{b}={}", a - b));
    }
    lines.push(format!("{a}-{b}:"));
    let (x, y) = (digits(a), digits(b));
    let mut borrowed = 0;
    for place in 0..x.len() {
        let (x, y) = (x[place], *y.get(place).unwrap_or(&0));
        let rest = if borrowed > 0 { format!("-{y}-1") } else { format!("-{y}") };
        let borrows = x < y + borrowed;
        lines.push(match borrows {
            true => format!("{x}{rest} {}{rest}={}", x + 10, x + 10 - y - borrowed),
            false => format!("{x}{rest}={}", x - y - borrowed),
        });
        borrowed = u32::from(borrows);
    }
    lines.push(format!("={}", a - b));
}

/// By one digit in columns; by two, a row for each of them.
fn product(a: u32, b: u32, lines: &mut Vec<String>) -> Option<()> {
    let result = a.checked_mul(b)?;
    if a < 10 && b < 10 {
        lines.push(format!("{a}*{b}={result}"));
        return Some(());
    }
    if a < 10 {
        // The longer one first.
        lines.push(format!("{a}*{b}"));
        return product(b, a, lines);
    }
    if b < 10 {
        lines.push(format!("{a}*{b}:"));
        let mut carry = 0;
        for digit in digits(a) {
            let (times, sum) = (digit * b, digit * b + carry);
            lines.push(match carry {
                0 => format!("{digit}*{b}={times}"),
                _ => format!("{digit}*{b}={times}+{carry}={sum}"),
            });
            carry = sum / 10;
        }
        lines.push(format!("={result}"));
        return Some(());
    }
    lines.push(format!("{a}*{b}"));
    let (ones, tens) = (b % 10, b / 10);
    if ones > 0 {
        product(a, ones, lines)?;
    }
    product(a, tens, lines)?;
    match ones {
        0 => lines.push(format!("={result}")),
        _ => sum(a * ones, a * tens * 10, lines),
    }
    Some(())
}

/// Digit by digit; by a number of three digits or more, the one digit of the quotient is tried from above: it is at most
/// that of the numbers that they begin with.
fn quotient(a: u32, b: u32, lines: &mut Vec<String>) -> Option<()> {
    lines.push(format!("{a}/{b}"));
    if b == 0 {
        lines.push("/0".to_owned());
        return Some(());
    }
    if b >= 100 {
        if a / b > 9 {
            return None;
        }
        let beginning = 10_u32.pow(digits(b).len() as u32 - 2);
        let (times, listed) = multiples(a / beginning, b / beginning);
        lines.push(format!("{listed} ={times}"));
        for times in (0..=times).rev() {
            product(b, times, lines)?;
            let reached = b * times;
            match a.cmp(&reached) {
                Ordering::Less => lines.push(format!("{reached}>{a}")),
                Ordering::Equal => lines.push(format!("={times}")),
                Ordering::Greater => lines.push(format!("{a}-{reached}>0")),
            }
            if reached <= a {
                break;
            }
        }
        return Some(());
    }
    let mut rest = 0;
    for digit in digits(a).into_iter().rev() {
        let now = 10 * rest + digit;
        let times = now / b;
        rest = now - times * b;
        lines.push(match (b < 10, times) {
            (true, _) => format!("{now}/{b}={times}~{rest}"),
            (false, 0) => format!("{now}<{b} 0~{rest}"),
            (false, _) if rest == 0 => format!("{} ={times}~0", multiples(now, b).1),
            (false, _) => format!("{} ={times} {now}-{}~{rest}", multiples(now, b).1, times * b),
        });
    }
    lines.push(if rest == 0 { format!("={}", a / b) } else { format!("~{rest}>0") });
    Some(())
}

/// How often `b` fits into `a`, at most nine times, and its multiples up to the first that meets `a` or is too large:
/// `91/27 1:27 2:54 3:81 4:108>`.
fn multiples(a: u32, b: u32) -> (u32, String) {
    let mut text = format!("{a}/{b}");
    for times in 1..=9 {
        let multiple = times * b;
        text += &format!(" {times}:{multiple}");
        if multiple == a {
            return (times, text + "=");
        }
        if multiple > a {
            return (times - 1, text + ">");
        }
    }
    (9, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(numbers: &[u32], signs: &[char]) -> String {
        write(&Calculation { numbers: numbers.to_vec(), signs: signs.to_vec() }).unwrap().join("\n")
    }

    #[test]
    fn workings_as_written() {
        for (numbers, signs, lines) in [
            (&[347, 289][..], &['+'][..], "347+289:\n7+9=16\n4+8+1=13\n3+2+1=6\n=636"),
            (&[41, 9], &['+'], "41+9:\n1+9=10\n4+0+1=5\n=50"),
            (&[3, 9], &['+'], "3+9=12"),
            (&[352, 79], &['-'], "352-79:\n2-9 12-9=3\n5-7-1 15-7-1=7\n3-0-1=2\n=273"),
            (&[12, 47], &['-'], "12-47<0\n47-12:\n7-2=5\n4-1=3\n=35\n=-35"),
            (&[3, 5, 4], &['-', '+'], "3-5+4\n3+4=7\n7-5=2"),
            (&[6, 347], &['*'], "6*347\n347*6:\n7*6=42\n4*6=24+4=28\n3*6=18+2=20\n=2082"),
            (
                &[34, 27],
                &['*'],
                "34*27\n34*7:\n4*7=28\n3*7=21+2=23\n=238\n34*2:\n4*2=8\n3*2=6\n=68\n238+680:\n8+0=8\n3+8=11\n2+6+1=9\n=918",
            ),
            (&[34, 20], &['*'], "34*20\n34*2:\n4*2=8\n3*2=6\n=68\n=680"),
            (&[2082, 6], &['/'], "2082/6\n2/6=0~2\n20/6=3~2\n28/6=4~4\n42/6=7~0\n=347"),
            (
                &[918, 27],
                &['/'],
                "918/27\n9<27 0~9\n91/27 1:27 2:54 3:81 4:108> =3 91-81~10\n\
                 108/27 1:27 2:54 3:81 4:108= =4~0\n=34",
            ),
            (&[606, 610], &['-'], "606-610 6=6 0<1<0\n610-606:\n0-6 10-6=4\n1-0-1=0\n6-6=0\n=4\n=-4"),
            (&[40, 39], &['-'], "40-39:\n0-9 10-9=1\n4-3-1=0\n=1"),
            (&[48, 45], &['-'], "48-45 4=4 8>5\n48-45:\n8-5=3\n4-4=0\n=3"),
            (&[45, 45], &['-'], "45-45 4=4 5=5=0"),
            (&[7, 2], &['/'], "7/2\n7/2=3~1\n~1>0"),
            (&[615, 205], &['/'], "615/205\n61/20 1:20 2:40 3:60 4:80> =3\n205*3:\n5*3=15\n0*3=0+1=1\n2*3=6\n=615\n=3"),
            (&[295, 199], &['/'], "295/199\n29/19 1:19 2:38> =1\n199*1:\n9*1=9\n9*1=9\n1*1=1\n=199\n295-199>0"),
            (
                &[398, 199],
                &['/'],
                "398/199\n39/19 1:19 2:38 3:57> =2\n199*2:\n9*2=18\n9*2=18+1=19\n1*2=2+1=3\n=398\n=2",
            ),
            (&[2, 3, 4], &['+', '*'], "2+3*4\n3*4=12\n2+12:\n2+2=4\n0+1=1\n=14"),
        ] {
            assert_eq!(of(numbers, signs), lines);
        }
    }

    /// Two numbers of at most four digits, the same one twice in one draw of eight.
    fn of_a_sum() -> impl Strategy<Value = (u32, u32)> {
        (10..10_000_u32, prop_oneof![7 => (0..10_000_u32).prop_map(Some), 1 => Just(None)])
            .prop_map(|(a, b)| (a, b.unwrap_or(a)))
    }

    proptest! {
        #[test]
        fn columns_make_the_result((a, b) in of_a_sum()) {
            for sign in ['+', '-'] {
                let text = of(&[a, b], &[sign]);
                let lines: Vec<&str> = text.lines().collect();
                let value = if sign == '+' { i64::from(a + b) } else { i64::from(a) - i64::from(b) };
                let last = format!("={value}");
                prop_assert!(lines[lines.len() - 1].ends_with(&last), "{}", text);
                for line in lines.iter().filter(|line| !line.starts_with('=') && !line.ends_with(':')) {
                    let Some((sum, result)) = line.rsplit(' ').next().unwrap().rsplit_once('=') else { continue };
                    if let Some((digit, same)) = sum.split_once('=') {
                        // Numbers that are the same end with their last digits: `45-45 4=4 5=5=0`.
                        prop_assert_eq!((a, digit, result), (b, same, "0"), "{}", line);
                        continue;
                    }
                    let mut numbers = sum.split(['+', '-']).map(|n| n.parse::<i64>().unwrap());
                    let first = numbers.next().unwrap();
                    let rest: i64 = numbers.sum();
                    let value = if sum.contains('+') { first + rest } else { first - rest };
                    prop_assert_eq!(value, result.parse::<i64>().unwrap(), "{}", line);
                }
            }
        }

        #[test]
        fn quotients_end_in_the_result_or_a_remainder(q in 0..10_000_u32, b in 1..100_u32, more in 0..100_u32) {
            let a = q * b + more % b;
            let text = of(&[a, b], &['/']);
            let last = text.lines().last().unwrap();
            prop_assert_eq!(last, if more % b == 0 { format!("={q}") } else { format!("~{}>0", more % b) });
        }
    }
}

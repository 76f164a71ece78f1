//! Keys and their usage as columns of text. Times are in UTC.

use picnic_keys::{DayUsage, Key, Scope, Timestamp};

/// One line a key, below a heading.
pub fn keys(keys: &[Key], now: Timestamp) -> Vec<String> {
    let heading = ["#", "name", "secret", "state", "for", "limits", "requests", "tokens", "last used"];
    let rows = keys.iter().map(|key| {
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| Scope::name(*scope)).collect();
        [
            key.id.to_string(),
            key.name.clone(),
            format!("pk-…{}", key.ending),
            state(key, now),
            scopes.join(","),
            limits(key),
            key.used.requests.to_string(),
            key.used.tokens().to_string(),
            key.last_used.map_or("never".into(), minute),
        ]
    });
    columns(heading, rows, &[0, 6, 7])
}

/// One line a day, below a heading.
pub fn days(days: &[DayUsage]) -> Vec<String> {
    let rows = days.iter().map(|DayUsage { day, used }| {
        let amounts = [used.requests, used.prompt_tokens, used.completion_tokens].map(|amount| amount.to_string());
        let [requests, read, written] = amounts;
        [day.to_string(), requests, read, written]
    });
    columns(["day", "requests", "prompt tokens", "completion tokens"], rows, &[1, 2, 3])
}

fn state(key: &Key, now: Timestamp) -> String {
    match (key.revoked, key.expires) {
        (Some(time), _) => format!("revoked {}", day(time)),
        (None, Some(time)) if time <= now => format!("expired {}", day(time)),
        (None, Some(time)) => format!("until {}", minute(time)),
        (None, None) => "in force".into(),
    }
}

fn limits(key: &Key) -> String {
    let limits = [
        key.limits.requests_per_minute.map(|n| format!("{n} requests/min")),
        key.limits.tokens_per_minute.map(|n| format!("{n} tokens/min")),
        key.limits.tokens.map(|n| format!("{n} tokens")),
        key.models.as_ref().map(|models| models.join(" ")),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    if limits.is_empty() { "none".into() } else { limits.join(", ") }
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

/// Lines whose cells stand below one another, two spaces apart; columns of `numbers` are flush right.
fn columns<const N: usize>(
    heading: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    numbers: &[usize],
) -> Vec<String> {
    let rows: Vec<[String; N]> = std::iter::once(heading.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if numbers.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_one_another() {
        let rows = [["моя".to_owned(), "7".to_owned()], ["b".to_owned(), "1234567".to_owned()]];
        let lines = columns(["name", "tokens"], rows.into_iter(), &[1]);
        assert_eq!(lines, ["name   tokens", "моя         7", "b     1234567"]);
    }
}

//! What to do next, as one would type it.

use std::path::Path;

use maud::{Markup, html};

use super::words::visible;
use crate::report::{Report, RunKind, Stage};

pub fn next(report: &Report, folder: &Path) -> Markup {
    let commands = match report.kind {
        RunKind::Chain => of_chain(report, folder),
        kind => of_stage(kind, report, folder),
    };
    html! {
        section #next {
            h2 { "What next" }
            p.faint { "In a checkout without an installed program, type " code { "cargo run --release --" } " for " code { "picnic" } "." }
            dl.commands {
                @for (what, lines) in commands {
                    dt { (what) }
                    dd { pre { @for (i, line) in lines.iter().enumerate() { @if i > 0 { "\n" } (visible(line)) } } }
                }
            }
        }
    }
}

type Commands = Vec<(&'static str, Vec<String>)>;

fn of_chain(report: &Report, folder: &Path) -> Commands {
    let run = Place(folder);
    let last =
        [Stage::Rl2, Stage::Rl, Stage::Zero, Stage::Sft].into_iter().find(|stage| report.curves.contains_key(stage));
    let model = run.below(&last.unwrap_or(Stage::Base).key());
    let recipe = run.below("recipe.toml");
    let steps = report.setting("rl.steps").and_then(|steps| steps.as_integer()).unwrap_or(1);
    let seed = report.setting("seed").and_then(|seed| seed.as_integer()).unwrap_or(0);
    let (longer, other_seed) = (run.beside("longer"), run.beside("another-seed"));
    vec![
        (
            "Talk to it, in the terminal or over HTTP",
            vec![format!("picnic chat {model}"), format!("picnic serve {model} --port 8000")],
        ),
        (
            "Ask it your own questions, one {\"id\": 1, \"prompt\": \"…\"} a line",
            vec![format!("picnic eval {model} --problems questions.jsonl --samples answers.jsonl -k 4")],
        ),
        (
            "Change the recipe: RL for twice as long, say",
            vec![format!("picnic r1 {recipe} rl.steps={} --out {longer}", steps.saturating_mul(2))],
        ),
        ("Compare the two, problem by problem", vec![format!("picnic report {} {longer}", run.itself())]),
        (
            "See how much is luck: another seed, then runs side by side, or two recipes over seeds",
            vec![
                format!("picnic r1 {recipe} seed={} --out {other_seed}", seed.saturating_add(1)),
                "picnic report A-0 A-1 A-2".to_owned(),
                "picnic report A-0 A-1 A-2 --against B-0 B-1 B-2".to_owned(),
            ],
        ),
    ]
}

fn of_stage(kind: RunKind, report: &Report, folder: &Path) -> Commands {
    let run = Place(folder);
    let itself = run.itself();
    let base = report.setting("base").and_then(|base| base.as_str().map(quoted)).unwrap_or_else(|| "MODEL".to_owned());
    let judge = (
        "Ask it held-out problems",
        vec![format!("picnic eval recipes/tiny/eval.toml base={itself} --out {}", run.beside("judged"))],
    );
    let talk = ("Talk to it", vec![format!("picnic chat {itself}")]);
    let longer = |key: &str| {
        let steps = report.setting(key).and_then(|steps| steps.as_integer()).unwrap_or(1).saturating_mul(2);
        let (command, out) = (kind.command(), run.beside("longer"));
        (
            "Change the recipe: twice as long, say",
            vec![format!("picnic {command} {} {key}={steps} --out {out}", run.below("recipe.toml"))],
        )
    };
    match kind {
        RunKind::Pretrain => {
            let sft = format!("picnic sft recipes/tiny/sft.toml base={itself} --out {}", run.beside("sft"));
            vec![("Teach it to think before it answers", vec![sft]), longer("steps")]
        }
        RunKind::Sft => {
            let rl = format!("picnic rl recipes/tiny/rl.toml base={itself} --out {}", run.beside("rl"));
            vec![talk, judge, ("Improve it by RL", vec![rl]), longer("steps")]
        }
        RunKind::Reject => {
            let traces = run.below("traces.jsonl");
            let sft =
                format!("picnic sft recipes/tiny/sft2.toml base=MODEL traces={traces} --out {}", run.beside("sft"));
            vec![("Fine-tune a model on what was kept", vec![sft])]
        }
        RunKind::Eval => {
            let (other, judged) = ("OTHER", "OTHER-judged");
            vec![
                ("Talk to it", vec![format!("picnic chat {base}")]),
                (
                    "Judge another model on the same problems, and compare the two",
                    vec![
                        format!("picnic eval recipes/tiny/eval.toml base={other} --out {judged}"),
                        format!("picnic report {itself} {judged}"),
                    ],
                ),
            ]
        }
        RunKind::Rl | RunKind::Distill | RunKind::Chain => vec![talk, judge, longer("steps")],
    }
}

/// The folder of the run, as arguments that a shell takes.
struct Place<'f>(&'f Path);

impl Place<'_> {
    fn itself(&self) -> String {
        quoted(&self.0.display().to_string())
    }

    fn below(&self, name: &str) -> String {
        quoted(&self.0.join(name).display().to_string())
    }

    /// `runs/tiny-longer` of `runs/tiny`.
    fn beside(&self, suffix: &str) -> String {
        quoted(&format!("{}-{suffix}", self.0.display().to_string().trim_end_matches(['/', '\\'])))
    }
}

/// A word for a shell: in quotes where it has to be.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./\\:=,+@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_a_shell() {
        let run = Place(Path::new("runs/my run/"));
        assert_eq!(run.below("rl"), "'runs/my run/rl'");
        assert_eq!(run.beside("longer"), "'runs/my run-longer'");
        assert_eq!(Place(Path::new("runs/tiny")).beside("longer"), "runs/tiny-longer");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
